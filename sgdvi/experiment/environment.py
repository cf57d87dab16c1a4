"""Where an experiment took place: versions, platform, precision, a fingerprint of the data."""

import hashlib
import platform
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import jax
import numpy as np

PACKAGES = ("sgdvi", "jax", "numpyro", "arviz", "optax", "numpy", "scipy")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages whose change can change a result."""
    return {"Python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def fingerprint(data: Sequence[Any]) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of the data: shapes, types and values."""
    digest = hashlib.sha256()
    for values in data:
        array = np.ascontiguousarray(values)
        digest.update(f"{array.shape}{array.dtype.str}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:16]


def environment(data: Sequence[Any]) -> dict[str, str]:
    """Return name -> text for the provenance of a report."""
    device = jax.devices()[0]
    return {
        **versions(),
        "platform": f"{platform.system()} {platform.machine()}",
        "device": f"{device.platform} ({device.device_kind})",
        "precision": "float64",
        "data (SHA-256)": fingerprint(data),
    }

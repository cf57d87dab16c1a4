"""Give back the sign patterns of the factors that the model itself holds equally probable."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from sgdvi._internal.check import require


def restore_signs(draws: Mapping[str, Any], sites: Sequence[str], key: jax.Array) -> dict[str, np.ndarray]:
    """Flip the signs of the factors of every unit at random, an even number at a time: no product changes.

    Model and priors are the same for (u, w) and (-u, -w), so the posterior is, too; SGD keeps one of the 2^D patterns
    for ever. Flipping draws by that symmetry gives all of them their probability. The sign of v is not among them: the
    likelihood tells it apart, and what SGD misses of it is stated by `reweight`.

    Parameters
    ----------
    draws
        Site -> draws, all of one shape, (chain, draw, ...).
    sites
        Names of the factors; others are left alone.
    key
        JAX key.

    Returns
    -------
    dict
        The draws with other signs.

    Raises
    ------
    InputError
        If there are fewer than two factors, or they differ in shape.
    """
    arrays = {name: np.asarray(values) for name, values in draws.items()}
    require(len(sites) >= 2, "there must be two factors or more", f"{len(sites)}", "One factor has no such symmetry.")
    shapes = {arrays[name].shape for name in sites if name in arrays}
    missing = [name for name in sites if name not in arrays]
    require(not missing and len(shapes) == 1, "all factors must be there, in one shape", f"{missing or shapes}")
    shape = shapes.pop()
    flips = np.array(jax.random.rademacher(key, (len(sites), *shape)))
    flips[-1] = np.prod(flips[:-1], axis=0)
    return arrays | {name: arrays[name] * flip for name, flip in zip(sites, flips, strict=True)}

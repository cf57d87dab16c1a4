"""JSON types: what Python and NumPy hold, as JSON can."""

import json
import math
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sgdvi._internal.check import InputError, message


def plain(value: Any) -> Any:
    """Return `value` in JSON types, numbers without a JSON form as texts."""
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else str(float(value))
    return value if value is None else str(value)


def write_json(path: str | os.PathLike[str], record: Any) -> Path:
    """Write a record of JSON types to `path`, all of it or nothing, and return the path.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    target = Path(path).expanduser()
    text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        with tempfile.TemporaryDirectory(prefix=".part-", dir=target.parent) as folder:
            part = Path(folder) / target.name
            part.write_text(text, encoding="utf-8")
            os.replace(part, target)
    except OSError as error:
        rule = f"{str(target)!r} must be writable"
        raise InputError(message(rule, error.strerror or str(error), "Give another path.")) from error
    return target

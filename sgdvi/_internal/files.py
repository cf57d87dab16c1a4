"""Files that are written whole or not at all, and JSON types: what Python and NumPy hold, as JSON can."""

import json
import math
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from sgdvi._internal.check import InputError, message

# How the folders begin in which files are written before they move to their places; `sgdvi` alone writes there.
PART = ".sgdvi-part-"


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


@contextmanager
def writable(path: Path) -> Iterator[None]:
    """Tell the user, in one line, what the system says against writing to `path`."""
    try:
        yield
    except OSError as error:
        rule = f"{str(path)!r} must be writable"
        raise InputError(message(rule, error.strerror or str(error), "Give another path.")) from error


@contextmanager
def written_whole(folder: Path, last: str = "") -> Iterator[Path]:
    """Give an empty folder whose files move into `folder`, which exists, once all of them are written.

    What fails before leaves `folder` as it was. The file named `last` moves last: who sees it sees the others.
    """
    # Inside the target, so that moving is renaming within one file system, which never leaves half a file.
    with tempfile.TemporaryDirectory(prefix=PART, dir=folder) as scratch:
        yield Path(scratch)
        for part in sorted(Path(scratch).iterdir(), key=lambda part: (part.name == last, part.name)):
            os.replace(part, folder / part.name)


def write_whole(path: str | os.PathLike[str], writer: Callable[[Path], object]) -> Path:
    """Write a file with `writer`, which is given where, then move it to `path`; return the path.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    target = Path(path).expanduser()
    with writable(target), written_whole(target.parent) as folder:
        writer(folder / target.name)
    return target


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write a text in UTF-8 to `path`, all of it or nothing, and return the path; see `write_whole`."""
    return write_whole(path, lambda part: part.write_text(text, encoding="utf-8"))


def write_json(path: str | os.PathLike[str], record: Any) -> Path:
    """Write a record of JSON types to `path`, all of it or nothing, and return the path; see `write_whole`."""
    return write_text(path, json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


class AsJson(ABC):
    """A record that a file can hold: what `to_dict` says of it, in JSON types."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return the record in JSON types."""

    def to_json(self, path: str | os.PathLike[str]) -> Path:
        """Write `to_dict` to `path`, all of it or nothing, and return the path.

        Raises
        ------
        InputError
            If the file cannot be written.
        """
        return write_json(path, self.to_dict())

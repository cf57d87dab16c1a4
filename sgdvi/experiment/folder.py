"""The folder of a report: what may be replaced in it, and one run at a time that writes to it."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import h5py
from zarr.storage import LocalStore

from sgdvi._internal.check import InputError, message, require
from sgdvi._internal.files import PART
from sgdvi.draws.lock import Lock

REPORT = "report.html"
_FILES = (REPORT, "report.json", "draws.nc")
_ADVICE = "Give another folder with --out."
# Folders whose lock this run holds: what writes inside a run does not ask for it again.
_held: ContextVar[frozenset[Path]] = ContextVar("sgdvi_held_folders", default=frozenset())


def check_folder(folder: str | os.PathLike[str], overwrite: bool = False) -> Path:
    """Return the folder, made if need be, when a report can be written to it.

    Raises
    ------
    InputError
        If it has a report already and `overwrite` is false, has something else under the name of a file to be
        written, is a file, or cannot be written.
    """
    rule = "the output folder must be writable"
    try:
        target = Path(folder).expanduser()
        if (target / REPORT).exists() and not overwrite:
            advice = "Give --overwrite (overwrite=True) to replace it, or another folder."
            raise InputError(message("the output folder must not have a report already", f"{target / REPORT}", advice))
        for path in (target / name for name in _FILES):
            rule = "only files that sgdvi wrote are replaced"
            require(not os.path.lexists(path) or _is_ours(path), rule, f"{path}, which is something else", _ADVICE)
        rule = "the output folder must be writable"
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=target):
            pass
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise InputError(message(rule, f"{str(folder)[:200]} ({reason})", _ADVICE)) from error
    except (TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(message("the output folder must be a path", f"{folder!r:.200} ({error})", _ADVICE)) from error
    return target


@contextmanager
def locked(folder: Path, break_lock: bool = False) -> Iterator[None]:
    """Let no other run write to `folder`, which exists, and remove what a killed one has left half-written.

    Raises
    ------
    InputError
        If another run is writing to it.
    """
    place = folder.resolve()
    if place in _held.get():
        yield
        return
    try:
        lock = Lock(LocalStore(place)).acquire(break_lock)
    except OSError as error:
        rule, reason = "the output folder must be writable", error.strerror or str(error)
        raise InputError(message(rule, f"{folder} ({reason})", _ADVICE)) from error
    with lock:
        for left in place.glob(f"{PART}*"):
            shutil.rmtree(left, ignore_errors=True)
        before = _held.set(_held.get() | {place})
        try:
            yield
        finally:
            _held.reset(before)


def _is_ours(path: Path) -> bool:
    """Whether sgdvi wrote this file, by what is in it."""
    if not path.is_file():
        return False
    if path.suffix == ".html":
        with path.open("rb") as file:
            return b'name="generator" content="sgdvi' in file.read(2048)
    if path.suffix == ".json":
        try:
            record = json.loads(path.read_bytes())
        except ValueError:
            return False
        return isinstance(record, dict) and "schema_version" in record
    try:
        with h5py.File(path, "r") as file:
            return any(_is_run(run) for run in file.values())
    except OSError:
        return False


def _is_run(run: object) -> bool:
    if not isinstance(run, h5py.Group) or "posterior" not in run:
        return False
    return "functionals" in run or run["posterior"].attrs.get("inference_library") == "sgdvi"

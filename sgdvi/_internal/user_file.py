"""Python files of the user, imported by their path; what fails in them is told in one line with its place."""

import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

from sgdvi._internal.check import InputError, message, require


def import_file(path: Path, what: str, hint: str) -> ModuleType:
    """Import a Python file; `what` names it in messages, `hint` says what it should hold.

    Raises
    ------
    InputError
        If there is no such file, it is no Python file, or fails to import.
    """
    require(path.is_file(), f"the {what} must exist", repr(str(path)), "Check the path.")
    require(path.suffix == ".py", f"a {what} must be a Python file (.py)", repr(str(path)))
    name = f"_sgdvi_{what.replace(' ', '_')}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # noqa: PT018  a file on disk always has them
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # pickling and dataclasses in the user's file look the module up here
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise InputError(message(f"{path} must import", one_line(error, path), hint)) from error
    return module


def one_line(error: BaseException, path: Path) -> str:
    """Return an error that was raised in a file as one line, with the line of the file."""
    lines = str(error).strip().splitlines()
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    if isinstance(error, SyntaxError):
        return text if f"line {error.lineno}" in text else f"{text} (line {error.lineno})"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == path.absolute()]
    frames = frames or [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f"{text} (line {frames[-1].lineno})" if frames else text

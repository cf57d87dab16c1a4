"""The zoo: find a problem by its name or by the path of a file, and check that it can be used."""

import ast
import difflib
import importlib
import importlib.util
import inspect
import os
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from sgdvi._internal.arguments import checked
from sgdvi._internal.check import InputError, message, require
from sgdvi._internal.user_file import import_file, one_line
from sgdvi.problem.base import Problem

__all__ = ["list", "load", "table", "template"]

_TEMPLATE_HINT = "`sgdvi models --template` prints a file that works."


def list() -> dict[str, str]:
    """Return the names of the problems that ship with sgdvi, each with a summary of one line."""
    files = sorted(path for path in _folder().glob("*.py") if not path.stem.startswith("_"))
    return {path.stem.replace("_", "-"): _summary(path) for path in files}


def template() -> str:
    """Return the text of a model file of one's own: it works as it is and says what to change."""
    return (_folder() / "_template.py").read_text(encoding="utf-8")


def table(name: str) -> dict[str, np.ndarray]:
    """Return a data file that ships with sgdvi: column -> its values, float64, in raw units.

    Parameters
    ----------
    name
        ``"diabetes"`` (442 patients, ten variables and ``progression``), ``"breast_cancer"``, ``"digits"``,
        ``"digits_3_8"``, ``"food"``, ``"investment"``, ``"low_rank"``, ``"party"`` or ``"weak_signal"``.
        ``models/data/README.md`` has their sources and licences.

    Raises
    ------
    InputError
        For another name.
    """
    from sgdvi.models._data import columns

    files = {path.name.split(".")[0]: path.name for path in (_folder() / "data").glob("*.csv*")}
    require(name in files, f"a data file is one of {', '.join(sorted(files))}", repr(name))
    return columns(files[name])


@checked
def load(name_or_path: str | os.PathLike[str], **options: Any) -> Problem:
    """Load a problem of the zoo, or one from a file of one's own.

    Parameters
    ----------
    name_or_path
        A name of `list` (``weak-signal`` and ``weak_signal`` are the same), or the path of a Python file with a
        function ``problem(**options)`` that returns a `Problem`.
    **options
        Options of the problem, such as ``depth=2``.

    Returns
    -------
    Problem
        Its data have been checked: finite, and at least three rows.

    Raises
    ------
    InputError
        For an unknown name (with the closest ones), a file that is missing or fails to import, a function
        ``problem`` that fails or returns something else, an unknown option, or data that cannot be used.
    """
    text = os.fspath(name_or_path)
    name = text.replace("_", "-")
    names = list()
    if name in names:
        made = importlib.import_module(f"sgdvi.models.{name.replace('-', '_')}").problem
        problem = _call(made, options, f"the problem {name!r}")
        _check_data(problem)
    elif text.endswith(".py") or os.sep in text or "/" in text:
        problem = _from_file(Path(text).expanduser(), options)
    else:
        close = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
        advice = f"Closest: {', '.join(close)}." if close else f"There are: {', '.join(names)}."
        rule = "a model is a name of the zoo or the path of a .py file"
        raise InputError(message(rule, repr(text), f"{advice} `sgdvi models` lists them all."))
    return problem


@cache
def _folder() -> Path:
    # Through the import system, so that it is found in a wheel and in an editable install alike.
    return Path(importlib.import_module("sgdvi.models").__path__[0])


def _summary(path: Path) -> str:
    # Parsed, not imported: a listing must not wait for JAX.
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]


def _from_file(path: Path, options: dict[str, Any]) -> Problem:
    module = import_file(path, "model file", _TEMPLATE_HINT)
    made = getattr(module, "problem", None)
    if not callable(made):
        raise InputError(message(f"{path} must have a function problem()", type(made).__name__, _TEMPLATE_HINT))
    problem = _call(made, options, str(path), path)
    _check_data(problem)
    _trial(problem, path)
    return problem


def _call(made: Callable[..., Any], options: dict[str, Any], what: str, path: Path | None = None) -> Problem:
    parameters = inspect.signature(made).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        unknown = [option for option in options if option not in parameters]
        have = ", ".join(parameters) or "none"
        require(not unknown, f"{what} has no option {', '.join(map(repr, unknown))}", options, f"Its options: {have}.")
    try:
        problem = made(**options)
    except InputError as error:
        raise InputError(f"{what}: {error}") from error
    except (Exception, SystemExit) as error:
        if path is None:
            raise
        raise InputError(message(f"problem() of {path} must not fail", one_line(error, path))) from error
    if not isinstance(problem, Problem):
        rule = f"problem() of {what} must return a sgdvi.Problem"
        raise InputError(message(rule, f"a {type(problem).__name__}", _TEMPLATE_HINT))
    return problem


def _check_data(problem: Problem) -> None:
    import jax

    where = f"the data of {problem.name!r}"
    require(problem.data, f"{where} must have at least one array", "no arrays", _TEMPLATE_HINT)
    require(problem.functionals, f"{problem.name!r} must have at least one functional", "none", _TEMPLATE_HINT)
    rows = 0
    data = problem.data
    for position, argument in data.items() if isinstance(data, Mapping) else enumerate(data):
        for array in map(np.asarray, jax.tree.leaves(argument)):
            if array.dtype.kind not in "biuf":
                raise InputError(message(f"argument {position} of {where} must be numeric", f"dtype {array.dtype}"))
            rows = max(rows, len(array) if array.ndim else 0)
            bad = np.argwhere(~np.isfinite(array))
            if len(bad):
                got = f"{array[tuple(bad[0])]} in row {bad[0][0] if array.ndim else 0} ({len(bad)} such values)"
                rule = f"argument {position} of {where} must be finite"
                raise InputError(message(rule, got, "Remove or impute these rows."))
    require(rows >= 3, f"{where} must have at least 3 rows", rows)


def _trial(problem: Problem, path: Path) -> None:
    """Trace the model with its data, as the run does: what fails here would fail there, with a longer message."""
    import jax
    from numpyro.infer.util import log_density

    from sgdvi.problem.all_rows import trial
    from sgdvi.problem.loss import Loss, count_rows

    if isinstance(problem.model, Loss):
        problem.model.check(problem.data, count_rows(problem.data))
        return
    try:
        with jax.enable_x64(True):
            jax.eval_shape(lambda: log_density(trial(problem.model), *problem.arguments, {})[0])
    except Exception as error:
        shapes = ", ".join(str(np.shape(leaf)) for leaf in jax.tree.leaves(problem.data))
        rule = f"the model of {path} must run with its data (shapes {shapes})"
        raise InputError(message(rule, one_line(error, path))) from error

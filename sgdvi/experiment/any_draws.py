"""Draws of any tool judged without a model: did the run arrive, is it the reference's law, what can be used?"""

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from sgdvi._internal.arguments import checked
from sgdvi._internal.check import InputError, message, require
from sgdvi._internal.text import count, listed, number
from sgdvi._internal.user_file import import_file
from sgdvi.comparison import Comparison, compare
from sgdvi.diagnostics.thresholds import Thresholds
from sgdvi.draws.formats.numpy_files import ALONE
from sgdvi.draws.reading import is_path
from sgdvi.draws.tree import DataTree, is_tree
from sgdvi.experiment import named_predictions
from sgdvi.experiment.environment import versions
from sgdvi.experiment.summaries import summaries_of
from sgdvi.inputs import as_run
from sgdvi.report import Context, Setting

Functionals = Mapping[str, Callable[[Any], Any]]
_NAMES = ("draws", "reference")
_MOST_NAMED = 5
_HINT = "It holds functionals = {'name': lambda draws: ...}, as sgdvi.compare takes them."


@checked
def check(
    draws: Any,
    reference: Any = None,
    functionals: Functionals | None = None,
    *,
    predictions: str | None = None,
    observed: Any = None,
    key: Any = None,
    thresholds: Thresholds | Mapping[str, float] | None = None,
    progress: bool = False,
) -> Comparison:
    """Judge draws of any tool, without a model: what `sgdvi check` does.

    Parameters
    ----------
    draws
        One array (chain, draw, ...), or a dictionary of them by name; a DataTree or Dataset of ArviZ; a
        `numpyro.infer.MCMC` that has run; or the path of a file or folder, or of one file for each chain, see
        `sgdvi.inputs.read_file`.
    reference
        What stands for the posterior, in the same forms. Without one it is checked whether the run arrived (finite,
        moved, mixed, no copies of chains, no drift), and the law is unknown.
    functionals
        Name -> function of the draws, see `sgdvi.compare`. None takes every entry of every variable; of more than 500
        the root mean square of each variable, and 100 entries chosen at random.
    predictions
        Name of the variable that holds predictions of a test set, (chain, draw, point) or (chain, draw, point, class):
        they are no parameters, and without `functionals` 100 of them are what is asked for. They are compared point by
        point, see `sgdvi.compare_predictions`: ``.predictions`` of what is returned.
    observed
        What was observed at the test points, (point,): classes from 0, or real values.
    key
        JAX key for references that can only be sampled; None takes a fixed one.
    thresholds
        As in `sgdvi.compare`.
    progress
        Whether a bar shows how many checks are made.

    Returns
    -------
    Comparison
        With ``.verdict``, ``.findings``, ``.to_json(path)``, ``.to_html(path)`` and ``str()``. Its runs are named after
        their files, else "draws" and "reference".

    Raises
    ------
    InputError
        If draws cannot be read, there are fewer than two for each chain, or the reference has no variable in common.

    Examples
    --------
    >>> import numpy as np, sgdvi
    >>> rng = np.random.default_rng(0)
    >>> sgdvi.check(rng.normal(size=(4, 500))).verdict.answers["arrive"].sentence
    'draws ran, moved and mixed, as far as its chains show.'
    """
    key = jax.random.key(0) if key is None else key
    require(draws is not None, "draws must be given", "None")
    names = _names(draws, reference)
    given = [_named(run) for run in (draws, reference) if run is not None]
    keys = jax.random.split(key, len(given))
    runs = {name: as_run(name, run, one) for name, run, one in zip(names, given, keys, strict=True)}
    trees = {name: run for name, run in runs.items() if is_tree(run)}
    require(names[0] in trees, "draws must be draws, not a law", type(draws).__name__, "A law can be the reference.")
    for name, tree in trees.items():
        size = tree["posterior"].sizes["draw"]
        require(size > 1, f"{name!r} must have at least 2 draws in each chain", size, "Keep more of them.")
    if predictions is not None:
        trees = {name: named_predictions.apart(name, tree, predictions) for name, tree in trees.items()}
    if functionals is None:
        functionals = named_predictions.asked_for(trees, predictions) if predictions else summaries_of(trees)
    return compare(
        runs | trees,
        reference=names[1] if len(names) > 1 else None,
        functionals=functionals,
        predictions=predictions,
        observed=observed,
        key=key,
        thresholds=thresholds,
        progress=progress,
    )


def functionals_in(path: str | os.PathLike[str]) -> dict[str, Callable[[Any], Any]]:
    """Return the functionals that a Python file of the user holds under that name.

    Raises
    ------
    InputError
        If it fails to import or has none.
    """
    module = import_file(Path(path).expanduser(), "file of functionals", _HINT)
    held = getattr(module, "functionals", None)
    if not (isinstance(held, Mapping) and held and all(map(callable, held.values()))):
        raise InputError(message(f"{path} must have a dictionary of functions", type(held).__name__, _HINT))
    return {str(name): function for name, function in held.items()}


def observed_in(path: str | os.PathLike[str]) -> np.ndarray:
    """Return what was observed at the test points, one number each, from a ``.npy`` file or lines of text.

    Raises
    ------
    InputError
        If it is no such file.
    """
    place = Path(path).expanduser()
    rule = f"{str(path)!r} must hold one number for each test point, in a .npy file or in lines of text"
    try:
        with place.open("rb") as file:
            values = np.load(file, allow_pickle=False) if place.suffix == ".npy" else np.loadtxt(file, ndmin=1)
    except (OSError, ValueError, EOFError) as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())[:150]
        raise InputError(message(rule, reason)) from error
    require(values.ndim == 1 and values.size and values.dtype.kind in "fiub", rule, f"shape {values.shape}")
    return values


def context_of(comparison: Comparison, command: Sequence[str]) -> Context:
    """Return what the report shows around the comparison: how many draws there are, the command, versions."""
    settings = [Setting(name, _sizes(run)) for name, run in comparison.runs.items() if is_tree(run)]
    names = list(comparison.functionals)
    shown = f"{listed(names[:_MOST_NAMED])}{' and others' if len(names) > _MOST_NAMED else ''}"
    settings.append(Setting("functionals", number(len(names)), shown))
    return Context(settings=tuple(settings), command=shlex.join(command), environment=versions())


def _sizes(tree: DataTree) -> str:
    """Return how many draws there are: "4 chains of 500 draws, 101,770 numbers each"."""
    posterior = tree["posterior"].to_dataset()
    chains, draws = posterior.sizes["chain"], posterior.sizes["draw"]
    each = sum(values.size // (chains * draws) for values in posterior.data_vars.values() if "draw" in values.dims)
    return f"{count(chains, 'chain')} of {count(draws, 'draw')}, {count(each, 'number')} each"


def _named(run: Any) -> Any:
    """Return one array as a variable."""
    return {ALONE: run} if isinstance(run, np.ndarray | jax.Array) else run


def _names(draws: Any, reference: Any) -> list[str]:
    names = [_name(run, default) for run, default in zip((draws, reference), _NAMES, strict=True) if run is not None]
    return names if len(set(names)) == len(names) else [names[0], f"{names[1]} ({_NAMES[1]})"]


def _name(run: Any, default: str) -> str:
    """Return the name of a file without its ending; of several what they begin with."""
    if not is_path(run):
        return default
    paths = [Path(one) for one in (run if isinstance(run, list | tuple) else [run])]
    name = os.path.commonprefix([path.expanduser().absolute().stem for path in paths])
    return (name.rstrip("-_. 0123456789") if len(paths) > 1 else name) or default

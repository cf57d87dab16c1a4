"""Predictions as they are given: arrays, labelled arrays and trees, held against each other."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sgdvi._internal.check import InputError, message, real_array, require
from sgdvi._internal.text import count, listed
from sgdvi.diagnostics.measures import finite_chains
from sgdvi.draws.tree import is_tree

_GROUPS = ("predictions", "posterior_predictive", "posterior")
_FORMS = "Give an array (chain, draw, point, class) of probabilities, or (chain, draw, point) of numbers."
# Half precision and rounded texts: probabilities are divided by their sum.
_SUM_OFF = 0.01


@dataclass(frozen=True, eq=False)
class Given:
    """Predictions of all runs at the same test points.

    Attributes
    ----------
    draws
        Run -> (chain, draw, point, class) for classification, (chain, draw, point) for regression; chains that hold nan
        or infinite numbers are left out.
    left_out
        Run -> number of such chains.
    independent
        Runs whose draws are independent.
    reference
        Name of the reference, or None.
    observed
        What was observed at the points, (point,): whole numbers from 0, or real ones; None where unknown.
    noise_sd
        Standard deviation of the noise at the points, (point,), where draws are of means; else None.
    """

    draws: Mapping[str, np.ndarray]
    left_out: Mapping[str, int]
    independent: frozenset[str]
    reference: str | None
    observed: np.ndarray | None
    noise_sd: np.ndarray | None

    @property
    def classes(self) -> int:
        """Number of classes; 0 for regression."""
        first = next(iter(self.draws.values()))
        return first.shape[3] if first.ndim == 4 else 0

    @property
    def points(self) -> int:
        """Number of test points."""
        return int(next(iter(self.draws.values())).shape[2])


def read(
    runs: Mapping[str, Any],
    reference: str | None,
    observed: Any,
    variable: str | None,
    noise_sd: Any,
    independent: Collection[str],
) -> Given:
    """Read and check the arguments of `compare_predictions`, which see.

    Raises
    ------
    InputError
        Where they cannot be compared.
    """
    rule = "runs must be a mapping of at least one name to predictions"
    require(isinstance(runs, Mapping) and runs, rule, repr(runs)[:80])
    if reference is not None:
        rule, advice = "the reference must be one of the runs", f"Runs: {', '.join(map(str, runs))}, or None."
        require(reference in runs, rule, repr(reference), advice)
    unknown = [name for name in independent if name not in runs]
    require(not unknown, "independent must name runs", repr(unknown[:1]), f"Runs: {', '.join(map(str, runs))}.")
    found = {str(name): _found(str(name), run, variable) for name, run in runs.items()}
    alone = {name for name, run in runs.items() if name in independent or _is_independent(run)}
    arrays = {name: _array(name, values, name in alone) for name, values in found.items()}
    _same_points(found, arrays, str(reference or next(iter(arrays))))
    usable, left_out = {}, {}
    for name, values in arrays.items():
        keep = finite_chains(values)
        rule = f"predictions of {name!r} must be finite in at least {1 if name in alone else 2} chains"
        left = int(keep.sum())
        require(left >= (1 if name in alone else 2), rule, f"{left} of {count(keep.size, 'such chain')}")
        kept = values if keep.all() else values[keep]
        usable[name], left_out[name] = _probabilities(name, kept) if kept.ndim == 4 else kept, keep.size - left
    given = Given(usable, left_out, frozenset(alone), reference, None, None)
    seen = None if observed is None else _observed(observed, given.points, given.classes)
    return Given(usable, left_out, given.independent, reference, seen, _noise(noise_sd, given.points, given.classes))


def has_predictions(run: Any, variable: str | None = None) -> bool:
    """Whether a run is a tree that holds predictions of a test set, under this name or in its own group."""
    if not is_tree(run):
        return False
    if variable is not None:
        return any(group in run.children and variable in run[group].data_vars for group in _GROUPS)
    return _GROUPS[0] in run.children and len(run[_GROUPS[0]].data_vars) == 1


def _is_independent(run: Any) -> bool:
    return is_tree(run) and "posterior" in run.children and bool(run["posterior"].attrs.get("independent", 0))


def _found(name: str, run: Any, variable: str | None) -> Any:
    """Return the array in a tree; what is no tree as it is."""
    if not is_tree(run):
        return run
    rule = f"the run {name!r} must hold one array of predictions"
    if variable is not None:
        for group in _GROUPS:
            if group in run.children and variable in run[group].data_vars:
                return run[group][variable]
        got = f"no {variable!r} in its groups {listed(sorted(run.children))}"
        raise InputError(message(rule, got, "Name it with variable=."))
    held = list(run[_GROUPS[0]].data_vars) if _GROUPS[0] in run.children else []
    got = f"{count(len(held), 'variable')} in its group 'predictions'"
    require(len(held) == 1, rule, got, "Name one with variable=, or give its array.")
    return run[_GROUPS[0]][held[0]]


def _array(name: str, given: Any, alone: bool) -> np.ndarray:
    """Return predictions as (chain, draw, point[, class]), in their type; of independent draws in one chain."""
    dims = getattr(given, "dims", ())
    if {"chain", "draw"} <= set(dims):
        given = given.transpose("chain", "draw", ...).values
    values = np.asarray(real_array(f"predictions of {name!r}", given))
    rule = f"predictions of {name!r} must have axes (chain, draw, point) or (chain, draw, point, class)"
    require(values.ndim in (3, 4) and values.size, rule, f"shape {values.shape}", _FORMS)
    values = values if values.dtype in (np.float32, np.float64) else values.astype(np.float32)
    chains, draws = values.shape[:2]
    if alone:
        rule = f"the independent run {name!r} must have at least 2 draws"
        require(chains * draws >= 2, rule, f"{chains * draws}", "One network is no ensemble: train more.")
        return values.reshape(1, chains * draws, *values.shape[2:])
    advice = "Run more chains; of an ensemble or a fit say independent=[name]."
    require(chains >= 2, f"predictions of {name!r} must be of at least 2 chains", chains, advice)
    require(draws >= 2, f"predictions of {name!r} must be of at least 2 draws per chain", draws, advice)
    return values


def _same_points(found: Mapping[str, Any], arrays: Mapping[str, np.ndarray], against: str) -> None:
    for name, values in arrays.items():
        rule = f"predictions of {name!r} must be of the test points and classes of {against!r}"
        got = f"shapes {values.shape[2:]} and {arrays[against].shape[2:]} beyond chain and draw"
        require(values.shape[2:] == arrays[against].shape[2:], rule, got, "Predict the same test set.")
        one, other = (_labels(found[run]) for run in (name, against))
        if one is not None and other is not None:
            rule = f"predictions of {name!r} must be of the test points of {against!r}"
            require(np.array_equal(one, other), rule, "other labels of its points", "Predict the same test set.")


def _labels(given: Any) -> Any:
    """Return the labels of the test points, where an array has some."""
    own = [dim for dim in getattr(given, "dims", ()) if dim not in ("chain", "draw")]
    return given.coords[own[0]].values if own and own[0] in given.coords else None


def _probabilities(name: str, values: np.ndarray) -> np.ndarray:
    rule, advice = f"predictions of {name!r} must be probabilities", "Take the softmax of logits over the last axis."
    low, high = float(values.min()), float(values.max())
    require(low >= -_SUM_OFF and high <= 1 + _SUM_OFF, rule, f"numbers from {low:.3g} to {high:.3g}", advice)
    require(values.shape[3] >= 2, f"predictions of {name!r} must be of at least 2 classes", values.shape[3])
    sums = values.sum(axis=3, dtype=np.float64, keepdims=True)
    off = float(np.abs(sums - 1).max())
    require(off <= _SUM_OFF, rule, f"sums over the classes that are off 1 by {off:.3g}", advice)
    return np.clip(values, 0, None) / sums.astype(values.dtype)


def _observed(observed: Any, points: int, classes: int) -> np.ndarray:
    values = np.asarray(real_array("observed", observed))
    rule = f"observed must have one value for each of {count(points, 'test point')}"
    require(values.shape == (points,), rule, f"shape {values.shape}", "One-hot labels: give their argmax.")
    bad = np.flatnonzero(~np.isfinite(values))
    require(not bad.size, "observed must be finite", f"{values[bad[:1]]} at test point {bad[:1]}")
    if not classes:
        return values.astype(np.float64)
    wrong = np.flatnonzero((values < 0) | (values >= classes) | (values != np.round(values)))
    got = f"{values[wrong[:1]]} at test point {wrong[:1]} ({wrong.size} such labels)"
    require(not wrong.size, f"observed must be classes from 0 to {classes - 1}", got)
    return values.astype(np.int64)


def _noise(noise_sd: Any, points: int, classes: int) -> np.ndarray | None:
    if noise_sd is None:
        return None
    require(not classes, "noise_sd must be of a regression", "probabilities of classes", "Leave it out.")
    values = np.asarray(real_array("noise_sd", noise_sd), dtype=np.float64)
    rule = f"noise_sd must be a number above 0, or one for each of {count(points, 'test point')}"
    require(values.shape in ((), (points,)) and (values > 0).all() and np.isfinite(values).all(), rule, values)
    return np.broadcast_to(values, (points,))

"""Predictions that stand among the draws: kept apart from the parameters, and asked for in their place."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from sgdvi._internal.check import require
from sgdvi._internal.text import listed
from sgdvi.draws.tree import DataTree, with_group
from sgdvi.experiment.summaries import SOME, entries

_GROUP = "predictions"


def apart(name: str, tree: DataTree, variable: str) -> DataTree:
    """Return the run with a variable of its draws as the group ``predictions``, no longer one of its parameters.

    Functionals can still ask for it. Where nothing else was kept it stays what the chains are judged by, too.

    Raises
    ------
    InputError
        If the run has no such variable.
    """
    posterior = tree["posterior"].to_dataset()
    variables = sorted(map(str, posterior.data_vars))
    require(variable in variables, f"{name!r} must have a variable {variable!r}", listed(variables), "Name its own.")
    values = posterior[variable].transpose("chain", "draw", ...)
    tree = with_group(tree, _GROUP, {variable: values.values}, draws=True)
    if len(variables) > 1:
        # a coordinate is cut with the draws and is no parameter
        tree["posterior"] = posterior.set_coords(variable)
    return tree


def asked_for(trees: Mapping[str, DataTree], variable: str) -> dict[str, Callable[[Any], Any]]:
    """Return predictions as functionals: 100 at random of the half of the test points that varies most in all runs.

    Of classes it is the probability of the most probable one: small probabilities have long tails, and those that are 0
    or 1 to the last digit in most draws say nothing of how the chains mixed.
    """
    held: list[Any] = [tree[_GROUP][variable].values for tree in trees.values()]
    rule, shapes = f"{variable!r} must be of the same test points in all runs", [array.shape[2:] for array in held]
    require(len(set(shapes)) == 1, rule, f"shapes {listed(list(map(str, shapes)))}", "Predict the same test set.")
    least = np.min([_spread(array) for array in held], axis=0)
    places = np.argwhere(np.ones(shapes[0], bool))
    if len(shapes[0]) == 2:
        mean = held[-1].mean(axis=(0, 1), dtype=np.float64)
        places = np.stack([np.arange(len(mean)), mean.argmax(axis=1)], axis=1)
    spread = least[tuple(places.T)]
    places = places[spread >= np.median(spread)]
    some = np.random.default_rng(0).permutation(len(places))[:SOME]
    return entries(variable, places[np.sort(some)])


def _spread(values: np.ndarray) -> np.ndarray:
    """Return the standard deviation of each entry; infinity where a draw is not finite, which has to be seen."""
    with np.errstate(invalid="ignore", over="ignore"):
        return np.nan_to_num(values.std(axis=(0, 1), dtype=np.float64), nan=np.inf)

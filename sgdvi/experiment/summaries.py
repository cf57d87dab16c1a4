"""Functionals of draws that nobody has named: every entry, or what stands for very many of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any

import numpy as np

from sgdvi._internal.check import InputError, message
from sgdvi._internal.text import listed
from sgdvi.draws.tree import DataTree, is_numeric, kind_of

# Beyond so many entries figures and tables of all are of no use, and their checks take minutes.
MOST, SOME, SMALL = 500, 100, 10
_SAMPLE = ("chain", "draw")
Functional = Callable[[Any], Any]


def summaries_of(trees: Mapping[str, DataTree]) -> dict[str, Functional]:
    """Return functionals of the numbers that all runs have, run -> tree.

    Of one run what it holds at one value is left out while something moves, as zeros and ones of a Cholesky factor are,
    and so are variables that hold nothing but nan, where that is not divergence. Of more than 500 entries: the root
    mean square of each variable with more than ten, and of all entries 100 that are chosen at random, the same at every
    call.

    Raises
    ------
    InputError
        If the runs have no variable in common.
    """
    every = [_numbers(tree, name) for name, tree in trees.items()]
    shared = {name: values for name, values in every[0].items() if all(name in other for other in every)}
    if not shared:
        got = " and ".join(listed(list(other)[:5]) or "none" for other in every)
        advice = "Rename them, or give functionals that can be computed from both."
        raise InputError(message("draws and reference must have a variable of one name", got, advice))
    moving = {name: _moving(values) for name, values in shared.items()} if len(trees) == 1 else {}
    if not any(mask.any() for mask in moving.values()):
        moving = {name: np.ones(_shape(values), bool) for name, values in shared.items()}
    if sum(int(mask.sum()) for mask in moving.values()) > MOST:
        return _of_many(moving)
    chosen: dict[str, Functional] = {}
    for name, mask in moving.items():
        if mask.all():
            chosen[name] = itemgetter(name)  # which is taken apart with the labels of its dimensions
        else:
            chosen |= entries(name, np.argwhere(mask))
    return chosen


def _of_many(moving: Mapping[str, np.ndarray]) -> dict[str, Functional]:
    large = [name for name, mask in moving.items() if mask.size > SMALL and mask.any()]
    chosen: dict[str, Functional] = {f"rms({name})": partial(_root_mean_square, name) for name in large}
    ends = np.cumsum([int(mask.sum()) for mask in moving.values()])
    numbers = np.sort(np.random.default_rng(0).choice(ends[-1], SOME, replace=False))
    for (name, mask), part in zip(moving.items(), np.split(numbers, np.searchsorted(numbers, ends[:-1])), strict=True):
        first = ends[list(moving).index(name)] - int(mask.sum())
        chosen |= entries(name, np.argwhere(mask)[part - first])
    return chosen


def entries(name: str, places: np.ndarray) -> dict[str, Functional]:
    """Return entries of a variable as functionals, by their places, shape (n, dimensions)."""
    each = [tuple(map(int, place)) for place in places]
    return {f"{name}{_at(place)}": _Entry(name, place) for place in each}


def _at(place: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, place))}]" if place else ""


def _numbers(tree: DataTree, name: str) -> Mapping[str, Any]:
    variables = tree["posterior"].to_dataset().data_vars.items()
    numbers = {str(site): values for site, values in variables if is_numeric(values)}
    if kind_of(tree, name) == "sgd":
        return numbers
    return {site: values for site, values in numbers.items() if not _is_empty(values.values)} or numbers


def _is_empty(values: np.ndarray) -> bool:
    return bool(np.isnan(values[:, 0]).all() and np.isnan(values).all())


def _shape(values: Any) -> tuple[int, ...]:
    return tuple(size for dim, size in values.sizes.items() if dim not in _SAMPLE)


def _moving(values: Any) -> np.ndarray:
    """Return which entries of a variable take several values; nan is no value."""
    table = values.transpose(*_SAMPLE, ...).values
    return np.asarray(table.max(axis=(0, 1)) != table.min(axis=(0, 1)))


def _root_mean_square(name: str, draws: Any) -> Any:
    own = [dim for dim in draws[name].dims if dim not in _SAMPLE]
    return (draws[name] ** 2).mean(own) ** 0.5


@dataclass(frozen=True)
class _Entry:
    """One entry of a variable, by its place along each dimension: tools name dimensions apart."""

    name: str
    place: tuple[int, ...]

    def __call__(self, draws: Any) -> Any:
        values = draws[self.name]
        own = [dim for dim in values.dims if dim not in _SAMPLE]
        return values.isel(dict(zip(own, self.place, strict=True)))

"""Functionals of draws that nobody has named: every entry, or what stands for very many of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from sgdvi._internal.check import InputError, message
from sgdvi._internal.text import listed
from sgdvi.draws.tree import DataTree

# Beyond so many entries figures and tables of all are of no use, and their checks take minutes.
MOST, SOME, SMALL = 500, 100, 10
_SAMPLE = ("chain", "draw")


def summaries_of(trees: Sequence[DataTree]) -> dict[str, Callable[[Any], Any]] | None:
    """Return functionals of the variables that all runs have; None where they are few enough to be taken one by one.

    Of one run what it holds at one value is left out while something moves, as zeros and ones of a Cholesky factor are.
    Of more than 500 entries: the root mean square of each variable with more than ten, and of all entries 100 that are
    chosen at random, the same at every call.

    Raises
    ------
    InputError
        If the runs have no variable in common.
    """
    every = [_numbers(tree) for tree in trees]
    shared = {name: values for name, values in every[0].items() if all(name in other for other in every)}
    if not shared:
        got = " and ".join(listed(list(other)[:5]) or "none" for other in every)
        advice = "Rename them, or give functionals that can be computed from both."
        raise InputError(message("draws and reference must have a variable of one name", got, advice))
    moving = {
        name: _moving(values) if len(trees) == 1 else np.ones(_shape(values), bool) for name, values in shared.items()
    }
    if not any(mask.any() for mask in moving.values()):
        return None
    entries = [(name, tuple(map(int, place))) for name, mask in moving.items() for place in np.argwhere(mask)]
    few = len(entries) <= MOST
    if few and all(mask.all() for mask in moving.values()):
        return None
    chosen: dict[str, Callable[[Any], Any]] = {}
    if not few:
        large = [name for name, mask in moving.items() if mask.size > SMALL and mask.any()]
        chosen = {f"rms({name})": partial(_root_mean_square, name) for name in large}
        numbers = np.sort(np.random.default_rng(0).choice(len(entries), SOME, replace=False))
        entries = [entries[number] for number in numbers]
    return chosen | {f"{name}{_at(place)}": _Entry(name, place) for name, place in entries}


def _at(place: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, place))}]" if place else ""


def _numbers(tree: DataTree) -> Mapping[str, Any]:
    variables = tree["posterior"].to_dataset().data_vars.items()
    return {
        str(name): values
        for name, values in variables
        if values.dtype.kind in "fiub" and set(_SAMPLE) <= set(values.dims)
    }


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

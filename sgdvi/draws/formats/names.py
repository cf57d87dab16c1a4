"""Columns such as ``theta.1.2`` and ``theta[1,2]`` put together into arrays, and chains into one array."""

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np

from sgdvi._internal.check import InputError, message, require
from sgdvi._internal.text import listed

# Stan's own files, and those of ArviZ and of R; R's data.frame writes theta[1,2] as theta.1.2.
_DOTS = re.compile(r"(?P<base>.+?)(?P<place>(?:\.\d+)+)\.?")
_BRACKETS = re.compile(r"(?P<base>.+?)\[(?P<place>\d+(?:\s*,\s*\d+)*)\]")
_MOST_NAMED = 5


def natural(text: str) -> list[tuple[int, int, str]]:
    """Return what texts are sorted by so that step-9 comes before step-10."""
    parts = re.findall(r"\d+|\D+", text)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


def into_arrays(names: Sequence[str], table: np.ndarray) -> dict[str, np.ndarray]:
    """Put the columns of a table (row, column) together: base name -> array (row, ...).

    Places count from 1 or from 0. Where not all places of a name are there, its columns stay apart, under their names.
    """
    groups: dict[str, dict[tuple[int, ...], int]] = {}
    for column, name in enumerate(names):
        base, place = _taken_apart(name)
        groups.setdefault(base, {})[place] = column
    arrays: dict[str, np.ndarray] = {}
    for base, columns in groups.items():
        shape = _shape(columns)
        if shape is None:
            arrays |= {names[column]: table[:, column] for column in columns.values()}
        else:
            order = [columns[place] for place in sorted(columns)]
            arrays[base] = table[:, order].reshape(len(table), *shape)
    return arrays


def stacked(chains: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Put chains together: file of the chain -> name -> array (draw, ...) becomes name -> array (chain, draw, ...).

    Raises
    ------
    InputError
        If they have other names, shapes or lengths.
    """
    check_alike(chains)
    first = next(iter(chains.values()))
    return {name: np.stack([arrays[name] for arrays in chains.values()]) for name in first}


def check_alike(chains: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Raise `InputError` unless all chains, file -> name -> array (draw, ...), have the same names and shapes."""
    check_arrays(chains, "draws", "Give chains of one model.")
    lengths = sorted({len(array) for arrays in chains.values() for array in arrays.values()})
    rule, got = "all chains must have one length", f"chains of {listed([str(size) for size in lengths])} draws"
    require(len(lengths) == 1, rule, got, f"Cut all chains to {lengths[0]} draws.")


def check_arrays(files: Mapping[str, Mapping[str, np.ndarray]], first_axis: str, advice: str) -> None:
    """Raise `InputError` unless all files, file -> name -> array, have the same names, and shapes but in one axis."""
    (start, first), *others = files.items()
    for file, arrays in others:
        check_names(start, first, file, arrays)
        for name, array in arrays.items():
            rule = f"{name!r} must have the same shape in all files, beyond its {first_axis}"
            got = f"{first[name].shape[1:]} in {start} and {array.shape[1:]} in {file}"
            require(array.shape[1:] == first[name].shape[1:], rule, got, advice)


def check_names(start: str, first: Mapping[str, object], file: str, other: Mapping[str, object]) -> None:
    """Raise `InputError` unless two chains or checkpoints have the same names."""
    apart = [name for name in (*first, *other) if (name in first) != (name in other)]
    if apart:
        shown = ", ".join(apart[:_MOST_NAMED]) + (", ..." if len(apart) > _MOST_NAMED else "")
        got = f"{shown} in only one of {start} and {file}"
        raise InputError(message("all files of a run must have the same variables", got, "Give files of one run."))


def _taken_apart(name: str) -> tuple[str, tuple[int, ...]]:
    match = _BRACKETS.fullmatch(name) or _DOTS.fullmatch(name)
    if match is None:
        return name, ()
    return match["base"], tuple(map(int, re.findall(r"\d+", match["place"])))


def _shape(columns: Mapping[tuple[int, ...], int]) -> tuple[int, ...] | None:
    """Return the shape that places fill; None where they do not fill any."""
    if len({len(place) for place in columns}) != 1:
        return None
    ends = list(zip(*columns, strict=True))
    least = [min(end) for end in ends]
    shape = tuple(max(end) - low + 1 for end, low in zip(ends, least, strict=True))
    whole = math.prod(shape) == len(columns) and all(low in (0, 1) for low in least)
    return shape if whole else None

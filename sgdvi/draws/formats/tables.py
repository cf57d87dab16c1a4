"""Draws in CSV files: those of CmdStan and of R's posterior, and any other with a line of names and one per draw."""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
from xarray import DataTree

from sgdvi._internal.check import InputError, message, require
from sgdvi._internal.text import listed
from sgdvi.draws.formats import stan
from sgdvi.draws.formats.names import into_arrays, stacked
from sgdvi.draws.tree import make_tree, with_group

_DELIMITERS = ",;\t"
# Names of the columns that number chains, and draws within them: R's posterior, CmdStanPy, ArviZ and pandas.
_CHAINS = (".chain", "chain__", "chain")
_DRAWS = (".iteration", "iter__", "iteration", "draw")
_COUNTS = (*_CHAINS, *_DRAWS, ".draw", "draw__")
# `write.csv` of R's draws_array writes the number of the chain before each name: 1.mu, 2.mu.
_OF_CHAIN = re.compile(r"(\d+)\.(.+)")
_MISSING = re.compile(r'(?<![^,;\t])"?NA"?(?=[,;\t\r\n]|$)')
_LOG_LIKELIHOOD = ("log_lik", "log_likelihood")


@dataclass(frozen=True, eq=False)
class Table:
    """A CSV file: names of its columns, numbers (row, column), and comments with the number of rows before each."""

    names: list[str]
    values: np.ndarray
    comments: list[tuple[int, str]]


def read_tables(paths: Sequence[Path]) -> DataTree:
    """Read draws from CSV files, each of which holds one chain, or has columns that number its chains.

    Parameters
    ----------
    paths
        Files in the order of the chains.

    Returns
    -------
    DataTree
        ``theta.1.2`` and ``theta[1,2]`` are one entry of ``theta``. Of CmdStan warm-up rows are left out, and what it
        says of its steps is in ``sample_stats``; variables ``log_lik`` are in ``log_likelihood``.

    Raises
    ------
    InputError
        If a file is no table of numbers, has no rows or is cut, or if chains have other columns or lengths.
    """
    chains: dict[str, dict[str, np.ndarray]] = {}
    said = stan.Said()
    for path in paths:
        table = read_table(path)
        said = stan.said_in(path, table.comments, len(table.values))
        rows = table.values[said.first :]
        rule = f"{str(path)!r} must have draws"
        require(len(rows), rule, "a line of names and nothing below" if not len(table.values) else "warm-up alone")
        chains |= _chains(path.name if len(paths) > 1 else "", table.names, rows)
    arrays = stacked(chains)
    stats = stan.statistics(arrays, said)
    sites = {name: array for name, array in arrays.items() if not name.endswith("__")}
    likelihood = {name: sites.pop(name) for name in _LOG_LIKELIHOOD if name in sites and len(sites) > 1}
    require(sites, f"{str(paths[0])!r} must have a column that is no statistic of a sampler", ", ".join(arrays))
    tree = make_tree(sites, kind=said.kind, sample_stats=stats, attrs=said.attributes)
    return with_group(tree, "log_likelihood", likelihood, draws=True) if likelihood else tree


def read_table(path: Path) -> Table:
    """Read a CSV file with comment lines that begin with "#".

    Raises
    ------
    InputError
        If it is no table of numbers under a line of names.
    """
    rule = f"{str(path)!r} must be a CSV file, a line of names and one line of numbers for each draw"
    comments: list[tuple[int, str]] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = _Lines(file, comments)
            header = next(lines, "")
            require(header, rule, "an empty file")
            delimiter = max(_DELIMITERS, key=header.count)
            names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter))]
            require(not all(map(_is_number, names)), rule, f"no names but {', '.join(names[:3])}")
            first = next(lines, "")
            cells = next(csv.reader([first], delimiter=delimiter)) if first else names
            names = ["", *names] if len(cells) == len(names) + 1 else names  # R's write.table names no row names
            kept = [number for number, name in enumerate(names) if name]
            values = _numbers(lines.begun_by(first), delimiter, kept) if first else np.empty((0, len(kept)))
    except UnicodeDecodeError:
        raise InputError(message(rule, "bytes that are no text in UTF-8")) from None
    except OSError as error:
        raise InputError(message(f"{str(path)!r} must be readable", error.strerror or str(error))) from error
    except (ValueError, csv.Error) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(message(rule, _reason(str(error), names), "Give the file that was written, whole.")) from error
    names = [names[number] for number in kept]
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1] if len(set(names)) < len(names) else []
    require(not twice, rule, f"several columns named {listed(twice)}")
    return Table(names, values, comments)


class _Lines(Iterator[str]):
    """The lines of a file without comments, which are noted with the number of draws before them."""

    def __init__(self, file: TextIO, comments: list[tuple[int, str]]) -> None:
        self._file, self._comments, self._count, self._begun = file, comments, -1, ""

    def begun_by(self, line: str) -> "_Lines":
        """Return the same lines, from one that was read already."""
        self._begun = line
        return self

    def __next__(self) -> str:
        if self._begun:
            line, self._begun = self._begun, ""
            return line
        for line in self._file:
            if line.startswith("#"):
                self._comments.append((max(self._count, 0), line[1:].strip()))
            elif line.strip():
                self._count += 1
                return _MISSING.sub("nan", line) if "NA" in line else line
        raise StopIteration


def _numbers(lines: Iterator[str], delimiter: str, kept: Sequence[int]) -> np.ndarray:
    # decimal commas come with semicolons
    texts = (line.replace(",", ".") for line in lines) if delimiter == ";" else lines
    whole = np.loadtxt(texts, delimiter=delimiter, comments=None, quotechar='"', ndmin=2, usecols=None)
    return whole[:, kept] if len(kept) < whole.shape[1] else whole


def _reason(text: str, names: Sequence[str]) -> str:
    place = re.search(r" at row (\d+), column (\d+)", text)
    if place is not None and int(place[2]) <= len(names):
        text = f"{text[: place.start()].replace('could not convert string', 'the text')} under "
        return text.replace(" to float64", "") + repr(names[int(place[2]) - 1])
    return text.partition(";")[0][:200]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _chains(file: str, names: Sequence[str], rows: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """Return name of the chain -> variable -> array (draw, ...) of one file."""
    counts = {name: rows[:, names.index(name)] for name in _COUNTS if name in names}
    chain = next((counts[name] for name in _CHAINS if name in counts), None)
    draw = next((counts[name] for name in _DRAWS if name in counts), np.arange(len(rows)))
    numbers = [number for number, name in enumerate(names) if name not in counts]
    own, table = [names[number] for number in numbers], rows[:, numbers] if counts else rows
    require(own, "a file of draws must have a column that is no count of draws", ", ".join(names))
    if chain is not None:
        order = np.lexsort((draw, chain))
        parts = np.split(table[order], np.flatnonzero(np.diff(chain[order])) + 1)
        return {f"{file} chain {k}".strip(): into_arrays(own, part) for k, part in enumerate(parts, 1)}
    matches = [_OF_CHAIN.fullmatch(name) for name in own]
    if all(matches):
        by_chain: dict[int, list[int]] = {}
        for number, match in enumerate(matches):
            by_chain.setdefault(int(match[1]) if match else 0, []).append(number)
        return {
            f"{file} chain {k}".strip(): into_arrays([own[n].partition(".")[2] for n in which], table[:, which])
            for k, which in sorted(by_chain.items())
        }
    return {file or "the file": into_arrays(own, table)}

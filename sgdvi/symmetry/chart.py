"""A chart of the quotient: groups of parameters are set to norm one, and what is left are invariants."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sgdvi._internal.check import InputError, message, require
from sgdvi.symmetry.scaling import Symmetry

# Sign patterns are listed: 2 to this power of them, for the symmetries of one component.
_MOST_SIGNS = 12


@dataclass(frozen=True, eq=False)
class Component:
    """Symmetries that share parameters, directly or by way of others, and their chart.

    Attributes
    ----------
    names
        The symmetries as texts, k of them.
    entries
        Numbers of the parameters that they move, in the leaves flattened one after the other, shape (n,).
    exponents
        Shape (k, n).
    pivots
        k groups of entries, as numbers of parameters, each of which all symmetries scale as a whole; on the chart each
        has norm one, and a pivot of one entry is 1.
    pivot_exponents
        Shape (k, k): the exponent of symmetry j on pivot i at [i, j]; invertible.
    patterns
        Flips of signs that the loss does not notice, shape (2^m, n), for m pivots of one entry: at number b those of
        them are turned whose bits are set in b.
    """

    names: tuple[str, ...]
    entries: np.ndarray
    exponents: np.ndarray
    pivots: tuple[np.ndarray, ...]
    pivot_exponents: np.ndarray
    patterns: np.ndarray

    @property
    def volume(self) -> np.ndarray:
        """Growth of the volume of parameter space along the orbit for each symmetry, shape (k,)."""
        return self.exponents.sum(1)

    @property
    def single(self) -> np.ndarray:
        """Pivots of one entry, shape (m,)."""
        return np.array([pivot[0] for pivot in self.pivots if len(pivot) == 1], int)

    @property
    def directions(self) -> tuple[np.ndarray, ...]:
        """Pivots of several entries: unit vectors on the chart."""
        return tuple(pivot for pivot in self.pivots if len(pivot) > 1)

    def to_chart(self, flat: np.ndarray) -> np.ndarray:
        """Move parameters, shape (B, P), along their orbits, and by flips of signs, to the chart."""
        norms = np.stack([np.linalg.norm(flat[:, pivot], axis=1) for pivot in self.pivots])
        rule = f"what the symmetry {self.names[0]} scales must be other than zero in every draw"
        require(bool((norms > 0).all()), rule, f"{int((norms <= 0).any(0).sum())} draws where it is zero")
        step = np.linalg.solve(self.pivot_exponents, -np.log(norms))
        moved = flat.copy()
        number = ((flat[:, self.single] < 0) * 2 ** np.arange(len(self.single))).sum(1)
        moved[:, self.entries] *= np.exp(step.T @ self.exponents) * self.patterns[number]
        moved[:, self.single] = 1.0  # not only up to rounding: no coordinate, for whoever compares draws
        return moved


def components(symmetries: Sequence[Symmetry]) -> list[Component]:
    """Group symmetries by the parameters that they share, and choose a chart for each group.

    Raises
    ------
    InputError
        If the scale of a symmetry can only be fixed on one parameter whose sign the loss tells apart.
    """
    rows = _exponents(symmetries)
    parts = []
    for numbers in _connected(rows != 0):
        entries = np.flatnonzero((rows[numbers] != 0).any(0))
        exponents = rows[np.ix_(numbers, entries)]
        chosen = _pivots(exponents)
        pivots = tuple(entries[pivot] for pivot in chosen)
        at = np.array([exponents[:, pivot[0]] for pivot in chosen])
        these = [symmetries[number] for number in numbers]
        single = np.array([pivot[0] for pivot in chosen if len(pivot) == 1], int)
        patterns = _patterns(these, exponents, single)
        parts.append(Component(tuple(map(str, these)), entries, exponents, pivots, at, patterns))
    return parts


def _exponents(symmetries: Sequence[Symmetry]) -> np.ndarray:
    """Exponents, shape (S, P)."""
    leaves = symmetries[0].loss.leaves
    table = np.zeros((len(symmetries), sum(leaf.size for leaf in leaves)))
    for row, symmetry in zip(table, symmetries, strict=True):
        parts = np.split(row, np.cumsum([leaf.size for leaf in leaves])[:-1])
        for group in symmetry.groups:
            parts[group.leaf].reshape(leaves[group.leaf].shape)[group.where] = group.exponent
    return table


def _connected(moved: np.ndarray) -> list[list[int]]:
    left, blocks = list(range(len(moved))), []
    while left:
        block = [left.pop(0)]
        # the list grows under the loop: neighbours of neighbours join
        for one in block:
            near = [other for other in left if (moved[one] & moved[other]).any()]
            block += near
            left = [other for other in left if other not in near]
        blocks.append(sorted(block))
    return blocks


def _pivots(exponents: np.ndarray) -> list[np.ndarray]:
    """Choose blocks of columns with equal exponents, the largest first, whose exponents are independent."""
    _, inverse = np.unique(exponents, axis=1, return_inverse=True)
    blocks = [np.flatnonzero(inverse.ravel() == number) for number in range(inverse.max() + 1)]
    chosen: list[np.ndarray] = []
    # large ones first: only a pivot of one entry has a sign to be settled
    for block in sorted(blocks, key=lambda block: (-len(block), block[0])):
        columns = exponents[:, [pivot[0] for pivot in (*chosen, block)]]
        if np.linalg.matrix_rank(columns) == columns.shape[1]:
            chosen.append(block)
    return chosen


def _patterns(symmetries: Sequence[Symmetry], exponents: np.ndarray, single: np.ndarray) -> np.ndarray:
    signed = [number for number, symmetry in enumerate(symmetries) if len(single) and symmetry.signed]
    by_sign: dict[int, np.ndarray] = {0: np.ones(exponents.shape[1])}
    for chosen in itertools.product((0, 1), repeat=min(len(signed), _MOST_SIGNS)):
        # (-1)^c: the flip of a signed symmetry is its scaling with lambda = -1
        pattern = 1.0 - 2.0 * (np.array(chosen, float) @ exponents[signed] % 2) if signed else by_sign[0]
        by_sign.setdefault(int(((pattern[single] < 0) * 2 ** np.arange(len(single))).sum()), pattern)
    if len(by_sign) < 2 ** len(single):
        rule = f"the scale of the symmetry {symmetries[0]} must stand in several parameters, or in one of either sign"
        raise InputError(message(rule, "one parameter whose sign the loss tells apart", "Leave this symmetry out."))
    return np.array([by_sign[number] for number in range(len(by_sign))])

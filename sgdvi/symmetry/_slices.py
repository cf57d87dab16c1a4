"""Candidate groups of parameters: every leaf as a whole, its slices, and its entries where there are few."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

Axes = tuple[int, ...]


@dataclass(frozen=True)
class Group:
    """A slice of one leaf whose entries are scaled alike.

    Attributes
    ----------
    leaf
        Position of the leaf among those of the parameters.
    label
        Name of the leaf.
    index
        One entry per axis: a number, or None for the whole axis. ``(None, 3)`` is ``leaf[:, 3]``.
    exponent
        The slice is multiplied by lambda to this power.
    """

    leaf: int
    label: str
    index: tuple[int | None, ...]
    exponent: float

    @property
    def where(self) -> tuple[int | slice, ...]:
        """Index expression of the slice."""
        return tuple(slice(None) if entry is None else entry for entry in self.index)

    def __str__(self) -> str:
        inside = ", ".join(":" if entry is None else str(entry) for entry in self.index)
        whole = all(entry is None for entry in self.index)
        return self.label if whole else f"{self.label}[{inside}]"


@dataclass(frozen=True)
class Slices:
    """A basis of exponents: the exponent of an entry is a sum of terms, one for every set of axes of its leaf.

    With the entry `corner` of each leaf as origin, the indicators of the slices that avoid it on all their fixed axes
    are linearly independent, and any exponents with the same integers have integer coordinates.

    Attributes
    ----------
    shapes
        Shapes of the leaves.
    corners
        Index of the origin of each leaf.
    sets
        For each leaf, the sets of fixed axes, closed under taking subsets.
    """

    shapes: tuple[tuple[int, ...], ...]
    corners: tuple[tuple[int, ...], ...]
    sets: tuple[tuple[Axes, ...], ...]

    @classmethod
    def choose(cls, shapes: list[tuple[int, ...]], corners: list[tuple[int, ...]], most: int) -> "Slices":
        """Take all leaves and their slices along one axis, then finer slices, the fewest first, up to `most`."""
        sets: list[set[Axes]] = [{(), *((axis,) for axis in range(len(shape)))} for shape in shapes]
        finer = [
            (math.prod(shape[axis] for axis in axes), leaf, axes)
            for leaf, shape in enumerate(shapes)
            for count in range(2, len(shape) + 1)
            for axes in itertools.combinations(range(len(shape)), count)
        ]
        total = sum(_size(shapes[leaf], axes) for leaf, these in enumerate(sets) for axes in these)
        for _, leaf, axes in sorted(finer):
            below = {sub for count in range(len(axes) + 1) for sub in itertools.combinations(axes, count)}
            new = below - sets[leaf]
            extra = sum(_size(shapes[leaf], sub) for sub in new)
            if total + extra <= most:
                sets[leaf] |= new
                total += extra
        ordered = tuple(tuple(sorted(these, key=lambda axes: (len(axes), axes))) for these in sets)
        return cls(tuple(shapes), tuple(corners), ordered)

    def without(self, leaves: set[int]) -> tuple["Slices", np.ndarray]:
        """Return the slices of the other leaves alone, and a mask of their coordinates among those of all."""
        kept = np.concatenate([np.full(count, leaf not in leaves) for leaf, _, count in self.parts])
        sets = tuple(() if leaf in leaves else these for leaf, these in enumerate(self.sets))
        return replace(self, sets=sets), kept

    @property
    def parts(self) -> list[tuple[int, Axes, int]]:
        """Leaf, fixed axes and number of coordinates, in the order of the coordinates."""
        return [(leaf, axes, _size(self.shapes[leaf], axes)) for leaf, these in enumerate(self.sets) for axes in these]

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return sum(count for _, _, count in self.parts)

    def sums(self, leaves: list[np.ndarray]) -> np.ndarray:
        """Sum arrays of shape (..., *leaf) over all slices: shape (..., size)."""
        lead = leaves[0].shape[: leaves[0].ndim - len(self.shapes[0])]
        return np.concatenate(
            [self._sum(leaves[leaf], leaf, axes, len(lead)).reshape(*lead, size) for leaf, axes, size in self.parts],
            axis=-1,
        )

    def _sum(self, array: np.ndarray, leaf: int, axes: Axes, lead: int) -> np.ndarray:
        rest = tuple(lead + axis for axis in range(len(self.shapes[leaf])) if axis not in axes)
        array = array.sum(axis=rest)
        for place, axis in enumerate(axes):
            array = np.delete(array, self.corners[leaf][axis], axis=lead + place)
        return array

    def overlaps(self) -> np.ndarray:
        """Return the number of entries that two slices share, shape (size, size)."""
        parts = self.parts
        total = np.zeros((self.size, self.size))
        starts = np.cumsum([0, *(count for _, _, count in parts)])
        for (leaf, axes, count), start in zip(parts, starts[:-1], strict=True):
            for (other, others, number), begin in zip(parts, starts[:-1], strict=True):
                if leaf == other:
                    place = (slice(start, start + count), slice(begin, begin + number))
                    total[place] = self._overlap(self.shapes[leaf], axes, others)
        return total

    @staticmethod
    def _overlap(shape: tuple[int, ...], axes: Axes, others: Axes) -> np.ndarray:
        free = math.prod(shape[axis] for axis in range(len(shape)) if axis not in axes and axis not in others)
        block = np.full([shape[axis] - 1 for axis in (*axes, *others)], float(free))
        # two slices that fix the same axis meet only where they fix it at the same place
        for place, axis in enumerate(axes):
            if axis in others:
                dims = [1] * block.ndim
                at = len(axes) + others.index(axis)
                dims[place] = dims[at] = shape[axis] - 1
                block = block * np.eye(shape[axis] - 1).reshape(dims)
        return block.reshape(_size(shape, axes), _size(shape, others))

    def groups(
        self, coordinates: np.ndarray, labels: tuple[str, ...], unused: Sequence[np.ndarray]
    ) -> tuple[Group, ...]:
        """Return the slices on which the exponents with these coordinates are not zero; the first one is positive.

        Slices without an entry that a sample uses, by the masks `unused`, are left out: their exponents are arbitrary.
        """
        blocks: list[dict[Axes, np.ndarray]] = [{} for _ in self.shapes]
        start = 0
        for leaf, axes, count in self.parts:
            block = coordinates[start : start + count]
            start += count
            if np.any(block):
                blocks[leaf][axes] = block.reshape([self.shapes[leaf][axis] - 1 for axis in axes])
        grouped: list[Group] = []
        for leaf, terms in enumerate(blocks):
            active = tuple(sorted({axis for axes in terms for axis in axes}))
            table = np.zeros([self.shapes[leaf][axis] for axis in active])
            for axes, part in terms.items():
                for axis in axes:
                    part = np.insert(part, self.corners[leaf][axis], 0, axis=axes.index(axis))
                table = table + part.reshape([self.shapes[leaf][axis] if axis in axes else 1 for axis in active])
            for place in np.argwhere(table):
                index: list[int | None] = [None] * len(self.shapes[leaf])
                for axis, number in zip(active, place, strict=True):
                    index[axis] = int(number)
                group = Group(leaf, labels[leaf], tuple(index), float(table[tuple(place)]))
                if not unused[leaf][group.where].all():
                    grouped.append(group)
        sign = math.copysign(1.0, grouped[0].exponent)
        return tuple(replace(group, exponent=_plain(sign * group.exponent)) for group in grouped)


def _size(shape: tuple[int, ...], axes: Axes) -> int:
    return math.prod(shape[axis] - 1 for axis in axes)


def _plain(number: float) -> float:
    return int(number) if float(number).is_integer() else float(number)

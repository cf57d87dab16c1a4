"""Transfer operator of v -> v f(v)^2 on a grid in log v, and its leading eigenvector.

The grid is uniform in s with log v = centre + scale sinh(s): fine in the bulk, geometric in both tails. A jump that
lands between grid points is shared by the six nearest with the weights of interpolation: mass and the first five
moments in s are kept, so that the error falls like the fifth power of the grid step or faster where the law is smooth.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce

import numpy as np
from scipy.linalg import lu_factor, lu_solve

_SHIFT = 1e-12
# Entries of one block of atoms: they fit the processor's cache.
_BLOCK = 100_000
# Below this the mass that leaves per step is rounding.
_NO_ESCAPE = 1e-10
# Neighbours that share a mass, counted from the one below it.
SIX = (-2, -1, 0, 1, 2, 3)
TWO = (0, 1)
# The smallest log magnitude of a factor that is told from zero.
_SMALLEST = 1e-300

# For grid points v (with log v below): signed factors f, shape (points, atoms), and their masses, alike or (atoms,).
Steps = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Grid:
    """Points log v = centre + scale sinh(s) at s = first + step (0 ... count - 1)."""

    centre: float
    scale: float
    first: float
    step: float
    count: int

    @classmethod
    def between(cls, centre: float, scale: float, lowest: float, highest: float, step: float) -> "Grid":
        """Span [lowest, highest] in log v; `highest` is met exactly."""
        first, last = np.arcsinh((lowest - centre) / scale), np.arcsinh((highest - centre) / scale)
        count = int(np.ceil((last - first) / step)) + 1
        return cls(centre, scale, last - (count - 1) * step, step, count)

    @property
    def s(self) -> np.ndarray:
        """The uniform coordinate of the points."""
        return self.first + self.step * np.arange(self.count)

    @property
    def log_v(self) -> np.ndarray:
        """The points themselves."""
        return self.to_log(self.s)

    def to_log(self, s: np.ndarray) -> np.ndarray:
        """Return log v at s."""
        return self.centre + self.scale * np.sinh(s)

    def position(self, log_v: np.ndarray) -> np.ndarray:
        """Return where log v lies, in steps from the first point."""
        return (np.arcsinh((log_v - self.centre) / self.scale) - self.first) / self.step


@dataclass(frozen=True)
class Eigen:
    """Leading left eigenvector of the operator.

    Attributes
    ----------
    grid
        The grid it lives on.
    masses
        Its entries, with sum 1.
    escape
        Mass that leaves at the top per step: 1 minus the eigenvalue.
    residual
        Sum of |masses P - (1 - escape) masses|.
    """

    grid: Grid
    masses: np.ndarray
    escape: float
    residual: float


def spread(position: np.ndarray, stencil: tuple[int, ...]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Share a unit mass at `position` among whole numbers near it, counted from the one below: (point, weight) each.

    The weights are those of polynomial interpolation, so that mass and as many moments as there are further points
    are kept.
    """
    cell = np.floor(position)
    share = position - cell
    cell = cell.astype(int)
    offsets = {point: share - point for point in stencil}
    for point in stencil:
        others = [other for other in stencil if other != point]
        scale = 1 / math.prod(point - other for other in others)
        yield cell + point, scale * reduce(np.multiply, [offsets[other] for other in others])


def operator(grid: Grid, steps: Steps) -> np.ndarray:
    """Return the matrix of one step: row i says where the mass at point i goes; what leaves at the top is lost."""
    count, log_v = grid.count, grid.log_v
    matrix = np.zeros((count, count))
    atoms = steps(log_v[:1])[0].shape[1]
    block = max(1, _BLOCK // atoms)
    for begin in range(0, count, block):
        rows = log_v[begin : begin + block]
        factors, masses = steps(rows)
        with np.errstate(over="ignore"):
            target = rows[:, None] + 2 * np.log(np.maximum(np.abs(factors), _SMALLEST))
        position = np.maximum(grid.position(target), 0.0)  # what falls below the grid stays at its foot
        masses = np.broadcast_to(masses, factors.shape)
        row = np.broadcast_to(np.arange(len(rows))[:, None], factors.shape)
        kept = (masses != 0) & (position <= count - 1)
        position, masses, row = position[kept], masses[kept], row[kept]
        # Near the two ends there is no room for the stencil: there only the mean is kept.
        edge = (position < 2) | (position > count - 4)
        for stencil, part in ((SIX, ~edge), (TWO, edge)):
            for point, weight in spread(position[part], stencil):
                index = row[part] * count + np.minimum(point, count - 1)
                added = np.bincount(index, masses[part] * weight, len(rows) * count)
                matrix[begin : begin + block] += added.reshape(-1, count)
    return matrix


def leading(grid: Grid, matrix: np.ndarray, tries: int = 400) -> Eigen:
    """Find the left eigenvector of the eigenvalue nearest 1 by inverse iteration."""
    # All eigenvalues lie in the unit disc. The shift keeps the factors regular where 1 itself is one of them.
    factors = lu_factor(matrix.T - (1 + _SHIFT) * np.eye(grid.count), overwrite_a=True, check_finite=False)
    masses = np.full(grid.count, 1 / grid.count)
    for _ in range(tries):
        new = lu_solve(factors, masses, check_finite=False)
        new /= new.sum()
        change = np.abs(new - masses).sum()
        masses = new
        if change < 1e-13:
            break
    escape = float((1 - matrix.sum(1)) @ masses)
    residual = float(np.abs(masses @ matrix - (1 - escape) * masses).sum())
    return Eigen(grid, masses, escape if escape > _NO_ESCAPE else 0.0, residual)

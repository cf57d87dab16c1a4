"""Transfer operator of one step on a grid, and its leading eigenvector.

The grid's coordinate x is log v, at depth 0 v itself. It is uniform in s with x = centre + scale sinh(s): fine in the
bulk, geometric in both tails. A jump that
lands between grid points is shared by the six nearest with the weights of interpolation: mass and the first five
moments in s are kept, so that the error falls like the fifth power of the grid step or faster where the law is smooth.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from operator import mul

import numpy as np
from scipy import sparse
from scipy.linalg import lu_factor, lu_solve

_SHIFT = 1e-12
# Entries of one block of atoms: its arrays stay in the processor's cache.
_BLOCK = 40_000
# A matrix of so many points is dense.
DENSE = 1_250
# Neighbours that lead so many steps apart have points inside of their cell followed, so many.
_STEEP, _INSIDE = 3.0, 16
# Steps of the chain from a start.
_MOST_STEPS = 1_000
# Below this the mass that leaves per step is rounding.
_NO_ESCAPE = 1e-10
# Neighbours that share a mass, counted from the one below it.
SIX = (-2, -1, 0, 1, 2, 3)
TWO = (0, 1)

# For grid points x: where the steps lead, shape (points, atoms), and their masses, alike or (atoms,).
type Matrix = np.ndarray | sparse.csr_array
Steps = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Grid:
    """Points x = centre + scale sinh(s) at s = first + step (0 ... count - 1)."""

    centre: float
    scale: float
    first: float
    step: float
    count: int

    @classmethod
    def between(cls, centre: float, scale: float, lowest: float, highest: float, step: float) -> "Grid":
        """Span [lowest, highest] in x; `highest` is met exactly."""
        first, last = np.arcsinh((lowest - centre) / scale), np.arcsinh((highest - centre) / scale)
        count = int(np.ceil((last - first) / step)) + 1
        # The top is where chains count as lost, so it stays where it is when the step is halved; the foot may move.
        return cls(centre, scale, last - (count - 1) * step, step, count)

    @property
    def s(self) -> np.ndarray:
        """The uniform coordinate of the points."""
        return self.first + self.step * np.arange(self.count)

    @property
    def x(self) -> np.ndarray:
        """The points themselves."""
        return self.centre + self.scale * np.sinh(self.s)

    def position(self, x: np.ndarray) -> np.ndarray:
        """Return where x lies, in steps from the first point."""
        return (np.arcsinh((x - self.centre) / self.scale) - self.first) / self.step


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
        Mass that leaves the grid per step: 1 minus the eigenvalue.
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
    offsets = [share - point for point in stencil]
    # products of the offsets before each point, and after it
    one = np.ones_like(share)
    before = list(accumulate(offsets[:-1], mul, initial=one))
    after = list(accumulate(offsets[:0:-1], mul, initial=one))[::-1]
    for number, point in enumerate(stencil):
        scale = 1 / math.prod(point - other for other in stencil if other != point)
        yield cell + point, scale * before[number] * after[number]


def operator(grid: Grid, steps: Steps, *, open_below: bool = False, open_above: bool = True) -> Matrix:
    """Return the matrix of one step: row i says where the mass at point i goes; sparse on a fine grid.

    What leaves at an open end is lost; at a closed one it stays there. Where neighbouring points lead far apart, as
    next to a v that a minibatch sends to 0, the cell between them is followed from points inside of it.
    """
    count, x = grid.count, grid.x
    block = max(2, _BLOCK // steps(x[:1])[0].shape[1])
    dense = np.zeros((count, count)) if count <= DENSE else None
    pieces = []
    for begin in range(0, count, block):
        end = min(begin + block, count)
        for row, column, value in _entries(grid, _moves(grid, steps, begin, end), open_below, open_above):
            if dense is None:
                pieces.append((row, column, value))
                continue
            # a cell's mass goes to the points on its two sides
            rows = dense[begin : end + 1]
            rows += np.bincount((row - begin) * count + column, value, rows.size).reshape(rows.shape)
    if dense is not None:
        return dense
    rows, columns, values = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    return sparse.csr_array(sparse.coo_array((values, (rows, columns)), shape=(count, count)))


def _moves(grid: Grid, steps: Steps, begin: int, end: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield (row, position, mass): where the mass of points begin to end, and of the cells after them, goes."""
    low, high = max(begin - 1, 0), min(end + 1, grid.count)
    target, masses = steps(grid.x[low:high])
    position, masses = grid.position(target), np.broadcast_to(masses, target.shape)
    steep = np.zeros((high - low + 1, position.shape[1]), dtype=bool)
    if masses.strides[0] == 0:  # on a lattice an atom is another one at every point
        with np.errstate(invalid="ignore"):  # of what leaves at infinity
            steep[1:-1] = np.abs(np.diff(position, axis=0)) > _STEEP
    own = slice(begin - low, end - low)
    row = np.broadcast_to(np.arange(begin, end)[:, None], position[own].shape)
    # half of a point's mass is in the cell on either side
    share = 1 - (steep[:-1].astype(float) + steep[1:]) / 2
    yield row.ravel(), position[own].ravel(), (masses * share)[own].ravel()
    cells = np.flatnonzero(steep[1:].any(1))
    cells = cells[(cells >= begin - low) & (cells < end - low)]
    if not cells.size:
        return
    cell, atom = np.nonzero(steep[1:][cells])
    for t in (np.arange(_INSIDE) + 0.5) / _INSIDE:
        s = grid.first + grid.step * (low + cells + t)
        inner = grid.position(steps(grid.centre + grid.scale * np.sinh(s))[0][cell, atom])
        for side, weight in ((0, 1 - t), (1, t)):  # the mass as a straight line between the two points has it
            yield low + cells[cell] + side, inner, masses[0, atom] * weight / _INSIDE


def _entries(
    grid: Grid, moves: Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]], open_below: bool, open_above: bool
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield rows, columns and values of the matrix for masses that go from rows to positions."""
    row, position, masses = (np.concatenate(parts) for parts in zip(*moves, strict=True))
    top = grid.count - 1.0
    kept = masses != 0
    if open_below:
        kept &= position >= 0
    if open_above:
        kept &= position <= top
    row, position, masses = row[kept], np.clip(position[kept], 0.0, top), masses[kept]
    # Near the two ends there is no room for the stencil: there only the mean is kept.
    edge = (position < 2) | (position > grid.count - 4)
    for stencil, part in ((SIX, ~edge), (TWO, edge)):
        rows, shared = row[part], masses[part]
        for point, weight in spread(position[part], stencil):
            yield rows, np.minimum(point, grid.count - 1), shared * weight


def leading(grid: Grid, matrix: Matrix, start: np.ndarray | None = None, tries: int = 400) -> Eigen:
    """Find the left eigenvector of the eigenvalue nearest 1: by inverse iteration, or from a start by steps of it."""
    if start is None:
        # All eigenvalues lie in the unit disc. The shift keeps the factors regular where 1 itself is one of them.
        shifted = matrix.T - (1 + _SHIFT) * np.eye(grid.count)
        factors = lu_factor(shifted, overwrite_a=True, check_finite=False)
        masses, one = np.full(grid.count, 1 / grid.count), lambda masses: lu_solve(factors, masses, check_finite=False)
        enough = 1e-13
    else:
        turned = sparse.csr_array(matrix.T)
        masses, one, enough, tries = start, lambda masses: turned @ masses, 1e-9, _MOST_STEPS
    for _ in range(tries):
        new = one(masses)
        new = new / new.sum()
        change = np.abs(new - masses).sum()
        masses = new
        if change < enough:
            break
    after = masses @ matrix
    escape = float(masses.sum() - after.sum())
    residual = float(np.abs(after - (1 - escape) * masses).sum())
    return Eigen(grid, masses, escape if escape > _NO_ESCAPE else 0.0, residual)

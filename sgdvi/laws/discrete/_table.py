"""A law as a table on a grid: cdf, density and quantiles from the masses of its points, with a tail beyond each end."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sgdvi.laws.discrete._transfer import Grid

# Halvings of a cell when a quantile is sought in it: to the last bit.
_HALVINGS = 52
# Of a tail, so that its inverse is finite.
_TINY = 1e-300


class Tail(NamedTuple):
    """What lies beyond an end of the grid: a share exp(-rate (t(x) - t(end))), with t growing away from the bulk.

    Attributes
    ----------
    kind
        "power" of v, t = -log v (x is log v); "stretched", t = v^-m, that is exp(-m x); "line", t = log |x - centre|.
    rate, end
        The rate, and x at the end.
    shape
        m, or the centre.
    """

    kind: str
    rate: float
    end: float
    shape: float = 1.0

    def log_share(self, x: Any, lib: Any) -> Any:
        """Log of the mass beyond x over that beyond the end."""
        return -self.rate * (self._t(x, lib) - self._t(lib.asarray(self.end), lib))

    def log_slope(self, x: Any, lib: Any) -> Any:
        """Log of the derivative of the share by x, over the share."""
        if self.kind == "power":
            return lib.full_like(x, np.log(self.rate))
        if self.kind == "line":
            return lib.log(self.rate / lib.maximum(lib.abs(x - self.shape), _TINY))
        return lib.log(self.rate * self.shape) - self.shape * x

    def place(self, log_share: Any, lib: Any) -> Any:
        """Where the mass beyond is this share."""
        t = self._t(lib.asarray(self.end), lib) - log_share / self.rate
        if self.kind == "power":
            return -t
        if self.kind == "line":
            return self.shape + lib.sign(self.end - self.shape) * lib.exp(t)
        return -lib.log(t) / self.shape

    def _t(self, x: Any, lib: Any) -> Any:
        if self.kind == "power":
            return -x
        if self.kind == "line":
            return lib.log(lib.maximum(lib.abs(x - self.shape), _TINY))
        return lib.exp(-self.shape * x)


@dataclass(frozen=True, eq=False)
class Table:
    """A monotone cubic cdf in the grid's coordinate, whose slope is the density, with tails beyond.

    Attributes
    ----------
    grid, lower, upper
        The grid and its tails; an upper one of None is empty.
    cells, slopes
        Mass of each cell; density times the grid step at each point.
    below, above
        Mass below each point and above it, each summed from its own end.
    """

    grid: Grid
    lower: Tail
    upper: Tail | None
    cells: Any
    slopes: Any
    below: Any
    above: Any

    @classmethod
    def from_masses(cls, grid: Grid, masses: np.ndarray, lower: Tail, upper: Tail | None = None) -> "Table":
        """Build the table from masses at the points: values of the density times the step."""
        values = np.maximum(masses, 0.0)
        cells = (values[:-1] + values[1:]) / 2
        # Integral of the cubic through four points; where the law is rough it can turn negative.
        fine = (13 * (values[1:-2] + values[2:-1]) - values[:-3] - values[3:]) / 24
        cells[1:-1] = np.where(fine > 0, fine, cells[1:-1])
        foot, head = values[0] / 2, values[-1] / 2 if upper else 0.0
        total = foot + cells.sum() + head
        cells, foot, head, values = cells / total, foot / total, head / total, values / total
        # Slopes of at most three times the chords keep the cubic monotone (Fritsch and Carlson 1980).
        slopes = np.minimum(values, 3 * np.minimum(np.append(cells, np.inf), np.insert(cells, 0, np.inf)))
        below = foot + np.concatenate([[0.0], np.cumsum(cells)])
        above = head + np.concatenate([np.cumsum(cells[::-1])[::-1], [0.0]])
        return cls(grid, lower, upper, cells, slopes, below, above)

    @staticmethod
    def _lib(value: Any) -> Any:
        return jnp if isinstance(value, jax.Array) else np

    def _locate(self, x: Any, lib: Any) -> tuple[Any, Any]:
        grid = self.grid
        place = (lib.arcsinh((x - grid.centre) / grid.scale) - grid.first) / grid.step
        position = lib.clip(lib.nan_to_num(place), 0.0, grid.count - 1.0)
        cell = lib.minimum(position.astype(int), grid.count - 2)
        return cell, position - cell

    def _part(self, cell: Any, share: Any, lib: Any) -> Any:
        """Mass of the cell up to `share` of its length."""
        mass, left, right = (_array(part, lib)[at] for part, at in self._of(cell))
        cubic, square = left + right - 2 * mass, 3 * mass - 2 * left - right
        return share * (left + share * (square + share * cubic))

    def _of(self, cell: Any) -> tuple[tuple[Any, Any], ...]:
        return (self.cells, cell), (self.slopes, cell), (self.slopes, cell + 1)

    def cdf(self, x: Any, *, survival: bool = False) -> Any:
        """Return the probability of less than x (of more, with `survival`)."""
        lib = self._lib(x)
        cell, share = self._locate(x, lib)
        part = self._part(cell, share, lib)
        first, last = self._ends
        with np.errstate(invalid="ignore", over="ignore"):
            foot = self.below[0] * lib.exp(self.lower.log_share(lib.minimum(x, first), lib))
            head = self._head(lib.maximum(x, last), lib)
        if survival:
            inside = _array(self.above, lib)[cell] - part
            return lib.where(x < first, 1 - foot, lib.where(x > last, head, inside))
        inside = lib.minimum(_array(self.below, lib)[cell] + part, 1.0)
        return lib.where(x < first, foot, lib.where(x > last, 1 - head, inside))

    @property
    def _ends(self) -> tuple[float, float]:
        return float(self.grid.x[0]), float(self.grid.x[-1])

    def _head(self, x: Any, lib: Any) -> Any:
        return lib.zeros_like(x) if self.upper is None else self.above[-1] * lib.exp(self.upper.log_share(x, lib))

    def log_density(self, x: Any) -> Any:
        """Return the log density with respect to x."""
        lib = self._lib(x)
        cell, share = self._locate(x, lib)
        mass, left, right = (_array(part, lib)[at] for part, at in self._of(cell))
        cubic, square = left + right - 2 * mass, 3 * mass - 2 * left - right
        slope = left + share * (2 * square + 3 * share * cubic)
        first, last = self._ends
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            # d s / d x
            stretch = 1 / lib.sqrt(self.grid.scale**2 + (x - self.grid.centre) ** 2)
            inside = lib.log(lib.maximum(slope, 0.0) * stretch / self.grid.step)
            low, high = lib.minimum(x, first), lib.maximum(x, last)
            foot = lib.log(self.below[0]) + self.lower.log_share(low, lib) + self.lower.log_slope(low, lib)
            head = lib.full_like(x, -lib.inf)
            if self.upper is not None:
                head = lib.log(self.above[-1]) + self.upper.log_share(high, lib) + self.upper.log_slope(high, lib)
        return lib.where(x < first, foot, lib.where(x > last, head, inside))

    def quantile(self, level: Any, upper: Any) -> Any:
        """Return x with mass `level` below and `upper` above."""
        lib = self._lib(level)
        below = _array(self.below, lib)
        cell = lib.clip(lib.searchsorted(below, level, side="right") - 1, 0, self.grid.count - 2)
        wanted = level - below[cell]
        low, high = lib.zeros_like(wanted), lib.ones_like(wanted)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            less = self._part(cell, middle, lib) < wanted
            low, high = lib.where(less, middle, low), lib.where(less, high, middle)
        grid = self.grid
        inside = grid.centre + grid.scale * lib.sinh(grid.first + grid.step * (cell + (low + high) / 2))
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            foot = self.lower.place(lib.minimum(lib.log(level / below[0]), 0.0), lib)
            result = lib.where(level < below[0], foot, inside)
            if self.upper is not None:
                head = self.upper.place(lib.minimum(lib.log(upper / self.above[-1]), 0.0), lib)
                result = lib.where(upper < self.above[-1], head, result)
        return result

    def mean_of(self, values: np.ndarray) -> float:
        """Mean of a function, given at the points, up to the top of the grid, at the accuracy of the grid."""
        # half of each cell belongs to the point on either side, and the tails to the end points
        weights = (np.append(self.cells, self.above[-1]) + np.insert(self.cells, 0, self.below[0])) / 2
        return float(weights @ values)


def _array(values: Any, lib: Any) -> Any:
    """The values for a library: a constant of a traced program is made at once, in the precision that is in force."""
    if lib is np:
        return values
    with jax.ensure_compile_time_eval():
        return jnp.asarray(values)

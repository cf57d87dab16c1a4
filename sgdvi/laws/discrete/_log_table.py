"""A law on v > 0 as a table in log v: cdf, density and quantiles from the masses of a grid."""

from dataclasses import dataclass

import numpy as np

from sgdvi.laws.discrete._transfer import Grid

# Halvings of a cell when a quantile is sought in it: to the last bit.
_HALVINGS = 52


@dataclass(frozen=True, eq=False)
class LogTable:
    """A monotone cubic cdf in the grid's coordinate, whose slope is the density; a power law v^exponent below.

    Attributes
    ----------
    grid, exponent
        The grid, and the exponent of the cdf below its foot.
    cells, slopes
        Mass of each cell; density times the grid step at each point.
    below, above
        Mass below each point and above it, each summed from its own end.
    """

    grid: Grid
    exponent: float
    cells: np.ndarray
    slopes: np.ndarray
    below: np.ndarray
    above: np.ndarray

    @classmethod
    def from_masses(cls, grid: Grid, masses: np.ndarray, exponent: float) -> "LogTable":
        """Build the table from masses at the points: values of the density times the step."""
        values = np.maximum(masses, 0.0)
        cells = (values[:-1] + values[1:]) / 2
        # Integral of the cubic through four points; where the law is rough it can turn negative.
        fine = (13 * (values[1:-2] + values[2:-1]) - values[:-3] - values[3:]) / 24
        cells[1:-1] = np.where(fine > 0, fine, cells[1:-1])
        foot = values[0] / 2
        total = foot + cells.sum()
        cells, foot, values = cells / total, foot / total, values / total
        # Slopes of at most three times the chords keep the cubic monotone (Fritsch and Carlson 1980).
        slopes = np.minimum(values, 3 * np.minimum(np.append(cells, np.inf), np.insert(cells, 0, np.inf)))
        below = foot + np.concatenate([[0.0], np.cumsum(cells)])
        above = np.concatenate([np.cumsum(cells[::-1])[::-1], [0.0]])
        return cls(grid, exponent, cells, slopes, below, above)

    def _locate(self, log_v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with np.errstate(invalid="ignore"):
            position = np.clip(self.grid.position(log_v), 0.0, self.grid.count - 1.0)
        cell = np.minimum(np.nan_to_num(position).astype(int), self.grid.count - 2)
        return cell, position - cell

    def _part(self, cell: np.ndarray, share: np.ndarray) -> np.ndarray:
        """Mass of the cell up to `share` of its length."""
        mass, left, right = self.cells[cell], self.slopes[cell], self.slopes[cell + 1]
        cubic, square = left + right - 2 * mass, 3 * mass - 2 * left - right
        return share * (left + share * (square + share * cubic))

    def cdf(self, log_v: np.ndarray, *, survival: bool = False) -> np.ndarray:
        """Return the probability of less than v (of more, with `survival`)."""
        cell, share = self._locate(log_v)
        part = self._part(cell, share)
        lower = np.minimum(log_v - self.grid.log_v[0], 0.0)
        with np.errstate(invalid="ignore"):
            tail = self.below[0] * np.exp(self.exponent * lower)
        if survival:
            return np.where(lower < 0, 1 - tail, self.above[cell] - part)
        return np.where(lower < 0, tail, np.minimum(self.below[cell] + part, 1.0))

    def log_density(self, log_v: np.ndarray) -> np.ndarray:
        """Return the log density with respect to log v."""
        cell, share = self._locate(log_v)
        mass, left, right = self.cells[cell], self.slopes[cell], self.slopes[cell + 1]
        cubic, square = left + right - 2 * mass, 3 * mass - 2 * left - right
        slope = left + share * (2 * square + 3 * share * cubic)
        # d s / d log v
        stretch = 1 / np.hypot(self.grid.scale, log_v - self.grid.centre)
        lower = log_v - self.grid.log_v[0]
        with np.errstate(divide="ignore", invalid="ignore"):
            inside = np.log(np.maximum(slope, 0.0) * stretch / self.grid.step)
            tail = np.log(self.below[0] * self.exponent) + self.exponent * lower
        inside = np.where(log_v > self.grid.log_v[-1], -np.inf, inside)
        return np.where(lower < 0, tail, inside)

    def quantile(self, level: np.ndarray) -> np.ndarray:
        """Return log v at the level."""
        cell = np.clip(np.searchsorted(self.below, level, side="right") - 1, 0, self.grid.count - 2)
        wanted = level - self.below[cell]
        low, high = np.zeros_like(wanted), np.ones_like(wanted)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            less = self._part(cell, middle) < wanted
            low, high = np.where(less, middle, low), np.where(less, high, middle)
        inside = self.grid.to_log(self.grid.first + self.grid.step * (cell + (low + high) / 2))
        with np.errstate(divide="ignore", invalid="ignore"):
            tail = self.grid.log_v[0] + np.log(level / self.below[0]) / self.exponent
        return np.where(level < self.below[0], tail, inside)

    def moment(self, power: int) -> float:
        """E v^power up to the top of the grid, at the accuracy of the grid."""
        weights = (np.append(self.cells, 0.0) + np.insert(self.cells, 0, self.below[0])) / 2
        return float(weights @ np.exp(power * self.grid.log_v))

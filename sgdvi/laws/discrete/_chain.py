"""From a minibatch chain to its law: the grid, its refinement, and the exponent near zero."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq, minimize_scalar

from sgdvi._internal.check import InputError, message
from sgdvi.laws.discrete._log_table import LogTable
from sgdvi.laws.discrete._minibatch import Factors, Minibatch, mean_on_lattice
from sgdvi.laws.discrete._transfer import Eigen, Grid, leading, operator

# Step of the first grid in its uniform coordinate: a dozen points per standard deviation of log v.
_COARSEST = 0.08
_MOST_POINTS = 2_500
# The grid begins where the law has about exp(-this) below.
_FOOT = 30.0
# Below this share of the products the rows are fitted exactly.
_FITTED = 1e-12
_LATTICES = (256, 8_192)


def require_noise(batch: Minibatch, decay: float) -> None:
    """Refuse rows that all ask for the same v: there the chain stops, and its law is a point."""
    wanted = batch.products - decay
    largest = batch.squares.max()  # keeps squares of squares from under- and overflow
    shares = batch.squares / largest
    value = float(shares @ wanted / (shares @ shares) / largest)
    left = np.abs(batch.squares * value - wanted).max()
    if value > 0 and left <= _FITTED * batch.scale:
        rule = "batches must disagree on the best v"
        got = f"v = {batch.side * value:.6g} for all of them"
        raise InputError(message(rule, got, "SGD stops there: there is no noise, and no law beside that point."))


@dataclass(frozen=True, eq=False)
class Chain:
    """The iteration with its settings, and the ways to its law."""

    batch: Minibatch
    rate: float
    decay: float
    near_zero: Factors
    highest: float

    def law(self, tolerance: float) -> tuple[Eigen, LogTable, float]:
        """Halve the grid until the estimated error of the cdf is below `tolerance`, or there are too many points."""
        eigen = self._settle()
        table, change, error = self._table(eigen), math.inf, math.inf
        while error > tolerance:
            grid = eigen.grid
            finer = Grid.between(grid.centre, grid.scale, grid.log_v[0], grid.log_v[-1], grid.step / 2)
            if finer.count > _MOST_POINTS:
                break
            coarse, before, eigen = table, self.exponent(eigen.escape), self._solve(finer)
            table = self._table(eigen)
            last, change = change, float(np.abs(table.below - coarse.cdf(finer.log_v)).max())
            # what further halvings would add up to, were each to change the cdf less than the last by this ratio
            error = change / (1 - min(change / last, 0.75))
            if before is None and self.exponent(eigen.escape) is None:
                break  # two grids agree that there is no law
        return eigen, table, error

    def exponent(self, escape: float) -> float | None:
        """Exponent e of the cdf near 0: the larger root of E |f|^(-2e) = 1 - escape, at most 1/2.

        At 1/2 jumps to near 0 from where f vanishes take over. None where there is no root: mass drifts to 0 more
        slowly than chains overflow, and no law is left.
        """

        def excess(log_exponent: float) -> float:
            return self.near_zero.excess(-2 * math.exp(log_exponent)) + escape

        top = math.log(0.5)
        if excess(top) <= 0:
            return 0.5
        # convex in the exponent, so with one minimum also in its logarithm
        least = float(minimize_scalar(excess, bounds=(math.log(1e-14), top), method="bounded").x)
        if excess(least) >= 0:
            return None
        return math.exp(brentq(excess, least, top, xtol=1e-13))

    def _solve(self, grid: Grid) -> Eigen:
        lattice = self._lattice(grid)
        return leading(grid, operator(grid, lambda log_v: self.batch.steps(log_v, self.rate, self.decay, lattice)))

    def _table(self, eigen: Eigen) -> LogTable:
        return LogTable.from_masses(eigen.grid, eigen.masses, self.exponent(eigen.escape) or 0.5)

    def _settle(self) -> Eigen:
        """Solve on a coarse grid that reaches far enough down."""
        centre, scale = self._guess()
        exponent = self.exponent(0.0) or 0.5
        for _ in range(8):
            lowest = min(centre, self.highest) - _FOOT / exponent - 12 * scale
            eigen = self._solve(Grid.between(centre, scale, lowest, self.highest, _COARSEST))
            found = self.exponent(eigen.escape)
            if found is None or found > 0.7 * exponent:
                break
            exponent = found
        return eigen

    def _guess(self) -> tuple[float, float]:
        """Place and width of the law in log v as the flow has them."""
        batch, curvature = self.batch, self.batch.curvature
        best = (batch.mean - self.decay) / curvature
        if best <= 0:
            return -math.log(2 * self.rate * curvature), 1.0
        pull = best * batch.squares - batch.products
        noise = float(batch.masses @ (pull - batch.masses @ pull) ** 2) / batch.size
        return math.log(best), float(np.clip(np.sqrt(2 * self.rate * noise / (curvature * best)), 1e-6, 1.0))

    def _lattice(self, grid: Grid) -> int:
        """Points of the lattice for the minibatch mean, so that it is as fine as the grid at its centre."""
        if self.batch.size == 1:
            return 1
        values = math.exp(grid.centre) * self.batch.squares - self.batch.products
        _, step, masses = mean_on_lattice(values[None], self.batch.size, _LATTICES[0])
        wanted = 4 * self.rate * float(step[0]) * masses.shape[1] / (grid.scale * grid.step)
        return int(np.clip(2 ** math.ceil(math.log2(max(wanted, 1.0))), *_LATTICES))

"""From the iteration to its law: one step of balanced SGD in the grid's coordinate, the grid, its refinement."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq, minimize_scalar

from sgdvi._internal.check import InputError, message
from sgdvi.laws.discrete._minibatch import Factors, Minibatch, mean_on_lattice
from sgdvi.laws.discrete._table import Table, Tail
from sgdvi.laws.discrete._transfer import DENSE, Eigen, Grid, leading, operator

# Step of the first grid in its uniform coordinate: a dozen points per standard deviation of the law.
_COARSEST = 0.08
# Up to so many points the law is an eigenvector of the whole matrix; rough laws of few rows, which mix fast, are
# followed on finer grids from there.
_MOST_FINE, _MOST_ENTRIES = 10_000, 600_000
# The grid begins where the law has about exp(-this) below.
_FOOT = 30.0
# Below this share of the products the rows are fitted exactly.
_FITTED = 1e-12
_LATTICES = (256, 8_192)
# The smallest magnitude of a factor that is told from zero.
_SMALLEST = 1e-300
# At depth 0 the grid reaches so many standard deviations, more where the tail is heavy, at most this many.
_REACH, _FARTHEST = 1e3, 1e40
# At depth 2 and above fewer jumps over 0 per step than this leave a law, of the chains without one.
_LEAK = 1e-6
# A probability that is rounding.
_NEVER = 1e-12
# The rate of a tail that is not there.
_STEEP = 50.0


@dataclass(frozen=True, eq=False)
class Chain:
    """Balanced SGD with its settings, and the ways to its law.

    One step is v -> v F^n with F = 1 - 2 eta gamma - 2 eta (A v - B) (v/d)^m, n = D + 1, m = (D - 1)/n; at depth 0
    v -> (1 - 2 eta gamma) v - 2 eta d (A v - B). The coordinate is log v, at depth 0 v.
    """

    batch: Minibatch
    rate: float
    decay: float
    depth: int
    width: int
    highest: float

    @property
    def power(self) -> float:
        """The exponent m."""
        return (self.depth - 1) / (self.depth + 1)

    @property
    def ends_below(self) -> bool:
        """Whether chains that have fallen behind the barrier to zero are out: depth 2 and above with decay."""
        return self.depth > 1 and self.decay > 0

    def law(self, tolerance: float) -> tuple[Eigen, Table, float]:
        """Halve the grid until the estimated error of the cdf is below `tolerance`, or there are too many points."""
        eigen = self._settle()
        table, change, error = self._table(eigen), math.inf, math.inf
        if self.leaks(eigen):
            return eigen, table, error
        while error > tolerance:
            grid = eigen.grid
            finer = Grid.between(grid.centre, grid.scale, grid.x[0], grid.x[-1], grid.step / 2)
            if finer.count > DENSE and (finer.count > _MOST_FINE or finer.count * self._atoms > _MOST_ENTRIES):
                break
            start = None
            if finer.count > DENSE:
                # the coarser law is close: few steps of the chain lead from it to the finer one
                start = np.interp(finer.s, grid.s, eigen.masses)
                start /= start.sum()
            coarse, before, eigen = table, self.exponent(eigen.escape), self._solve(finer, start)
            table = self._table(eigen)
            last, change = change, float(np.abs(table.below - coarse.cdf(finer.x)).max())
            # what further halvings would add up to, were each to change the cdf less than the last by this ratio
            error = change / (1 - min(change / last, 0.75))
            if before is None and self.exponent(eigen.escape) is None:
                break  # two grids agree that there is no law
        return eigen, table, error

    def near_zero(self) -> Factors:
        """Law of F at v = 0 at depth 1, of the factor of v at depth 0."""
        if self.depth:
            return self.batch.near_zero(self.rate, self.decay)
        points, masses, half = self.batch.mean_square()
        factor = 2 * self.rate * self.width
        return Factors(1 - 2 * self.rate * self.decay - factor * points, masses, factor * half)

    def exponent(self, escape: float) -> float | None:
        """Exponent of the tail: at depth 1 e of the cdf v^e near 0, at depth 0 k of the mass |v|^-k beyond v.

        At depth 2 and above theta of exp(-theta (v/d)^-m). Infinite where there is no such tail. None where the
        equation has no root: mass drifts to 0 more slowly than chains overflow, and no law is left.
        """
        if self.ends_below:
            return math.inf
        if self.depth == 0:
            return self._heaviness()
        return self._near_zero(escape) if self.depth == 1 else self._stretch(escape)

    def leaks(self, eigen: Eigen) -> bool:
        """Whether F can vanish often at depth 2 and above, so that chains are left near 0 for a time without a mean."""
        return self.depth > 1 and self._turned(eigen) > _LEAK

    def left_tail(self, eigen: Eigen) -> float | None:
        """Exponent near 0: that of `exponent`, at depth 1 at most 1/2 where jumps come from where F vanishes."""
        exponent = self.exponent(eigen.escape)
        if self.depth != 1 or exponent is None or self._turned(eigen) < _NEVER:
            return exponent
        return min(exponent, 0.5)

    def _turned(self, eigen: Eigen) -> float:
        """Probability per step that F < 0 under the law."""
        factors, masses = self._factors(np.exp(eigen.grid.x), self._lattice(eigen.grid))
        return float(np.abs(eigen.masses) @ ((factors < 0) * masses).sum(1))

    @property
    def relaxation(self) -> float:
        """Share of a deviation of log v from the bulk that is lost per step."""
        v = math.exp(self._guess()[0])
        pull = self.batch.curvature * v * (1 + self.power) - self.power * self.batch.mean
        return 2 * self.rate * (self.depth + 1) * max(pull, 0.0) * (v / self.width) ** self.power

    def bulk(self) -> tuple[float, float] | None:
        """Where the mean step stands still: the barrier to zero and the bulk; None where all falls to zero.

        Without decay, and at depth 1, there is no barrier: 0.
        """
        best = self.batch.mean / self.batch.curvature
        if self.depth == 1:
            best -= self.decay / self.batch.curvature
        if best <= 0:
            return None
        if not self.ends_below:
            return 0.0, best

        def excess(v: float) -> float:
            return (self.batch.mean - self.batch.curvature * v) * (v / self.width) ** self.power - self.decay

        # the pull of the loss beside that of decay is largest here: barrier and bulk lie on either side
        top = best * self.power / (1 + self.power)
        if excess(top) <= 0:
            return None
        return brentq(excess, 0.0, top, xtol=1e-300, rtol=1e-12), brentq(excess, top, best, xtol=1e-300, rtol=1e-12)

    def _heaviness(self) -> float:
        # E|f|^k - 1 is convex in k and 0 at k = 0: the other root is bracketed by doubling and halving
        factors, high = self.near_zero(), 1.0
        while factors.excess(high) <= 0:
            high *= 2
            if high > 1e4:
                return math.inf
        low = high / 2
        while factors.excess(low) >= 0:
            low /= 2
        return float(brentq(factors.excess, low, high, xtol=1e-13))

    def _near_zero(self, escape: float) -> float | None:
        """Return the larger root of E F^(-2e) = 1 - escape."""
        near_zero = self.near_zero()
        return _larger_root(lambda log: near_zero.excess(-2 * math.exp(log)) + escape, math.log(_STEEP))

    def _stretch(self, escape: float) -> float | None:
        """Return the larger root of E exp(-2 eta (D - 1) theta B) = 1 - escape."""
        points, masses, _ = self.batch.mean_product()
        steps = -2 * self.rate * (self.depth - 1) * points
        # exp(600) is a floating-point number still
        top = math.log(600 / np.abs(steps).max())
        return _larger_root(lambda log: float(masses @ np.expm1(math.exp(log) * steps)) + escape, top)

    def _factors(self, v: np.ndarray, lattice: int) -> tuple[np.ndarray, np.ndarray]:
        pulls, masses = self.batch.pulls(v, lattice)
        lever = (v[:, None] / self.width) ** self.power
        return 1 - 2 * self.rate * (self.decay + pulls * lever), masses

    def _targets(self, x: np.ndarray, lattice: int) -> tuple[np.ndarray, np.ndarray]:
        if self.depth == 0:
            pulls, masses = self.batch.pulls(x, lattice)
            return (1 - 2 * self.rate * self.decay) * x[:, None] - 2 * self.rate * self.width * pulls, masses
        factors, masses = self._factors(np.exp(x), lattice)
        target = x[:, None] + (self.depth + 1) * np.log(np.maximum(np.abs(factors), _SMALLEST))
        # a chain that has jumped over 0 is out: at even depth it is on the other side, at odd ones it was near 0
        return target if self.depth == 1 else np.where(factors < 0, np.inf, target), masses

    @property
    def _atoms(self) -> int:
        return len(self.batch.squares) if self.batch.size == 1 else _LATTICES[1]

    def _solve(self, grid: Grid, start: np.ndarray | None = None) -> Eigen:
        lattice, line = self._lattice(grid), self.depth == 0
        matrix = operator(grid, lambda x: self._targets(x, lattice), open_below=self.ends_below, open_above=not line)
        return leading(grid, matrix, start)

    def _table(self, eigen: Eigen) -> Table:
        rate, ends = self.left_tail(eigen), eigen.grid.x[[0, -1]].tolist()
        rate = 0.5 if rate is None else min(rate, _STEEP)
        if self.depth == 0:
            lower, upper = (Tail("line", rate, end, eigen.grid.centre) for end in ends)
            return Table.from_masses(eigen.grid, eigen.masses, lower, upper)
        if self.depth == 1 or self.ends_below:
            return Table.from_masses(eigen.grid, eigen.masses, Tail("power", rate, ends[0]))
        rate = self.exponent(eigen.escape) or 1.0
        tail = Tail("stretched", rate * self.width**self.power, ends[0], self.power)
        return Table.from_masses(eigen.grid, eigen.masses, tail)

    def _settle(self) -> Eigen:
        """Solve on a coarse grid that reaches far enough down."""
        centre, scale = self._guess()
        exponent = self.exponent(0.0) or 0.5
        for _ in range(8):
            lowest, highest = self._reach(centre, scale, exponent)
            eigen = self._solve(Grid.between(centre, scale, lowest, highest, _COARSEST))
            again = self.exponent(eigen.escape)
            # with escape the exponent is smaller, and the same mass reaches further down
            if again is None or again > 0.7 * exponent or math.isinf(again):
                break
            exponent = again
        return eigen

    def _reach(self, centre: float, scale: float, exponent: float) -> tuple[float, float]:
        if self.depth == 0:
            # a tail |v|^-k has fallen by _FOOT nats after exp(_FOOT/k) widths
            heavy = math.exp(min(_FOOT / exponent, math.log(_FARTHEST)))
            return centre - scale * max(_REACH, heavy), centre + scale * max(_REACH, heavy)
        lowest = min(centre, self.highest)
        if self.depth == 1:  # at most 1/2: see `left_tail`
            return lowest - _FOOT / min(exponent, 0.5) - 12 * scale, self.highest
        if self.ends_below:
            barrier, _ = self.bulk() or (math.exp(centre), 0.0)
            return math.log(barrier) - 3 / self.power, self.highest
        # in (v/d)^-m the tail is exponential: _FOOT nats of it
        stretched = math.exp(-self.power * (lowest - math.log(self.width))) + _FOOT / exponent
        return math.log(self.width) - math.log(stretched) / self.power - 12 * scale, self.highest

    def _guess(self) -> tuple[float, float]:
        """Place and width of the law in the coordinate, as the flow has them."""
        batch, curvature, width = self.batch, self.batch.curvature, self.width
        if self.depth == 0:
            stiff = curvature + self.decay / width
            best = batch.mean / stiff
            return best, max(math.sqrt(self.rate * width * self._noise(best) / stiff), 1e-6 * abs(best))
        bulk = self.bulk()
        if bulk is None:
            # the mean step falls to 0: steps that overshoot keep v up, as that of the average row does from here on
            return -math.log(2 * self.rate * curvature), 1.0
        best = bulk[1]
        lever = (best / width) ** self.power
        pull = curvature * best * (1 + self.power) - self.power * batch.mean
        variance = (self.depth + 1) * self.rate * lever * self._noise(best) / max(pull, 1e-3 * curvature * best)
        return math.log(best), float(np.clip(np.sqrt(variance), 1e-6, 1.0))

    def _noise(self, v: float) -> float:
        """Variance of A v - B."""
        pull = v * self.batch.squares - self.batch.products
        return float(self.batch.masses @ (pull - self.batch.masses @ pull) ** 2) / self.batch.size

    def _lattice(self, grid: Grid) -> int:
        """Points of the lattice for the minibatch mean, so that it is as fine as the grid at its centre."""
        if self.batch.size == 1:
            return 1
        centre = grid.centre if self.depth == 0 else math.exp(grid.centre)
        values = centre * self.batch.squares - self.batch.products
        _, step, masses = mean_on_lattice(values[None], self.batch.size, _LATTICES[0])
        # what a change of the pull does to the coordinate, where F is about 1
        lever = self.width if self.depth == 0 else (self.depth + 1) * (centre / self.width) ** self.power
        wanted = 2 * self.rate * lever * float(step[0]) * masses.shape[1] / (grid.scale * grid.step)
        return int(np.clip(2 ** math.ceil(math.log2(max(wanted, 1.0))), *_LATTICES))


def require_noise(batch: Minibatch, decay: float, depth: int, width: int) -> None:
    """Refuse rows that all ask for the same v: there the chain stops, and its law is a point."""
    squares = batch.squares + (decay / width if depth == 0 else 0.0)
    wanted = batch.products - (decay if depth == 1 else 0.0)
    largest = squares.max()  # keeps squares of squares from under- and overflow
    shares = squares / largest
    value = float(shares @ wanted / (shares @ shares) / largest)
    left = np.abs(squares * value - wanted).max()
    same = depth < 2 or decay == 0 or np.ptp(batch.squares) <= _FITTED * largest
    if (value > 0 or depth == 0) and same and left <= _FITTED * batch.scale:
        rule = "batches must disagree on the best v"
        got = f"v = {batch.side * value:.6g} for all of them"
        raise InputError(message(rule, got, "SGD stops there: there is no noise, and no law beside that point."))


def _larger_root(excess: Callable[[float], float], top: float) -> float | None:
    """Exponent at the larger root of a function of its logarithm that is convex in it and 0 or more at 0."""
    if excess(top) <= 0:
        return math.exp(top)
    # so it has one minimum also in the logarithm
    least = float(minimize_scalar(excess, bounds=(top - 32, top), method="bounded").x)
    return None if excess(least) >= 0 else math.exp(brentq(excess, least, top, xtol=1e-13))

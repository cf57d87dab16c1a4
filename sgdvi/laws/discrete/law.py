"""The law of discrete-time SGD at depth 1: the stationary law of the iteration itself, whatever its step size."""

import math
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import numpy as np

from sgdvi._internal.check import InputError, message, non_negative, positive, require
from sgdvi.laws.discrete._chain import Chain, require_noise
from sgdvi.laws.discrete._log_table import LogTable
from sgdvi.laws.discrete._minibatch import Minibatch

# The grid ends at this many times the v at which the average row overshoots.
_FAR = 1e4
# Learning rate times the size of x y below which rounding shows in the law.
_SLOWEST = 1e-9


class HasCDF(Protocol):
    """A law on the line: SGDStationary, StationaryLaw, DiscreteLaw, or any distribution of NumPyro or SciPy."""

    def cdf(self, value: Any, /) -> Any:
        """Return the cumulative probability."""
        ...


@dataclass(frozen=True, eq=False, repr=False)
class DiscreteLaw:
    """Law of v under discrete-time SGD at depth 1 on one side of zero; made by `discrete_law`.

    Values are NumPy arrays in float64.

    Attributes
    ----------
    status
        "proper", "quasi-stationary" (chains overflow now and then: the law of those that have not),
        "collapsed to zero" (the point mass at 0) or "no law: overflows".
    sign
        Side of zero.
    growth
        Growth of log |v| per step near 0: zero attracts where it is negative.
    escape_probability
        Probability per step of passing `escape_at` under the law; 0 below 1e-10.
    escape_at
        The |v| from where a chain counts as overflowed.
    error_estimate
        Estimate of the largest error of the cdf, from its changes while the grid was halved. Few rows at a large
        learning rate have rough laws, on which it stays above the tolerance.
    residual
        Total variation by which one step of the operator moves the law away from itself.
    """

    status: str
    sign: int
    growth: float
    escape_probability: float
    escape_at: float
    error_estimate: float
    residual: float
    table: LogTable | None

    def __repr__(self) -> str:
        return f"DiscreteLaw(status={self.status!r}, sign={self.sign}, error_estimate={self.error_estimate:.1e})"

    @property
    def zero_mass(self) -> float:
        """Probability of v = 0: 1 when collapsed."""
        return float(self._collapsed)

    @property
    def survival_rate(self) -> float:
        """Probability that a chain survives one step."""
        return 1 - self.escape_probability

    @property
    def horizon(self) -> float:
        """Mean number of steps until overflow; infinity where there is none."""
        return 1 / self.escape_probability if self.escape_probability > 0 else math.inf

    @property
    def grid(self) -> np.ndarray:
        """Points v of the grid, by size; the lowest may underflow to 0."""
        return self.sign * np.exp(self._law.grid.log_v)

    @property
    def mean(self) -> float:
        """Mean of v, up to `escape_at`."""
        return 0.0 if self._collapsed else self.sign * self._law.moment(1)

    @property
    def variance(self) -> float:
        """Variance of v, up to `escape_at`."""
        return 0.0 if self._collapsed else self._law.moment(2) - self._law.moment(1) ** 2

    def cdf(self, value: Any) -> np.ndarray:
        """Return the probability of at most `value`."""
        value = np.asarray(value, dtype=np.float64)
        if self._collapsed:
            return np.where(np.isnan(value), np.nan, np.where(value >= 0, 1.0, 0.0))
        inside = self._law.cdf(self._log(value), survival=self.sign < 0)
        outside = 0.0 if self.sign > 0 else 1.0
        return np.where(np.isnan(value), np.nan, np.where(self.sign * value > 0, inside, outside))

    def log_prob(self, value: Any) -> np.ndarray:
        """Return the log density; with respect to the point mass at 0 when collapsed."""
        value = np.asarray(value, dtype=np.float64)
        if self._collapsed:
            return np.where(np.isnan(value), np.nan, np.where(value == 0, 0.0, -np.inf))
        log_v = self._log(value)
        inside = self._law.log_density(log_v) - log_v
        return np.where(np.isnan(value), np.nan, np.where(self.sign * value > 0, inside, -np.inf))

    def icdf(self, level: Any) -> np.ndarray:
        """Return the quantiles of v; those below 1e-308 in size underflow to 0 (see `log_icdf`)."""
        level = np.asarray(level, dtype=np.float64)
        if self._collapsed:
            return np.where((level >= 0) & (level <= 1), 0.0, np.nan)
        return self.sign * np.exp(self.log_icdf(level))

    def log_icdf(self, level: Any) -> np.ndarray:
        """Return log |v| at the quantiles of v: near the threshold most of the law can lie below 1e-308."""
        level = np.asarray(level, dtype=np.float64)
        level = np.where((level >= 0) & (level <= 1), level, np.nan)
        if self._collapsed:
            return np.where(np.isnan(level), np.nan, -np.inf)
        return np.where(np.isnan(level), np.nan, self._law.quantile(level if self.sign > 0 else 1 - level))

    def sample(self, key: Any, shape: tuple[int, ...] = ()) -> np.ndarray:
        """Draw from the law with a JAX key."""
        with jax.enable_x64(True):
            levels = np.asarray(jax.random.uniform(key, shape, dtype=np.float64))
        return self.icdf(levels)

    def distance_to(self, law: HasCDF) -> float:
        """Return the Kolmogorov distance to another law: the largest difference of the two cdfs.

        Taken over the points of this law's grid, 4096 of its quantiles, and zero.
        """
        points = np.zeros(1)
        if not self._collapsed:
            levels = (np.arange(4096) + 0.5) / 4096
            points = np.sort(np.concatenate([[0.0], self.grid, self.icdf(levels)]))
        with jax.enable_x64(True):
            other = np.asarray(law.cdf(points), dtype=np.float64)
        return float(np.max(np.abs(self.cdf(points) - other)))

    @property
    def _collapsed(self) -> bool:
        return self.status == "collapsed to zero"

    @property
    def _law(self) -> LogTable:
        if self.table is None:
            advice = "Take a smaller learning rate." if "overflow" in self.status else "Ask for status first."
            raise InputError(message("the law must have a density", self.status, advice))
        return self.table

    def _log(self, value: np.ndarray) -> np.ndarray:
        """Return log |v|, and any number where v is not on the side of the law."""
        return np.log(np.where(self.sign * value > 0, np.abs(value), 1.0))


def discrete_law(
    x: Any,
    y: Any,
    learning_rate: float,
    batch_size: int = 1,
    weight_decay: float = 0.0,
    *,
    replace: bool = True,
    sign: int | None = None,
    tolerance: float = 1e-4,
    escape_at: float | None = None,
) -> DiscreteLaw:
    r"""Compute the stationary law of discrete-time SGD at depth 1 from balanced weights u = w.

    There the iteration is one-dimensional and exact at any step size,

    .. math:: v \to v\,(1 - 2\eta\gamma - 2\eta(A v - B))^2,

    with A and B the minibatch means of x^2 and x y. The law is the leading eigenvector of its transfer operator on a
    grid in log v: the truth that the stochastic gradient flow (`SGDStationary`) approximates to first order in eta.

    Parameters
    ----------
    x, y
        Data, shape (N,).
    learning_rate
        Learning rate eta for the loss (v x - y)^2: kappa times the optimizer's.
    batch_size
        Batch size S.
    weight_decay
        Decay gamma >= 0.
    replace
        Whether rows are drawn with replacement. Without, all batches are listed: at most 20000 of them.
    sign
        Side of v = 0; by default that of E[x y].
    tolerance
        The grid is halved until the cdf moves by less, or 2500 points are reached: see ``error_estimate``.
    escape_at
        The \|v\| from where a chain counts as overflowed; by default 5000/(eta E[x^2]), from where few return.

    Returns
    -------
    DiscreteLaw
        The law, or what SGD does instead, in its ``status``.

    Raises
    ------
    InputError
        (a ValueError) For data or settings that cannot be; for rows that one v fits exactly, where SGD stops.

    Notes
    -----
    Exact for u = w and u = -w, and so for any start once the factors are balanced, at any width. Where overflow is
    possible the law is that of the chains that have not passed ``escape_at`` (quasi-stationary); where it comes
    faster than chains return from near 0, the survivors drift to 0 and there is no law. For S > 1 with replacement
    the law of a minibatch is a convolution on a lattice, by the Fourier transform at every grid point. The time grows
    with the rows: a second for 1e4, some for 1e5.

    References
    ----------
    Ziyin, Li and Ueda, Phys. Rev. E 111, 065303 (2025), for the iteration and its flow. The left tail v^e of the cdf
    has E|1 - 2 eta gamma + 2 eta B|^(-2e) = 1 (Kesten 1973).

    Examples
    --------
    >>> import numpy as np, sgdvi
    >>> x = np.linspace(-2, 2, 21)
    >>> law = sgdvi.discrete_law(x, x + np.cos(9 * x), learning_rate=0.02)
    >>> law.status, law.error_estimate < 1e-4
    ('proper', True)
    """
    rate, decay = positive("learning_rate", learning_rate), non_negative("weight_decay", weight_decay)
    positive("tolerance", tolerance)
    batch = Minibatch(x, y, batch_size, sign, replace)
    least, top = _SLOWEST / batch.scale, _FAR / (2 * rate * batch.curvature)
    advice = "Steps as small as this are lost to rounding; sgdvi.SGDStationary is the law to that accuracy."
    require(rate >= least, f"learning_rate must be at least {least:.3g} for these data", learning_rate, advice)
    if escape_at is not None:
        top, inside = positive("escape_at", escape_at), abs(batch.mean) / batch.curvature
        require(top > inside, f"escape_at must be beyond the least-squares v, {inside:.3g} in size", escape_at)
    require_noise(batch, decay)
    near_zero = batch.near_zero(rate, decay)
    growth = 2 * near_zero.mean_log()
    if growth <= 0:
        return DiscreteLaw("collapsed to zero", batch.side, growth, 0.0, top, 0.0, 0.0, None)
    chain = Chain(batch, rate, decay, near_zero, math.log(top))
    eigen, table, error = chain.law(tolerance)
    if chain.exponent(eigen.escape) is None:
        return DiscreteLaw("no law: overflows", batch.side, growth, math.nan, top, math.nan, math.nan, None)
    status = "quasi-stationary" if eigen.escape > 0 else "proper"
    return DiscreteLaw(status, batch.side, growth, eigen.escape, top, error, eigen.residual, table)

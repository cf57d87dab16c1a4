"""The law of discrete-time SGD: the stationary law of the iteration itself, whatever its step size, depth and width."""

import math
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax.typing import ArrayLike
from numpyro.distributions import Distribution, constraints

from sgdvi._internal.arguments import checked
from sgdvi._internal.check import InputError, message, non_negative, positive, require, whole
from sgdvi._internal.types import Values
from sgdvi.laws._engine.arrays import give_back, is_traced, to_float64
from sgdvi.laws._shown import Shown
from sgdvi.laws.discrete._chain import Chain, require_noise
from sgdvi.laws.discrete._minibatch import Minibatch
from sgdvi.laws.discrete._table import Table
from sgdvi.laws.moments import LossName, loss_factor

# The grid ends at this many times the v at which the average row overshoots.
_FAR = 1e4
# Learning rate times the size of x y below which rounding shows in the law.
_SLOWEST = 1e-9


class HasCDF(Protocol):
    """A law on the line: SGDStationary, StationaryLaw, DiscreteLaw, or any distribution of NumPyro or SciPy."""

    def cdf(self, value: Any, /) -> Any:
        """Return the cumulative probability."""
        ...


class DiscreteLaw(Shown, Distribution):
    """Law of v under discrete-time SGD, at depth 1 and above on one side of zero; made by `discrete_law`.

    A NumPyro distribution for one data set. Concrete values give NumPy arrays in float64, traced ones arrays of their
    own type.

    Attributes
    ----------
    status
        "proper", "quasi-stationary" (chains overflow, jump over 0, or fall behind the barrier of weight decay, now and
        then: the law of those that have not), "collapsed to zero" (the point mass at 0), or "no law: ..." with the
        reason: "overflows", "leaks to zero" (at depth 2 and above a step can hit 0, from where chains come back too
        slowly), "collapses" (faster than it mixes).
    sign
        Side of zero; 1 at depth 0, whose law is on the whole line.
    growth
        Growth of log |v| per step near 0, where zero attracts if it is negative; at depth 2 and above without decay it
        is 0. At depth 0 that of the distance between two chains: there is a law where it is negative.
    escape_probability
        Probability per step of leaving under the law, at the top or behind the barrier; 0 below 1e-10.
    escape_at
        The |v| from where a chain counts as overflowed; infinite at depth 0.
    error_estimate
        Estimate of the largest error of the cdf, from its changes while the grid was halved. Few rows at a large
        learning rate have rough laws, on which it stays above the tolerance.
    residual
        Total variation by which one step of the operator moves the law away from itself.
    tail_exponent
        Exponent of the density's tail, |v|^-s, at depth 0; infinite where steps cannot grow, and elsewhere.
    left_tail
        At depth 1 the exponent e of the cdf v^e near 0, at depth 2 and above theta of exp(-theta (|v|/d)^-m),
        m = (D - 1)/(D + 1); nan elsewhere.
    """

    # A law of one data set: its table is a constant of traced programs, not an argument.
    pytree_aux_fields = (
        *("status", "sign", "depth", "growth", "escape_probability", "escape_at"),
        *("error_estimate", "residual", "tail_exponent", "left_tail", "table", "_lines"),
    )

    def __init__(
        self,
        status: str,
        sign: int,
        growth: float,
        *,
        depth: int = 1,
        escape_probability: float = 0.0,
        escape_at: float = math.inf,
        error_estimate: float = 0.0,
        residual: float = 0.0,
        tail_exponent: float = math.inf,
        left_tail: float = math.nan,
        table: Table | None = None,
        line: tuple[float, float] | None = None,
    ) -> None:
        self.status, self.sign, self.growth, self.depth = status, sign, growth, depth
        self.escape_probability, self.escape_at = escape_probability, escape_at
        self.error_estimate, self.residual = error_estimate, residual
        self.tail_exponent, self.left_tail = tail_exponent, left_tail
        self.table, self._lines = table, line
        super().__init__()

    @property
    def has_rsample(self) -> bool:
        """No: there is no parameter that draws could be differentiated by."""
        return False

    @property
    def support(self) -> constraints.Constraint:
        """The whole line at depth 0 and where SGD has collapsed, else the side of the law."""
        if self.depth == 0 or self._collapsed:
            return constraints.real
        return constraints.positive if self.sign > 0 else constraints.less_than(0.0)

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
        """Mean number of steps until a chain leaves; infinity where none does."""
        return 1 / self.escape_probability if self.escape_probability > 0 else math.inf

    @property
    def grid(self) -> np.ndarray:
        """Points v of the grid, by size (at depth 0 in order); the lowest may underflow to 0."""
        x = self._law.grid.x
        return x if self.depth == 0 else self.sign * np.exp(x)

    @property
    def mean(self) -> float:
        """Mean of v, up to `escape_at`; at depth 0 beta2/(beta1 + gamma/d), and nan where it does not exist."""
        if self._collapsed:
            return 0.0
        return self._line(0) if self.depth == 0 else self.sign * self._moment(1)

    @property
    def variance(self) -> float:
        """Variance of v, up to `escape_at`; infinite at depth 0 where the tail has no second moment."""
        if self._collapsed:
            return 0.0
        return self._line(1) if self.depth == 0 else self._moment(2) - self._moment(1) ** 2

    def cdf(self, value: ArrayLike) -> Values:
        """Return the probability of at most `value`."""
        return self._apply(value, self._cdf)

    def log_prob(self, value: ArrayLike, intermediates: Any = None) -> Values:
        """Return the log density; with respect to the point mass at 0 when collapsed."""
        del intermediates
        return self._apply(value, self._log_prob)

    def icdf(self, q: ArrayLike) -> Values:
        """Return the quantiles of v; those below 1e-308 in size underflow to 0 (see `log_icdf`)."""

        def quantile(level: Any, lib: Any) -> Any:
            x = self._quantile(level, lib)
            return x if self.depth == 0 and not self._collapsed else self.sign * lib.exp(x)

        return self._apply(q, quantile)

    def log_icdf(self, q: ArrayLike) -> Values:
        """Return log |v| at the quantiles of v: near the threshold most of the law can lie below 1e-308."""
        require(self.depth > 0, "log_icdf needs a law on one side of zero", "depth 0", "Use icdf.")
        return self._apply(q, self._quantile)

    def sample(self, key: jax.Array, sample_shape: tuple[int, ...] = ()) -> Values:
        """Draw from the law with a JAX key."""
        with jax.enable_x64(True):
            levels = jax.random.uniform(key, tuple(sample_shape), dtype=np.float64)
        return self.icdf(levels if is_traced(levels) else np.asarray(levels))

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
    def _law(self) -> Table:
        if self.table is None:
            advice = "Take a smaller learning rate." if "no law" in self.status else "Ask for status first."
            raise InputError(message("the law must have a density", self.status, advice))
        return self.table

    def _line(self, number: int) -> float:
        self._law  # noqa: B018  where there is none it says so
        return self._lines[number] if self._lines else math.nan

    def _moment(self, power: int) -> float:
        return self._law.mean_of(np.exp(power * self._law.grid.x))

    def _apply(self, value: Any, function: Any) -> Any:
        """Apply a function of (values in float64, library): NumPy to concrete values, JAX to traced ones."""
        if not is_traced(value):
            return function(np.asarray(value, dtype=np.float64), np)
        with jax.enable_x64(True):
            result = function(to_float64(value), jnp)
        return give_back(result, value, self.growth)

    def _coordinate(self, value: Any, lib: Any) -> tuple[Any, Any]:
        """Return x, and whether v is where the law is: any x where it is not."""
        if self.depth == 0:
            return value, ~lib.isnan(value)
        inside = self.sign * value > 0
        return lib.log(lib.where(inside, lib.abs(value), 1.0)), inside

    def _cdf(self, value: Any, lib: Any) -> Any:
        if self._collapsed:
            return lib.where(lib.isnan(value), lib.nan, lib.where(value >= 0, 1.0, 0.0))
        x, there = self._coordinate(value, lib)
        inside = self._law.cdf(x, survival=self.sign < 0)
        outside = 0.0 if self.sign > 0 else 1.0
        return lib.where(lib.isnan(value), lib.nan, lib.where(there, inside, outside))

    def _log_prob(self, value: Any, lib: Any) -> Any:
        if self._collapsed:
            return lib.where(lib.isnan(value), lib.nan, lib.where(value == 0, 0.0, -lib.inf))
        x, there = self._coordinate(value, lib)
        inside = self._law.log_density(x) - (0.0 if self.depth == 0 else x)
        return lib.where(lib.isnan(value), lib.nan, lib.where(there, inside, -lib.inf))

    def _quantile(self, level: Any, lib: Any) -> Any:
        known = (level >= 0) & (level <= 1)
        if self._collapsed:
            return lib.where(known, -lib.inf, lib.nan)
        level = lib.where(known, level, 0.5)
        masses = (level, 1 - level) if self.sign > 0 else (1 - level, level)
        return lib.where(known, self._law.quantile(*masses), lib.nan)


@checked
def discrete_law(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    learning_rate: float,
    batch_size: int = 1,
    weight_decay: float = 0.0,
    *,
    depth: int = 1,
    width: int = 1,
    replace: bool = True,
    sign: int | None = None,
    tolerance: float = 1e-4,
    escape_at: float | None = None,
    loss: LossName = "squared",
) -> DiscreteLaw:
    r"""Compute the stationary law of discrete-time SGD from balanced factors, at any depth D and width d.

    There the iteration is one-dimensional and exact at any step size,

    .. math:: v \to v F^{D+1}, \quad F = 1 - 2\eta\gamma - 2\eta (A v - B) |v/d|^{(D-1)/(D+1)}, \qquad
        v \to (1 - 2\eta\gamma) v - 2\eta d (A v - B) \quad (D = 0),

    with A and B the minibatch means of x^2 and x y. The law is the leading eigenvector of its transfer operator on a
    grid in log v (at depth 0 in v): the truth that the stochastic gradient flow (`SGDStationary`) approximates to first
    order in eta.

    Parameters
    ----------
    x, y
        Data, shape (N,).
    learning_rate
        Learning rate eta for the loss: kappa times the optimizer's.
    batch_size
        Batch size S.
    weight_decay
        Decay gamma >= 0: the loss is (v x - y)^2 + gamma theta^2, see ``loss``.
    depth, width
        Depth D >= 0, 0 being linear regression, and width d >= 1: subnetworks of one sign.
    replace
        Whether rows are drawn with replacement. Without, all batches are listed: at most 20000 of them.
    sign
        Side of v = 0 at depth 1 and above; by default that of E[x y].
    tolerance
        The grid is halved until the cdf moves by less, or 2500 points are reached: see ``error_estimate``.
    escape_at
        The \|v\| from where a chain counts as overflowed; by default 5000/(eta E[x^2]), from where few return.
    loss
        "squared" for (v x - y)^2 + gamma theta^2, "half" for (v x - y)^2/2 + gamma theta^2: half the loss at 2 eta
        and gamma/2 has the law of the squared one at eta and gamma.

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
    Exact for balanced factors, at depth 1 for u = w and u = -w at any width, and so for other starts once the factors
    are balanced.

    Depth 0 is a Kesten recursion: bounded if no minibatch has A large enough for a step to grow, else with a tail
    :math:`|v|^{-k}`, :math:`E|1 - 2\eta(dA + \gamma)|^k = 1`. At depth 1 and above, where overflow is possible, the
    law is that of the chains that have not passed ``escape_at`` (quasi-stationary); where it comes faster than chains
    return from near 0, the survivors drift to 0 and there is no law. At depth 2 and above a chain that a step brings to
    0 all but exactly stays there for a time without a mean: where F < 0 comes more often than once in a million steps
    there is no law, else that of the chains which have had none (quasi-stationary). With decay zero attracts there in
    the end, and the law is that of the chains that have not fallen behind the barrier to it.

    Batches of more than one row are listed where there are at most 4000 different ones; else the law of a minibatch
    is a convolution on a lattice, by the Fourier transform at every grid point. The time grows with the rows: a second
    for 1e4, some for 1e5.

    References
    ----------
    Ziyin, Li and Ueda, Phys. Rev. E 111, 065303 (2025), for the iteration and its flow. Tails (Kesten 1973): v^e of
    the cdf at depth 1 has E|1 - 2 eta gamma + 2 eta B|^(-2e) = 1; at depth 2 and above exp(-theta (|v|/d)^-m) has
    E exp(-2 eta (D - 1) theta B) = 1.

    Examples
    --------
    >>> import numpy as np, sgdvi
    >>> x = np.linspace(-2, 2, 21)
    >>> law = sgdvi.discrete_law(x, x + np.cos(9 * x), learning_rate=0.02)
    >>> law.status, law.error_estimate < 1e-4
    ('proper', True)
    """
    # half the loss with decay gamma at twice the rate is the squared loss with decay 2 gamma
    factor = loss_factor(loss)
    rate = factor * positive("learning_rate", learning_rate)
    decay = non_negative("weight_decay", weight_decay) / factor
    positive("tolerance", tolerance)
    depth, width = whole("depth", depth), whole("width", width, least=1)
    require(depth > 0 or sign in (None, 1), "sign must be left out at depth 0, whose law is on the whole line", sign)
    batch = Minibatch(x, y, batch_size, 1 if depth == 0 else sign, replace)
    least = _SLOWEST / batch.scale
    advice = "Steps as small as this are lost to rounding; sgdvi.SGDStationary is the law to that accuracy."
    require(rate >= least, f"learning_rate must be at least {least / factor:.3g} for these data", learning_rate, advice)
    power = (depth - 1) / (depth + 1)
    # where 2 eta E[x^2] v (v/d)^m is _FAR
    top = width ** (power / (1 + power)) * (_FAR / (2 * rate * batch.curvature)) ** (1 / (1 + power)) if depth else 1.0
    if escape_at is not None:
        top, inside = positive("escape_at", escape_at), abs(batch.mean) / batch.curvature
        require(top > inside, f"escape_at must be beyond the least-squares v, {inside:.3g} in size", escape_at)
    require_noise(batch, decay, depth, width)
    chain = Chain(batch, rate, decay, depth, width, math.log(top))
    if depth == 0:
        return _on_the_line(chain, tolerance)
    growth = 2 * chain.near_zero().mean_log() if depth == 1 else (depth + 1) * _log_kept(rate, decay)
    if growth <= 0 if depth == 1 else chain.bulk() is None:
        return DiscreteLaw("collapsed to zero", batch.side, growth, depth=depth, escape_at=top)
    eigen, table, error = chain.law(tolerance)
    tail = chain.left_tail(eigen)
    reason = "overflows" if tail is None else ""
    if depth > 1:
        if chain.leaks(eigen):
            reason = "leaks to zero"
        elif chain.ends_below and eigen.escape > chain.relaxation:
            # chains leave the bulk faster than they settle in it: nothing is quasi-stationary
            reason = "collapses"
    if reason:
        return _no_law(reason, batch.side, growth, depth, top)
    return DiscreteLaw(
        "quasi-stationary" if eigen.escape > 0 else "proper",
        batch.side,
        growth,
        depth=depth,
        escape_probability=eigen.escape,
        escape_at=top,
        error_estimate=error,
        residual=eigen.residual,
        left_tail=math.nan if tail is None or math.isinf(tail) else tail,
        table=table,
    )


def _on_the_line(chain: Chain, tolerance: float) -> DiscreteLaw:
    """The law at depth 0, with its mean and variance in closed form."""
    batch, rate, decay, width = chain.batch, chain.rate, chain.decay, chain.width
    growth = chain.near_zero().mean_log()
    if growth >= 0:
        return _no_law("overflows", 1, growth, 0, math.inf)
    eigen, table, error = chain.law(tolerance)
    heavy = chain.exponent(0.0) or math.inf
    best = width * batch.mean / (width * batch.curvature + decay)
    # v - best is multiplied by 1 - 2 eta gamma - 2 eta d A, and gets a kick without a mean at v = best
    kept = 1 - 2 * rate * (decay + width * batch.curvature)
    square_variance = batch.masses @ (batch.squares - batch.curvature) ** 2 / batch.size
    kick = best * batch.squares - batch.products
    kick = batch.masses @ (kick - batch.masses @ kick) ** 2 / batch.size
    lost = 1 - kept**2 - (2 * rate * width) ** 2 * square_variance
    variance = (2 * rate * width) ** 2 * kick / lost if lost > 0 else math.inf
    return DiscreteLaw(
        "proper",
        1,
        growth,
        depth=0,
        error_estimate=error,
        residual=eigen.residual,
        tail_exponent=heavy + 1,  # of the density: that of the mass is less by one
        table=table,
        line=(best if heavy > 1 else math.nan, float(variance)),
    )


def _no_law(reason: str, side: int, growth: float, depth: int, top: float) -> DiscreteLaw:
    return DiscreteLaw(
        f"no law: {reason}",
        side,
        growth,
        depth=depth,
        escape_probability=math.nan,
        escape_at=top,
        error_estimate=math.nan,
        residual=math.nan,
    )


def _log_kept(rate: float, decay: float) -> float:
    """Log of what weight decay leaves of a factor in one step."""
    kept = abs(1 - 2 * rate * decay)
    return math.log(kept) if kept > 0 else -math.inf

"""Exact threshold of discrete-time SGD at depth 1: the Lyapunov exponent of v = 0 on the data."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq

from sgdvi._internal.arguments import checked
from sgdvi._internal.check import non_negative, positive
from sgdvi.laws.discrete._gaps import Intervals, negative_intervals
from sgdvi.laws.discrete._minibatch import Minibatch
from sgdvi.laws.moments import LossName, loss_factor

# As many rows, or listed batches, are gone through gap by gap; of more, these rates are scanned.
_MOST_LISTED = 4_000
_SCAN, _RATES = (1e-4, 1e3), 141


@dataclass(frozen=True)
class DiscreteThreshold:
    """Learning rates at which discrete SGD at depth 1 collapses to v = 0 from a balanced start: a union of intervals.

    Attributes
    ----------
    intervals
        Where zero attracts: pairs (begin, end) of learning rates, in order and disjoint, for the loss (v x - y)^2
        (so kappa times the optimizer's).
    slivers
        Intervals left out of the list, narrower than 1e-5 of their rate: at each of them one batch hits v = 0 all but
        exactly.
    batch_size
        Batch size S.
    """

    intervals: tuple[tuple[float, float], ...]
    slivers: int
    batch_size: int
    _exponent: Callable[[float], tuple[float, float]] = field(repr=False, compare=False)

    @property
    def lower(self) -> float:
        """Begin of the first interval; inf where zero attracts nowhere."""
        return self.intervals[0][0] if self.intervals else math.inf

    @property
    def upper(self) -> float:
        """End of the last interval; nan where zero attracts nowhere. Zero need not attract everywhere below it."""
        return self.intervals[-1][1] if self.intervals else math.nan

    @property
    def temperature(self) -> float:
        """The lower threshold as a temperature, learning rate / batch size; inf where SGD never collapses."""
        return self.lower / self.batch_size

    def attracts(self, learning_rate: float) -> bool | None:
        """Whether v = 0 attracts at this learning rate: the sign of the exponent there, slivers included.

        None where the exponent is smaller than its error, which it has where batches are too many to be listed.
        """
        value, error = self._exponent(positive("learning_rate", learning_rate))
        return None if abs(value) < error else value < 0


def lyapunov_exponent(
    x: ArrayLike,
    y: ArrayLike,
    learning_rate: float,
    batch_size: int = 1,
    weight_decay: float = 0.0,
    *,
    replace: bool = True,
    sign: int | None = None,
) -> float:
    """Growth rate of log |v| / 2 per step of depth-1 SGD near v = 0: negative where zero attracts.

    Parameters
    ----------
    x, y
        Data, shape (N,).
    learning_rate
        Learning rate eta for the loss (v x - y)^2.
    batch_size
        Batch size S.
    weight_decay
        Decay gamma >= 0.
    replace
        Whether rows are drawn with replacement. Without, all batches are listed: at most 20000 of them.
    sign
        Side of v = 0; by default that of beta2.

    Returns
    -------
    float
        E log |1 - 2 eta gamma + 2 eta z| with z the minibatch mean of +-x y, over the data's own distribution: an
        exact sum for S = 1, without replacement and for up to 4000 different batches, the S-fold convolution on a
        lattice otherwise.

    Raises
    ------
    InputError
        For data or settings that cannot be.
    """
    rate, decay = positive("learning_rate", learning_rate), non_negative("weight_decay", weight_decay)
    return Minibatch(x, y, batch_size, sign, replace).near_zero(rate, decay).mean_log()


@checked
def discrete_threshold(
    x: ArrayLike,
    y: ArrayLike,
    batch_size: int = 1,
    weight_decay: float = 0.0,
    *,
    replace: bool = True,
    sign: int | None = None,
    loss: LossName = "squared",
) -> DiscreteThreshold:
    """Find the learning rates at which discrete SGD at depth 1 collapses to zero, from a balanced start.

    Parameters
    ----------
    x, y, batch_size, weight_decay, replace, sign
        As in `lyapunov_exponent`.
    loss
        "squared" for the loss (v x - y)^2 + gamma theta^2, "half" for (v x - y)^2/2 + gamma theta^2, whose
        thresholds without decay are twice those of the squared one.

    Returns
    -------
    DiscreteThreshold
        All intervals of learning rates in which zero attracts.

    Raises
    ------
    InputError
        For data or settings that cannot be.

    Notes
    -----
    The flow puts the threshold at the temperature (|beta2| - gamma)/alpha3. Discrete steps move it, and may abolish
    it: the exponent E log|1 + eta w|, w = 2(z - gamma), grows again once steps overshoot. On finite data it is a sum of
    logarithms, strictly concave between consecutive poles -1/w, so that zero attracts on a union of intervals; up to
    4000 rows or batches all of them are listed, gap by gap. Of more, rates between 1e-4 and 1e3 (over the size of x y)
    are scanned in steps of 12 per cent, and intervals narrower than that can be missed.

    A start off balance collapses where zero attracts on both sides, ``sign=1`` and ``sign=-1``.
    """
    factor = loss_factor(loss)
    decay = non_negative("weight_decay", weight_decay) / factor
    batch = Minibatch(x, y, batch_size, sign, replace)

    def exponent(rate: float) -> tuple[float, float]:
        return batch.exponent(factor * rate, decay)

    if batch.size == 1 and len(batch.products) <= _MOST_LISTED:
        intervals, slivers = negative_intervals(2 * (batch.products - decay), batch.masses)
    else:
        intervals, slivers = _scanned(lambda rate: batch.near_zero(rate, decay).mean_log(), batch.scale), 0
    rates = tuple((begin / factor, end / factor) for begin, end in intervals)
    return DiscreteThreshold(rates, slivers, batch.batch_size, exponent)


def _scanned(exponent: Callable[[float], float], scale: float) -> Intervals:
    """Intervals of a negative exponent, from its signs at many rates."""
    rates = np.geomspace(*_SCAN, _RATES) / scale
    negative = np.array([exponent(rate) < 0 for rate in rates])
    ends = [
        float(brentq(exponent, rates[i], rates[i + 1], xtol=1e-14, rtol=1e-12))
        for i in np.flatnonzero(np.diff(negative))
    ]
    ends = [0.0] * bool(negative[0]) + ends + [math.inf] * bool(negative[-1])
    return tuple(zip(ends[::2], ends[1::2], strict=True))

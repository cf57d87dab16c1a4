"""Exact threshold of discrete-time SGD at depth 1: the Lyapunov exponent of v = 0 on the data."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import brentq

from sgdvi._internal.check import non_negative, positive
from sgdvi.laws.discrete._minibatch import Minibatch


@dataclass(frozen=True)
class DiscreteThreshold:
    """Learning rates at which discrete SGD at depth 1 collapses to v = 0.

    Attributes
    ----------
    lower, upper
        Zero attracts exactly for learning rates between these (loss (v x - y)^2, so kappa times the optimizer's);
        infinity and nan where it attracts at none.
    batch_size
        Batch size S.
    """

    lower: float
    upper: float
    batch_size: int

    @property
    def temperature(self) -> float:
        """The lower threshold as a temperature, learning rate / batch size; inf where SGD never collapses."""
        return self.lower / self.batch_size

    def attracts(self, learning_rate: float) -> bool:
        """Whether v = 0 attracts at this learning rate."""
        return bool(self.lower < learning_rate < self.upper)


def lyapunov_exponent(
    x: Any,
    y: Any,
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
        exact sum for S = 1 and without replacement, the S-fold convolution on a lattice otherwise.

    Raises
    ------
    InputError
        For data or settings that cannot be.
    """
    rate, decay = positive("learning_rate", learning_rate), non_negative("weight_decay", weight_decay)
    return Minibatch(x, y, batch_size, sign, replace).near_zero(rate, decay).mean_log()


def discrete_threshold(
    x: Any,
    y: Any,
    batch_size: int = 1,
    weight_decay: float = 0.0,
    *,
    replace: bool = True,
    sign: int | None = None,
) -> DiscreteThreshold:
    """Find the learning rates at which discrete SGD at depth 1 collapses to zero.

    Parameters
    ----------
    x, y, batch_size, weight_decay, replace, sign
        As in `lyapunov_exponent`.

    Returns
    -------
    DiscreteThreshold
        The interval of learning rates in which zero attracts.

    Raises
    ------
    InputError
        For data or settings that cannot be.

    Notes
    -----
    The flow puts the threshold at the temperature (|beta2| - gamma)/alpha3. Discrete steps move it, and may abolish
    it: log|1 + 2 eta z| grows again once steps overshoot.
    """
    decay = non_negative("weight_decay", weight_decay)
    batch = Minibatch(x, y, batch_size, sign, replace)

    def exponent(rate: float) -> float:
        return batch.near_zero(rate, decay).mean_log()

    rates = np.geomspace(1e-4, 1e3, 141) / batch.scale
    exponents = np.array([exponent(rate) for rate in rates])
    negative = exponents < 0
    if not negative.any():
        return DiscreteThreshold(np.inf, np.nan, batch.batch_size)
    first = int(np.argmax(negative))
    last = first + int(np.argmax(~negative[first:])) if (~negative[first:]).any() else len(rates)

    def root(index: int) -> float:
        return float(brentq(exponent, rates[index - 1], rates[index], xtol=1e-14, rtol=1e-12))

    lower = 0.0 if first == 0 else root(first)
    upper = root(last) if last < len(rates) else np.inf
    return DiscreteThreshold(lower, upper, batch.batch_size)

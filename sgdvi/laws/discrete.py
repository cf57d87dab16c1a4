"""Exact threshold of discrete-time SGD at depth 1: the Lyapunov exponent of v = 0 on the data."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.optimize import brentq

from sgdvi._check import InputError, finite_vector, message, non_negative, positive, require, whole

# Points of the lattice on which the law of a minibatch mean is computed; its error falls like the square.
_LATTICE = 2**16
# Half width of the lattice in standard deviations of the sum, beyond the range of one term.
_SPREADS = 14.0


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
    x: Any, y: Any, learning_rate: float, batch_size: int = 1, weight_decay: float = 0.0, *, sign: int | None = None
) -> float:
    """Growth rate of log |v| / 2 per step of depth-1 SGD near v = 0: negative where zero attracts.

    Parameters
    ----------
    x, y
        Data, shape (N,).
    learning_rate
        Learning rate eta for the loss (v x - y)^2.
    batch_size
        Batch size S; drawn with replacement.
    weight_decay
        Decay gamma >= 0.
    sign
        Side of v = 0; by default that of beta2.

    Returns
    -------
    float
        E log |1 - 2 eta gamma + 2 eta z| with z the minibatch mean of +-x y, over the data's own distribution: an
        exact sum for S = 1, the S-fold convolution on a lattice otherwise.

    Raises
    ------
    InputError
        For data or settings that cannot be.
    """
    return _Products(x, y, batch_size, sign).exponent(
        positive("learning_rate", learning_rate), non_negative("weight_decay", weight_decay)
    )


def discrete_threshold(
    x: Any, y: Any, batch_size: int = 1, weight_decay: float = 0.0, *, sign: int | None = None
) -> DiscreteThreshold:
    """Find the learning rates at which discrete SGD at depth 1 collapses to zero.

    Parameters
    ----------
    x, y, batch_size, weight_decay, sign
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
    products = _Products(x, y, batch_size, sign)
    rates = np.geomspace(1e-4, 1e3, 141) / products.size
    exponents = np.array([products.exponent(rate, decay) for rate in rates])
    negative = exponents < 0
    if not negative.any():
        return DiscreteThreshold(np.inf, np.nan, products.batch_size)
    first = int(np.argmax(negative))
    last = first + int(np.argmax(~negative[first:])) if (~negative[first:]).any() else len(rates)

    def root(index: int) -> float:
        return float(brentq(products.exponent, rates[index - 1], rates[index], args=(decay,), xtol=1e-14, rtol=1e-12))

    lower = 0.0 if first == 0 else root(first)
    upper = root(last) if last < len(rates) else np.inf
    return DiscreteThreshold(lower, upper, products.batch_size)


class _Products:
    """Distribution of the minibatch mean of x y."""

    def __init__(self, x: Any, y: Any, batch_size: int, sign: int | None) -> None:
        x, y = finite_vector("x", x), finite_vector("y", y)
        require(len(x) == len(y), "x and y must have the same length", f"{len(x)} and {len(y)}")
        self.batch_size = whole("batch_size", batch_size, least=1)
        products = x * y
        side = sign if sign is not None else (1.0 if products.mean() >= 0 else -1.0)
        self.values = side * products
        self.mean = float(self.values.mean())
        self.size = float(np.sqrt(np.mean(self.values**2)))
        if self.size == 0:
            raise InputError(message("x y must not be 0 in every row", "zeros", "There is nothing to learn."))

    def exponent(self, learning_rate: float, weight_decay: float) -> float:
        constant, factor = 1 - 2 * learning_rate * weight_decay, 2 * learning_rate
        if self.batch_size == 1:
            with np.errstate(divide="ignore"):
                return float(np.mean(np.log(np.abs(constant + factor * self.values))))
        points, masses, step = self.lattice
        return float(masses @ _mean_log(constant + factor * points, factor * step / 2))

    @cached_property
    def lattice(self) -> tuple[np.ndarray, np.ndarray, float]:
        """Lattice points of the minibatch mean, their masses, and the spacing."""
        size, values = self.batch_size, self.values
        centred = values - self.mean
        half = min(
            size * np.max(np.abs(centred)) * 1.01, np.max(np.abs(centred)) + _SPREADS * np.sqrt(size) * np.std(values)
        )
        step = 2 * half / _LATTICE
        # Every value is split between its two neighbours, which keeps the mean.
        position = centred / step
        lower = np.floor(position).astype(int)
        share = position - lower
        single = np.zeros(_LATTICE)
        np.add.at(single, lower % _LATTICE, (1 - share) / len(values))
        np.add.at(single, (lower + 1) % _LATTICE, share / len(values))
        masses = np.fft.irfft(np.fft.rfft(single) ** size, _LATTICE)
        masses = np.maximum(masses, 0.0)
        index = np.fft.fftfreq(_LATTICE, 1 / _LATTICE)
        kept = masses > 1e-20
        return self.mean + index[kept] * step / size, masses[kept] / masses[kept].sum(), step / size


def _mean_log(centre: np.ndarray, half: float) -> np.ndarray:
    """Mean of log |t| over [centre - half, centre + half]: finite where a cell holds the singularity."""

    def primitive(t: np.ndarray) -> np.ndarray:
        return t * np.log(np.maximum(np.abs(t), 1e-300)) - t

    far = np.abs(centre) > 1e3 * half
    safe = np.where(far, centre, 1.0)
    near = (primitive(centre + half) - primitive(centre - half)) / (2 * half)
    return np.where(far, np.log(np.abs(safe)) - (half / safe) ** 2 / 6, near)

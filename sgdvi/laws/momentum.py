r"""Momentum: how the noise of past gradients adds up in the iterates of heavy-ball and Nesterov SGD near a minimum.

Along a direction of curvature h with rate eta, a = eta h, the heavy ball is

.. math:: \delta_{t+1} = (1 + \mu - a) \delta_t - \mu \delta_{t-1} - \eta \xi_t

and Nesterov's the same of which the iterate is :math:`(1 + \mu) w_{t+1} - \mu w_t`, with (1 - a) at both terms. The
moments of such second-order recursions are rational in a (derived here; plain SGD, mu = 0, is Liu, Ziyin and Ueda
2021), written so that no digit is lost where a is as small as 1e-12.
"""

from dataclasses import dataclass

import numpy as np

from sgdvi._internal.check import InputError, message, non_negative, positive, require
from sgdvi.laws.moments import Moments


@dataclass(frozen=True)
class Momentum:
    r"""Momentum of an optimizer: :math:`r \leftarrow \mu r + g`, then a step of -eta r, or -eta (g + mu r) (Nesterov).

    It is that of ``optax.sgd`` and ``optax.trace``. Averages of gradients in place of sums (``optax.ema``) have the
    rate eta (1 - mu).

    Attributes
    ----------
    mu
        From 0, plain SGD, to below 1.
    nesterov
        Whether the gradient counts ahead of the step.

    Raises
    ------
    InputError
        For another mu.
    """

    mu: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        mu = non_negative("momentum", self.mu)
        require(mu < 1, "momentum must be below 1", mu, "A momentum of 0.9 is usual.")

    def __bool__(self) -> bool:
        return self.mu > 0

    @property
    def gain(self) -> float:
        """1/(1 - mu): the rate of the plain SGD that moves alike, over eta, where eta h << 1 - mu."""
        return 1 / (1 - self.mu)

    @property
    def slope_gain(self) -> float:
        """Weight, for one in plain SGD, of the squared mean gradient in the drift of a charge at the rate eta gain."""
        above = 1 - self.mu + 2 * self.mu**2 if self.nesterov else 1 + self.mu
        return above * self.gain

    @property
    def largest(self) -> float:
        """The largest a = eta h at which a direction without noise is stable."""
        return 2 * (1 + self.mu) / (1 + 2 * self.mu) if self.nesterov else 2 * (1 + self.mu)

    def response(self, a: np.ndarray) -> np.ndarray:
        """Return the sums over all times of products of two directions' responses to a unit of noise, over eta^2.

        Parameters
        ----------
        a
            Rate times curvature of each direction, (D,), above 0 and below `largest`.

        Returns
        -------
        np.ndarray
            (D, D); 1/(a + b - a b) for plain SGD.
        """
        mu, one, two = self.mu, a[:, None], a[None, :]
        both, product = one + two, one * two
        if not self.nesterov:
            return (1 - mu**2) / ((1 - mu) ** 2 * ((1 + mu) * both - product) + mu * (one - two) ** 2)
        # what is 0 at a = b = 0 is kept apart: 1 - (1-a)(1-b), and 1 - mu^2 (1-a)(1-b) less its value there
        lost, size = both - product, 1 + mu
        grown, outer = mu**2 * lost, (1 - mu + mu * one) * (1 - mu + mu * two)
        below = 2 * (1 - mu**2) * grown + grown**2 + size**2 * lost * outer
        below = below - size**2 * mu * ((1 - mu) * both + mu * product)
        return (size**2 * outer + mu**2 * (1 - mu**2 + grown)) / below

    def decay(self, a: np.ndarray) -> np.ndarray:
        """Return the share of its distance that each direction loses in a step, (D,): 1 less its largest multiplier.

        Negative where it grows.
        """
        a = np.asarray(a, dtype=float)
        # multipliers 1 - e, with e^2 - total e + a = 0
        total = 1 - self.mu + a * (1 + self.mu if self.nesterov else 1.0)
        square = total**2 - 4 * a
        root = np.sqrt(np.maximum(square, 0.0))
        small = 2 * a / (total + root)
        real = np.minimum(small, 2 - 0.5 * (total + root))
        size = self.mu * (1 - a) if self.nesterov else np.full_like(a, self.mu)
        return np.where(square >= 0, real, 1 - np.sqrt(np.abs(size)))


PLAIN = Momentum()


def momentum_variance(
    moments: Moments,
    learning_rate: float,
    batch_size: int,
    *,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> float:
    r"""Return the exact variance of v in linear regression, loss (v x - y)^2 + gamma v^2, under SGD with momentum.

    With b = beta1 + gamma, v* = beta2/b and the effective temperature T = eta/(S (1 - mu)) it is, for the heavy ball,

    .. math:: \operatorname{Var} v = \frac{T g(v^*)}{b (1 - \eta b / (1 + \mu)) - T \alpha_1},

    and K c0/(1 - K a2) with c0 = 4 g(v*)/S, a2 = 4 alpha1/S and the response K at the curvature 2 b for Nesterov's.
    Plain SGD of rate eta/(1 - mu) has nearly the same while eta b << 1 - mu.

    Parameters
    ----------
    moments
        Of the data, scalars.
    learning_rate, batch_size
        eta of ``optax.sgd(eta, momentum=mu)``, and S, drawn with replacement.
    momentum, nesterov
        mu, and whether it is Nesterov's.
    weight_decay
        gamma.

    Raises
    ------
    InputError
        For bad input, and where the variance grows from step to step.

    Examples
    --------
    >>> import sgdvi
    >>> moments = sgdvi.Moments.linear(slope=1.0, noise=1.0)
    >>> print(round(sgdvi.laws.momentum_variance(moments, 0.001, 1, momentum=0.9), 6))
    0.01021
    """
    rate, memory = positive("learning_rate", learning_rate), Momentum(momentum, nesterov)
    gamma, share = non_negative("weight_decay", weight_decay), 1 / positive("batch_size", batch_size)
    curvature = float(moments.beta1) + gamma
    v = float(moments.beta2) / curvature
    noise = 4 * share * float(moments.alpha1 * v**2 - 2 * moments.alpha2 * v + moments.alpha3)
    a = 2 * rate * curvature
    response = float(memory.response(np.array([a]))[0, 0]) * rate**2 if a < memory.largest else np.inf
    left = 1 - response * 4 * share * float(moments.alpha1)
    if not left > 0:
        raise InputError(message("the variance must shrink from step to step", rate, "Take a smaller rate."))
    return response * noise / left

"""Where a stationary law exists and what it looks like: critical temperature and regimes."""

import enum
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from sgdvi._check import InputError, message, non_negative, positive, whole
from sgdvi.laws._arrays import give_back, keep, to_float64
from sgdvi.moments import Moments


class Phase(enum.StrEnum):
    """Regime of the stationary law on the side where SGD lives.

    At depth 1: III, the density vanishes at zero; II, it diverges there but is proper; I, SGD has collapsed to
    zero. The suffix b says that the density has a mode away from zero, a that it has none (in regime I the
    stationary points are those of the density that can no longer be normalised). Other depths have no such
    regimes: ``none``.
    """

    IA = "Ia"
    IB = "Ib"
    IIA = "IIa"
    IIB = "IIb"
    IIIB = "IIIb"
    NONE = "none"

    @property
    def regime(self) -> str:
        """The regime without its suffix: "I", "II", "III", or "none"."""
        return self.value.rstrip("ab")

    @property
    def has_mode(self) -> bool:
        """Whether there is a mode away from zero."""
        return self.value.endswith("b") or self is Phase.NONE

    @property
    def meaning(self) -> str:
        """The regime in words."""
        return {
            "I": "SGD has collapsed: its only stationary law is the point mass at zero",
            "II": "the stationary law is proper, and its density diverges at zero",
            "III": "the stationary law is proper, and its density vanishes at zero",
            "none": "there is no phase transition at this depth",
        }[self.regime]


def law_exists(depth: int, alpha3: Any, beta2: Any, weight_decay: Any, temperature: Any) -> Any:
    """Whether there is a law on v > 0: below Tc at depth 1, for beta2 > 0 and no decay at depth 2 and above."""
    if depth == 0:
        return temperature > 0
    if depth == 1:
        return (temperature > 0) & (temperature * alpha3 < beta2 - weight_decay)
    return (temperature > 0) & (beta2 > 0) & (weight_decay == 0)


def critical_temperature(
    moments: Moments, depth: int = 1, weight_decay: ArrayLike = 0.0, *, sign: int | None = None
) -> Any:
    """Temperature at and above which SGD has no stationary law but the point mass at zero.

    Parameters
    ----------
    moments
        Moments of the data.
    depth
        Depth D >= 0.
    weight_decay
        Decay gamma >= 0 of the loss (v x - y)^2 + gamma |theta|^2.
    sign
        Side of v = 0, +1 or -1; by default the side of beta2, where SGD lives.

    Returns
    -------
    array
        Depth 1: Tc = (|beta2| - gamma)/alpha3, in the units of learning rate / batch size; 0 where no temperature
        has a law. Infinite where the law is proper at every temperature: depth 0, and depth >= 2 without decay.

    Raises
    ------
    InputError
        For a depth that is no whole number or a negative weight decay.

    References
    ----------
    Ziyin, Li and Ueda, Phys. Rev. E 111, 065303 (2025), section IV C; the decay enters as beta2 - gamma.
    """
    depth = whole("depth", depth)
    if np.ndim(weight_decay) == 0 and not isinstance(weight_decay, jax.Array):
        non_negative("weight_decay", weight_decay)
    decay = keep(weight_decay, moments)
    # Concrete moments give a concrete temperature, also while something else is being traced.
    with jax.ensure_compile_time_eval(), jax.enable_x64(True):
        beta2, alpha3, gamma = to_float64(moments.beta2), to_float64(moments.alpha3), to_float64(decay)
        drift = jnp.abs(beta2) if sign is None else sign * beta2
        if depth == 0:
            value = jnp.full(jnp.broadcast_shapes(drift.shape, alpha3.shape, gamma.shape), jnp.inf)
        elif depth == 1:
            room = drift - gamma
            value = jnp.where(room > 0, room / jnp.where(room > 0, alpha3, 1.0), 0.0)
        else:
            value = jnp.where((drift > 0) & (gamma == 0), jnp.inf, 0.0) + 0.0 * alpha3
    return give_back(value, None, (moments, decay))


def phase(
    moments: Moments, temperature: float, depth: int = 1, weight_decay: float = 0.0, *, sign: int | None = None
) -> Phase:
    """Regime of the stationary law at a temperature, decided pointwise.

    Parameters
    ----------
    moments
        Moments of the data; concrete scalars.
    temperature
        Temperature T > 0.
    depth, weight_decay, sign
        As in `critical_temperature`.

    Returns
    -------
    Phase
        "Ia", "Ib", "IIa", "IIb" or "IIIb" at depth 1, "none" at other depths.

    Raises
    ------
    InputError
        For a temperature that is not above zero, or moments that are not scalars.

    Notes
    -----
    The density's exponent at zero is (beta2 - gamma)/(2 alpha3 T) - 3/2: regime III below Tc/3, II below Tc. The
    suffix is decided by the stationary points of the density, as data exist where a mode comes back on heating.
    """
    temperature = positive("temperature", temperature)
    depth = whole("depth", depth)
    decay = non_negative("weight_decay", weight_decay)
    if moments.batch_shape:
        raise InputError(message("phase takes scalar moments", f"batch shape {moments.batch_shape}", "Loop over them."))
    if depth != 1:
        return Phase.NONE
    side = sign if sign is not None else (1 if moments.beta2 >= 0 else -1)
    data = moments if side > 0 else moments.mirror()
    critical = float(critical_temperature(moments, 1, decay, sign=side))
    mode = nonzero_mode(data, temperature, decay)
    if temperature < critical / 3:
        return Phase.IIIB
    if temperature < critical:
        return Phase.IIA if mode is None else Phase.IIB
    return Phase.IA if mode is None else Phase.IB


def nonzero_mode(moments: Moments, temperature: float, weight_decay: float = 0.0) -> float | None:
    """Mode of the depth-1 density at v > 0, or None.

    Notes
    -----
    The larger root of 7 alpha1 T v^2 + (beta1 - 10 alpha2 T) v - (B - 3 alpha3 T) = 0, B = beta2 - gamma; written
    so that nothing cancels. Below Tc/3 there is exactly one positive root; above, two or none.
    """
    alpha1, alpha2, alpha3 = float(moments.alpha1), float(moments.alpha2), float(moments.alpha3)
    linear = float(moments.beta1) - 10 * alpha2 * temperature
    constant = float(moments.beta2) - weight_decay - 3 * alpha3 * temperature
    discriminant = linear**2 + 28 * alpha1 * temperature * constant
    if discriminant < 0 or (constant <= 0 and linear >= 0):
        return None
    root = float(np.sqrt(discriminant))
    return 2 * constant / (linear + root) if linear > 0 else (root - linear) / (14 * alpha1 * temperature)

"""Where a stationary law exists and what it looks like: critical temperature and regimes."""

import enum
import math
from fractions import Fraction
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike

from sgdvi._internal.arguments import checked
from sgdvi._internal.card import card
from sgdvi._internal.check import InputError, message, non_negative, one_of, real_array, require, whole
from sgdvi._internal.types import Values
from sgdvi.laws._engine import xp
from sgdvi.laws._engine.arrays import give_back, in_float64, is_traced, keep, to_float64
from sgdvi.laws.degenerate import oriented, support
from sgdvi.laws.moments import Moments
from sgdvi.laws.multiples import Temperature, resolve


class _Card:
    # an enum takes no such name in its own body
    def _repr_html_(self) -> str:
        return card(repr(self), {})


class Phase(_Card, enum.StrEnum):
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

    def __repr__(self) -> str:
        return f"<Phase {self.value}: {self.meaning}>"

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


@checked
def critical_temperature(
    moments: Moments, depth: int = 1, weight_decay: ArrayLike = 0.0, *, sign: int | None = None
) -> Values:
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
        has a law. Infinite where the law is proper at every temperature: depth 0, depth >= 2 without decay, and data
        without noise at a k that SGD crosses upwards only (y = k x - c/x, c + gamma < 0).

    Raises
    ------
    InputError
        For a depth that is no whole number or a negative weight decay. Traced moments that no data have give nan.

    References
    ----------
    Ziyin, Li and Ueda, Phys. Rev. E 111, 065303 (2025), section IV C; the decay enters as beta2 - gamma.
    """
    depth = whole("depth", depth)
    one_of("sign", sign, (None, 1, -1), "1, -1 or None")
    decay = keep(weight_decay, moments)
    if not is_traced(decay):
        gammas = np.asarray(decay)
        is_decay = np.isfinite(gammas) & (gammas >= 0)
        require(np.all(is_decay), "weight_decay must be a finite number of at least 0", _worst(gammas))
    # Concrete moments give a concrete temperature, also while something else is being traced.
    with jax.ensure_compile_time_eval(), in_float64():
        beta2, alpha3, gamma = to_float64(moments.beta2), to_float64(moments.alpha3), to_float64(decay)
        drift = xp.abs(beta2) if sign is None else sign * beta2
        if depth == 0:
            value = xp.full(np.broadcast_shapes(drift.shape, alpha3.shape, gamma.shape), np.inf)
        elif depth == 1:
            room = drift - gamma
            value = xp.where(room > 0, room / xp.where(room > 0, alpha3, 1.0), 0.0)
            side = xp.where(beta2 >= 0, 1.0, -1.0) if sign is None else sign
            ends = support(oriented(moments, side), xp.ones(()), 1, 1, gamma)
            value = xp.where(ends.proper & (ends.lower > 0), np.inf, value)
        else:
            value = xp.where((drift > 0) & (gamma == 0), np.inf, 0.0) + 0.0 * alpha3
        value = xp.where(xp.isnan(drift + alpha3 + gamma) | ~moments.possible, np.nan, value)
    return give_back(value, None, (moments, decay))


@checked
def phase(
    moments: Moments,
    temperature: Temperature,
    depth: int = 1,
    weight_decay: ArrayLike = 0.0,
    *,
    sign: int | None = None,
) -> Any:
    """Regime of the stationary law at a temperature, decided pointwise.

    Parameters
    ----------
    moments
        Moments of the data; scalars or one batch shape.
    temperature
        Temperature T > 0, or a multiple of Tc such as "0.5Tc"; broadcasts against the moments.
    depth, weight_decay, sign
        As in `critical_temperature`; the decay broadcasts.

    Returns
    -------
    Phase or array of str
        "Ia", "Ib", "IIa", "IIb" or "IIIb" at depth 1, "none" at other depths: a `Phase` for scalars, else an array
        of labels of the common shape, which compare equal to the members of `Phase`.

    Raises
    ------
    InputError
        For a temperature that is not above zero, a negative decay, shapes that do not broadcast, or traced values: a
        label is no number.

    See Also
    --------
    phase_intervals : The temperatures at which the regime changes.

    Notes
    -----
    The density's exponent at zero is (beta2 - gamma)/(2 alpha3 T) - 3/2: regime III below Tc/3, II below Tc. The
    suffix is decided by the stationary points of the density, as data exist where a mode comes back on heating. For
    data with gradient noise at every v (Delta > 0); at Delta = 0 the label tells of the neighbourhood of zero alone.
    """
    depth = whole("depth", depth)
    one_of("sign", sign, (None, 1, -1), "1, -1 or None")
    advice = "Call it outside of jit, vmap and grad."
    require(not is_traced(moments, temperature, weight_decay), "phase needs concrete values", "a traced one", advice)
    decay = _numbers("weight_decay", weight_decay)
    temperature = resolve(temperature, lambda: critical_temperature(moments, depth, decay, sign=sign))
    heat = _numbers("temperature", temperature)
    require(np.all(np.isfinite(heat) & (heat > 0)), "temperature must be finite and above 0", _worst(heat))
    require(np.all(np.isfinite(decay) & (decay >= 0)), "weight_decay must be finite and at least 0", _worst(decay))
    shapes = (moments.batch_shape, heat.shape, decay.shape)
    try:
        shape = np.broadcast_shapes(*shapes)
    except ValueError:
        rule = "moments, temperature and weight_decay must broadcast against each other"
        raise InputError(message(rule, f"shapes {shapes[0]}, {shapes[1]} and {shapes[2]}")) from None
    if depth != 1:
        return Phase.NONE if shape == () else np.full(shape, Phase.NONE.value)
    beta2 = np.asarray(moments.beta2, np.float64)
    side = np.where(beta2 >= 0, 1.0, -1.0) if sign is None else float(sign)
    drift = side * beta2 - decay
    with np.errstate(divide="ignore", invalid="ignore"):
        # alpha3 = 0 has no transition: the law is proper, and vanishes at 0, at every temperature.
        critical = np.where(drift > 0, drift / np.asarray(moments.alpha3, np.float64), 0.0)
    mode = np.isfinite(_largest_root(moments, heat, decay, side))
    collapsed, vanishing = heat >= critical, heat < critical / 3
    names = np.where(collapsed, np.where(mode, "Ib", "Ia"), np.where(mode, "IIb", "IIa"))
    labels = np.broadcast_to(np.where(vanishing, "IIIb", names), shape)
    return Phase(str(labels)) if shape == () else labels.copy()


def nonzero_mode(moments: Moments, temperature: ArrayLike, weight_decay: ArrayLike = 0.0) -> Values:
    """Mode of the depth-1 density at v > 0, nan where it has none; concrete values, scalars or arrays.

    Notes
    -----
    The larger root of 7 alpha1 T v^2 + (beta1 - 10 alpha2 T) v - (B - 3 alpha3 T) = 0, B = beta2 - gamma; written
    so that nothing cancels. Below Tc/3 there is exactly one positive root; above, two or none.
    """
    heat, decay = _numbers("temperature", temperature), _numbers("weight_decay", weight_decay)
    return _largest_root(moments, heat, decay, 1.0)[()]


def _largest_root(moments: Moments, temperature: np.ndarray, decay: np.ndarray, side: Any) -> np.ndarray:
    alpha1, alpha2, alpha3, beta1, beta2 = (np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(moments))
    linear = beta1 - 10 * side * alpha2 * temperature
    constant = side * beta2 - decay - 3 * alpha3 * temperature
    discriminant = linear**2 + 28 * alpha1 * temperature * constant
    exists = (discriminant > 0) & ((constant > 0) | ((constant < 0) & (linear < 0)))
    root = np.sqrt(np.where(exists, discriminant, 1.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        falling, rising = 2 * constant / (linear + root), (root - linear) / (14 * alpha1 * temperature)
    return np.where(exists, np.where(linear > 0, falling, rising), np.nan)


def _numbers(name: str, value: Any) -> np.ndarray:
    numbers = np.asarray(real_array(name, value), dtype=np.float64)
    require(numbers.size, f"{name} must have values", "an empty array")
    return numbers


def _worst(values: np.ndarray) -> Any:
    """The value that is least fit, for a message: nan before the smallest."""
    bad = values[~np.isfinite(values)]
    return bad.flat[0] if bad.size else values.min()


class PhaseInterval(NamedTuple):
    """A stretch of temperatures with one regime: lower <= T < upper."""

    phase: Phase
    lower: float
    upper: float


@checked
def phase_intervals(
    moments: Moments, weight_decay: float = 0.0, *, sign: int | None = None
) -> tuple[PhaseInterval, ...]:
    r"""Regimes of the depth-1 law from cold to hot, with the temperatures at which they change.

    Parameters
    ----------
    moments
        Moments of the data; concrete scalars.
    weight_decay, sign
        As in `critical_temperature`.

    Returns
    -------
    tuple of PhaseInterval
        From 0 to infinity, in units of learning rate / batch size.

    Raises
    ------
    InputError
        For moments that are traced or no scalars, or a negative weight decay.

    Notes
    -----
    The borders are Tc/3, Tc and those roots of the discriminant

    .. math:: A(T) = (\beta_1 - 10\alpha_2 T)^2 + 28\alpha_1 T (B - 3\alpha_3 T), \qquad B = \beta_2 - \gamma,

    above Tc/3 at which :math:`10\alpha_2 T > \beta_1`, so that a double root of the density's slope is born or dies at
    v > 0 (Ziyin, Li and Ueda 2025, section A.8). There may be two: then the mode vanishes and comes back on heating.

    Examples
    --------
    >>> import sgdvi
    >>> data = sgdvi.Moments(1.0, 0.7973, 0.6416, 1.0, 0.3355)
    >>> [str(interval.phase) for interval in sgdvi.phase_intervals(data)]
    ['IIIb', 'IIb', 'IIa', 'IIb', 'Ib']
    """
    decay = non_negative("weight_decay", weight_decay)
    one_of("sign", sign, (None, 1, -1), "1, -1 or None")
    require(not is_traced(moments), "phase_intervals needs concrete moments", "traced ones", "Call it outside of jit.")
    shape = moments.batch_shape
    require(shape == (), "phase_intervals takes scalar moments", f"batch shape {shape}", "Loop over them.")
    alpha1, alpha2, alpha3, beta1, beta2 = (Fraction(float(np.asarray(leaf))) for leaf in jax.tree.leaves(moments))
    side = (1 if beta2 >= 0 else -1) if sign is None else sign
    drift = side * beta2 - Fraction(decay)
    critical = 0.0 if drift <= 0 else math.inf if alpha3 == 0 else float(drift / alpha3)
    edges = {0.0, critical / 3, critical, math.inf}
    if alpha1 > 0 and alpha3 > 0:
        try:
            edges |= set(_discriminant_zeros(alpha1, side * alpha2, alpha3, beta1, drift))
        except OverflowError:
            raise InputError(message("weight_decay must be of the size of the moments", decay)) from None
    ordered = sorted(edges)
    intervals: list[PhaseInterval] = []
    # Not every candidate is a border: a double root below zero changes nothing.
    for lower, upper in zip(ordered, ordered[1:], strict=False):
        inside = (lower + upper) / 2 if math.isfinite(upper) else 2 * lower or 1.0
        label = phase(moments, inside, 1, decay, sign=side)
        if intervals and intervals[-1].phase == label:
            intervals[-1] = intervals[-1]._replace(upper=upper)
        else:
            intervals.append(PhaseInterval(label, lower, upper))
    return tuple(intervals)


def _discriminant_zeros(
    alpha1: Fraction, alpha2: Fraction, alpha3: Fraction, beta1: Fraction, drift: Fraction
) -> list[float]:
    """Positive roots of A(T)."""
    # In units of about beta1/sqrt(alpha1 alpha3) the coefficients are of order one whatever the scale of the data.
    # Exact arithmetic decides how many roots there are, which rounding could not where two of them are about to merge.
    unit = beta1 / Fraction(math.sqrt(alpha1) * math.sqrt(alpha3))
    square = (100 * alpha2**2 - 84 * alpha1 * alpha3) * (unit / beta1) ** 2
    linear = (28 * alpha1 * drift - 20 * alpha2 * beta1) * unit / beta1**2
    discriminant = linear**2 - 4 * square
    if discriminant <= 0:
        return []
    larger = -(float(linear) + math.copysign(math.sqrt(discriminant), float(linear))) / 2
    roots = [1 / larger] if larger else []
    if square:
        roots.append(larger / float(square))
    return [root * float(unit) for root in roots if root > 0]

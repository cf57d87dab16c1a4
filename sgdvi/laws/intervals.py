"""The temperatures at which the regime of the depth-1 law changes, from the roots of a quadratic in exact numbers."""

import math
from fractions import Fraction
from typing import NamedTuple

import jax
import numpy as np

from sgdvi._check import non_negative, require
from sgdvi.laws._arrays import is_traced
from sgdvi.laws.phases import Phase, phase
from sgdvi.moments import Moments


class PhaseInterval(NamedTuple):
    """A stretch of temperatures with one regime: lower <= T < upper."""

    phase: Phase
    lower: float
    upper: float


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
    require(not is_traced(moments), "phase_intervals needs concrete moments", "traced ones", "Call it outside of jit.")
    shape = moments.batch_shape
    require(shape == (), "phase_intervals takes scalar moments", f"batch shape {shape}", "Loop over them.")
    alpha1, alpha2, alpha3, beta1, beta2 = (Fraction(float(np.asarray(leaf))) for leaf in jax.tree.leaves(moments))
    side = (1 if beta2 >= 0 else -1) if sign is None else sign
    drift = side * beta2 - Fraction(decay)
    critical = 0.0 if drift <= 0 else math.inf if alpha3 == 0 else float(drift / alpha3)
    edges = {0.0, critical / 3, critical, math.inf}
    if alpha1 > 0 and alpha3 > 0:
        edges |= set(_discriminant_zeros(alpha1, side * alpha2, alpha3, beta1, drift))
    ordered = sorted(edges)
    found: list[PhaseInterval] = []
    # Not every candidate is a border: a double root below zero changes nothing.
    for lower, upper in zip(ordered, ordered[1:], strict=False):
        inside = (lower + upper) / 2 if math.isfinite(upper) else 2 * lower or 1.0
        label = phase(moments, inside, 1, decay, sign=side)
        if found and found[-1].phase == label:
            found[-1] = found[-1]._replace(upper=upper)
        else:
            found.append(PhaseInterval(label, lower, upper))
    return tuple(found)


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

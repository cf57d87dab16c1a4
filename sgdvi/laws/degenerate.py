"""Data whose gradient noise vanishes at some v: which laws of SGD are invariant then, and where they live."""

from functools import partial
from typing import NamedTuple

import numpy as np
from jax import Array
from jax.typing import ArrayLike

from sgdvi._internal.types import Values
from sgdvi.laws._engine import xp
from sgdvi.laws._engine.arrays import to_float64
from sgdvi.laws.moments import Moments, difference_of_products

# Delta below this share of alpha1 alpha3 is rounding, and so is c below its share of the two terms it is made of.
DELTA_ROUNDING = 1e-13
_C_ROUNDING = 1e-12
# The same where the moments are rounded to float32: below it they cannot tell noise from rounding.
_SINGLE_ROUNDING = 5e-7
# Standard deviation of x^2 or x y, as a share of the mean, that rounding of the data alone can leave.
_SPREAD_ROUNDING = 1e-14
# Double exponential (tanh-sinh) rule on (0, 1): logarithms of the nodes, and weights.
_T = np.linspace(-3.6, 3.6, 217)
_LOG_NODES = -np.log1p(np.exp(-np.pi * np.sinh(_T)))
_WEIGHTS = (_T[1] - _T[0]) * np.pi * np.cosh(_T) / (4 * np.cosh(np.pi / 2 * np.sinh(_T)) ** 2)


class Interpolation(NamedTuple):
    """Data with y = k x - c/x in every row, so that g(v) = alpha1 (v - k)^2; float64, of the moments' shape.

    Attributes
    ----------
    holds
        Whether the data are of this kind: Delta = 0 and alpha1 > 0.
    quiet
        Whether there is no gradient noise at any v: x^2 and x y are the same in every row.
    k, c
        Slope and offset; of no meaning where ``holds`` is false.
    """

    holds: Values
    quiet: Values
    k: Array
    c: Array


class Support(NamedTuple):
    """Invariant laws on v > 0 (at depth 0, on the line); float64 and bool arrays of one shape.

    Attributes
    ----------
    proper
        Whether a law with a density exists.
    lower, upper
        Ends of its support.
    fixed
        Whether a point mass away from zero attracts instead: SGD without noise there.
    point
        Where that is; 0 where there is none.
    collapses
        Whether zero attracts runs from some or all starts.
    """

    proper: Array
    lower: Array
    upper: Array
    fixed: Array
    point: Array
    collapses: Array


def interpolation(moments: Moments) -> Interpolation:
    """Read k and c of y = k x - c/x off the moments; JAX-traceable, the caller holds ``jax.enable_x64(True)``.

    Notes
    -----
    k = alpha2/alpha1 and c = k beta1 - beta2, formed as a difference of exact products: c carries one rounding of
    the moments as they are, however small it is.
    """
    m = oriented(moments, 1.0)
    varies = m.alpha1 > (_SPREAD_ROUNDING * m.beta1) ** 2
    noisy = m.alpha3 > (_SPREAD_ROUNDING * m.beta2) ** 2
    alpha1 = xp.where(varies, m.alpha1, 1.0)
    c = difference_of_products(m.alpha2, m.beta1, m.alpha1, m.beta2) / alpha1
    return Interpolation(
        holds=varies & (~noisy | (m.delta <= DELTA_ROUNDING * m.alpha1 * m.alpha3)),
        quiet=~varies & ~noisy,
        k=xp.where(noisy, m.alpha2 / alpha1, 0.0),
        c=xp.where(noisy, c, -m.beta2),
    )


@partial(xp.compiled, static=("depth",))
def support(
    moments: Moments, temperature: ArrayLike, depth: int, width: ArrayLike = 1, weight_decay: ArrayLike = 0.0
) -> Support:
    r"""Say which laws are invariant on v > 0, for data of every kind.

    For v < 0 give ``moments.mirror()``. JAX-traceable; the caller holds ``jax.enable_x64(True)``.

    Parameters
    ----------
    moments, temperature, width, weight_decay
        As in `SGDStationary`; they broadcast.
    depth
        Depth D >= 0.

    Returns
    -------
    Support
        The law, if there is one, its ends, the point mass away from zero, and whether zero attracts.

    Notes
    -----
    The noise of y = k x - c/x vanishes at k, where the drift has the sign of -c', :math:`c' = c + \gamma (d/k)^m`,
    m = (D-1)/(D+1) (depth 0: :math:`c + \gamma k/d`). On the side where k > 0 runs cross k in that direction only:
    c' > 0 leaves a law on (0, k), c' < 0 one on (k, infinity), and c' = 0 the point mass at k. At depth 1 zero
    attracts for :math:`T \ge (\beta_2 - \gamma)/\alpha_3`, at depth 2 and above with any weight decay.
    """
    m, data = oriented(moments, 1.0), interpolation(moments)
    heat, units, decay = to_float64(temperature), to_float64(width), to_float64(weight_decay)
    shape = np.broadcast_shapes(m.batch_shape, heat.shape, units.shape, decay.shape)
    warm = heat > 0
    if depth == 0:
        curvature = m.beta1 + decay / units
        sided, pull, pulls = data.holds, data.c + decay * data.k / units, xp.abs(decay * data.k / units)
        rest, collapses, stable = m.beta2 / curvature, xp.zeros((), bool), xp.ones((), bool)
    else:
        power = (depth - 1) / (depth + 1)
        k = xp.where(data.k > 0, data.k, 1.0)
        pulls = decay * (units / k) ** power
        sided, pull = data.holds & (data.k > 0), data.c + pulls
        room = m.beta2 - (decay if depth == 1 else 0.0)
        rest = xp.maximum(room, 0.0) / m.beta1
        collapses = heat * m.alpha3 >= room if depth == 1 else (m.beta2 <= 0) | (decay > 0)
        # Growth rate of |v - k| about the fixed point: the noise there only helps it to attract.
        noise_drift = heat * m.alpha1 * (depth + 1) * k * (k / units) ** power
        stable = m.beta1 - power * pulls / k + noise_drift > 0
        data = data._replace(quiet=data.quiet & (room > 0) & ((decay == 0) | (depth == 1)))
    level = sided & (xp.abs(pull) <= _C_ROUNDING * (xp.abs(data.k) * m.beta1 + xp.abs(m.beta2) + pulls))
    fixed = warm & ((level & stable) | data.quiet)
    above, below = sided & ~level & (pull < 0), sided & ~level & (pull > 0)
    proper = warm & ~level & ~data.quiet & (above | ~collapses)
    least = -np.inf if depth == 0 else 0.0
    parts = (
        proper,
        xp.where(above, data.k, least),
        xp.where(below, data.k, np.inf),
        fixed,
        xp.where(fixed, xp.where(data.quiet, rest, data.k), 0.0),
        warm & collapses & ~data.quiet,
    )
    return Support(*(xp.broadcast_to(part, shape) for part in parts))


@xp.compiled
def crossing_probability(start: ArrayLike, moments: Moments, temperature: ArrayLike, weight_decay: ArrayLike) -> Array:
    r"""Probability that balanced depth-1 SGD ends at or above k, not at zero, from ``start`` in (0, k).

    For data with c' <= 0 at T >= Tc, where `support` says that zero attracts beside k; the caller holds
    ``jax.enable_x64(True)``. Runs from k or above never fall below it: 1.

    Notes
    -----
    The scale function of the diffusion on (0, k) in x = v/k: :math:`s'(x) \propto x^{-1/2-q} (1-x)^q
    \exp(-\kappa x/(1-x))`, :math:`q = T_c/(2T)`, :math:`\kappa = |c'|/(2 T \alpha_1 k^2)`. At c' = 0 the probability
    is the regularised incomplete beta function :math:`I_{v/k}(1/2 - q, 1 + q)`.
    """
    m, data = oriented(moments, 1.0), interpolation(moments)
    decay, k = to_float64(weight_decay), xp.where(data.k > 0, data.k, 1.0)
    unit = 2 * to_float64(temperature) * xp.where(data.holds, m.alpha1, 1.0) * k**2
    q = (m.beta2 - decay) / unit
    pull = data.c + decay
    level = xp.abs(pull) <= _C_ROUNDING * (k * m.beta1 + xp.abs(m.beta2) + decay)
    kappa = xp.where(level, 0.0, xp.maximum(-pull, 0.0)) / unit
    power = xp.maximum(0.5 - q, np.finfo(np.float64).tiny)
    x = to_float64(start) / k
    log_x = xp.log(xp.where((x > 0) & (x < 1), x, 0.5))

    def scale(log_end: Array) -> Array:
        # z = (x/end)^power takes the singularity at 0 away; what is left at the ends suits double exponential nodes.
        ratio = log_end[..., None] + _LOG_NODES / power[..., None]
        rest = -xp.expm1(ratio)
        log_term = q[..., None] * xp.log(rest) - kappa[..., None] * xp.exp(ratio) / rest
        return xp.exp(power * log_end) * xp.sum(_WEIGHTS * xp.exp(log_term), -1)

    inside = xp.minimum(scale(log_x) / scale(xp.zeros_like(log_x)), 1.0)
    return xp.where(x >= 1, 1.0, xp.where(x > 0, inside, 0.0))


def oriented(moments: Moments, side: ArrayLike) -> Moments:
    """Moments in float64, mirrored where ``side``, which may be an array, is -1: v < 0 becomes v > 0."""
    leaves = moments.tree_flatten()[0]
    m = Moments.tree_unflatten(None, tuple(to_float64(leaf) for leaf in leaves))
    if any(getattr(leaf, "dtype", None) == np.float32 for leaf in leaves):
        m = _without_rounding(m)
    sign = to_float64(side)
    return Moments.tree_unflatten(None, (m.alpha1, sign * m.alpha2, m.alpha3, m.beta1, sign * m.beta2))


def _without_rounding(m: Moments) -> Moments:
    """Make Delta and c exactly zero where they are within the rounding of moments that came in float32."""
    alpha1, bound = xp.where(m.alpha1 > 0, m.alpha1, 1.0), m.alpha1 * m.alpha3
    silent = (bound > 0) & (m.delta <= _SINGLE_ROUNDING * bound)
    alpha2 = xp.where(silent, xp.sign(m.alpha2) * xp.sqrt(xp.where(silent, bound, 1.0)), m.alpha2)
    fitted = alpha2 / alpha1 * m.beta1
    fits = silent & (xp.abs(fitted - m.beta2) <= _SINGLE_ROUNDING * (xp.abs(fitted) + xp.abs(m.beta2)))
    return Moments.tree_unflatten(None, (m.alpha1, alpha2, m.alpha3, m.beta1, xp.where(fits, fitted, m.beta2)))

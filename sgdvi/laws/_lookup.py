"""A log density as polynomials on panels that the bits of a number name: for very many values of one law.

Panels are quarters of octaves of the distance from the nearest of up to three centres: zero, the maximum r, and k, the
minimum of the noise. The singularities of a log density lie at zero and about k, at least as far from a panel as its
centre is, and about r the panels resolve the narrowest law, so that one degree serves all of them.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.polynomial import chebyshev

from sgdvi.laws._density import Line
from sgdvi.laws._panels import apply

# Twelve nodes on a panel of a ninth of its distance from the singularities: an error of about 18^-12 of what varies.
_NODES = 12
_OCTAVES = 48
# An octave's quarter is the exponent with two more bits of the 52 of the fraction.
_SHIFT = 50
_FRACTION = (1 << _SHIFT) - 1
_PANELS = 1 + 4 * _OCTAVES
# Arms: above zero, right and left of r, right and left of k.
_ARMS = 5
_SIDES = np.array([1.0, 1.0, -1.0, 1.0, -1.0])
_CLOSEST = 2.0**-16
_x = -np.cos(np.pi * np.arange(_NODES) / (_NODES - 1))
_TO_SERIES = np.linalg.inv(chebyshev.chebvander(_x, _NODES - 1))
_TO_POWERS = np.stack(
    [np.pad(chebyshev.cheb2poly(row), (0, _NODES - 1 - j)) for j, row in enumerate(np.eye(_NODES))], axis=1
)


class Lookup(NamedTuple):
    """Polynomials of a normalised log density with respect to v."""

    r: Array
    k: Array
    used: Array
    """Whether k is a centre."""
    low: Array
    """Below half of this zero is the nearest centre; -infinity on the line."""
    base: Array
    """First panel of each arm but the core, as the leading bits of a distance, shape (_ARMS,)."""
    powers: Array
    """Coefficients, shape (_NODES, _ARMS _PANELS); nan where the log density itself must be asked."""


def build(density: Any, log_norm: Array) -> Lookup:
    """Evaluate the log density at the nodes of all panels."""
    noise, on_line = density.noise, isinstance(density, Line)
    r, steep = noise.r, noise.alpha1 > 0
    lead = jnp.where(steep, noise.alpha1, 1.0)
    k, gap = noise.alpha2 / lead, noise.root / lead
    distance = jnp.abs(noise.half_slope) / lead
    used = steep & (gap < 2 * distance) & (on_line | (k > 0))
    bulk = density.scale if on_line else r / jnp.sqrt(density.shape().curvature)
    near = jnp.minimum(bulk, jnp.where(steep, jnp.sqrt(noise.at_r / lead), jnp.inf)) / 8
    low, first = jnp.full_like(r, -jnp.inf), jnp.ones_like(r)
    if not on_line:
        near, low = jnp.minimum(near, r / 8), jnp.where(used, jnp.minimum(k, r), r)
        first = low / 2 * 2.0 ** (1 - _OCTAVES)
    beside = jnp.where(used, jnp.maximum(gap / 8, _CLOSEST * distance), 1.0)
    # Whole octaves, so that the core of an arm ends where its first panel begins.
    base = (_bits(jnp.stack([first, near, near, beside, beside])) >> (_SHIFT + 2)) << 2
    within = jnp.stack([jnp.zeros((), bool), jnp.ones((), bool), jnp.ones((), bool), *2 * [gap / 8 >= beside]])

    start = _floats((base[:, None] + np.arange(_PANELS - 1)) << _SHIFT)
    end = _floats((base[:, None] + np.arange(1, _PANELS)) << _SHIFT)
    start, end = jnp.concatenate([np.zeros((_ARMS, 1)), start], axis=1), jnp.concatenate([start[:, :1], end], axis=1)
    t = _SIDES[:, None, None] * (start[..., None] + (end - start)[..., None] * (_x + 1) / 2)
    # As a distance from r and from zero, each without the rounding of the other.
    from_k = noise.half_slope / -lead
    s = jnp.stack([t[0] - r, t[1], t[2], from_k + t[3], from_k + t[4]])
    v = jnp.stack([t[0], r + t[1], r + t[2], k + t[3], k + t[4]])
    inside = jnp.isfinite(v) if on_line else v > 0
    s, v = jnp.where(inside, s, 0.0), jnp.where(inside, v, r)
    value = density.log_density_from(s.reshape(-1), v.reshape(-1)).reshape(s.shape) - log_norm
    good = jnp.all(inside & jnp.isfinite(value), axis=-1)
    good = good & jnp.concatenate([within[:, None], np.ones((_ARMS, _PANELS - 1), bool)], axis=1)
    value = jnp.where(good[..., None], value, jnp.nan).reshape(-1, _NODES)
    return Lookup(r, k, used, low, base, apply(_TO_POWERS, apply(_TO_SERIES, value)).T)


def evaluate(table: Lookup, v: Array) -> Array:
    """Log density at v; nan where the table does not reach."""
    beside_k = table.used & ((v - (table.r + table.k) / 2) * (table.k - table.r) > 0)
    above_zero = v < table.low / 2
    t = jnp.where(above_zero, v, v - jnp.where(beside_k, table.k, table.r))
    arm = jnp.where(above_zero, 0, jnp.where(beside_k, 3, 1) + (t < 0))
    base = jnp.where(above_zero, table.base[0], jnp.where(beside_k, table.base[3], table.base[1]))
    size = jnp.abs(t)
    bits = _bits(size)
    panel = (bits >> _SHIFT) - base + 1
    core = 2 * size * (1 / _floats(base << _SHIFT)) - 1
    place = jnp.where(panel > 0, (bits & _FRACTION).astype(v.dtype) * (2.0 / (1 << _SHIFT)) - 1, core)
    index = (arm * _PANELS + jnp.clip(panel, 0, _PANELS - 1)).astype(jnp.int32)
    value = jnp.zeros_like(v)
    for powers in table.powers[::-1]:
        value = value * place + powers.at[index].get(mode="promise_in_bounds", wrap_negative_indices=False)
    return jnp.where(panel < _PANELS, value, jnp.nan)


def _bits(x: Array) -> Array:
    return jax.lax.bitcast_convert_type(x, jnp.int64)


def _floats(bits: Array) -> Array:
    return jax.lax.bitcast_convert_type(bits, jnp.float64)

"""A log density as polynomials on panels that the bits of a number name: for very many values of a law.

Panels are octaves of the distance from the nearest of up to three centres: zero, the maximum r, and k, the minimum of
the noise. The singularities of a log density lie at zero and about k, at least as far from a panel as its centre is,
and about r the panels resolve the narrowest law, so that one degree serves all of them.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.polynomial import chebyshev

from sgdvi.laws._engine.deep import Deep
from sgdvi.laws._engine.density import Line

# On an octave, a third of its distance from the singularities: an error of about 5.8^-18 of what varies.
_NODES = 18
PANELS = 88
# Values from which on the table pays for itself.
WORTH = 4 * _NODES * PANELS
# An octave is the exponent of a number, above the 52 bits of the fraction.
_SHIFT = 52
_BIAS = 1023
_FRACTION = (1 << _SHIFT) - 1
# Arms: above zero, right and left of r, right and left of k. Each has a core, its octaves, and a panel of nan.
_SIDES = np.array([1.0, 1.0, -1.0, 1.0, -1.0])
_BESIDE_PANELS = 2
_CLOSEST = 2.0**-16
# Rounding must not take a value past the last panel of its arm.
_BEYOND = 1 + 2.0**-40
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
    ends: Array
    """Ends of the support, shape (2,)."""
    scale: Array
    """Factor of the distances on each arm, shape (5,)."""
    base: Array
    """Exponent of such a distance at which each arm's core ends, shape (5,)."""
    start: Array
    """Place of each arm's core among the panels, shape (5,)."""
    stop: Array
    """Place of each arm's panel of nan, shape (5,)."""
    powers: Array
    """Coefficients, shape (_NODES, PANELS); nan where the log density itself must be asked."""


def build(density: Any, log_norm: Array) -> Lookup:
    """Evaluate the log density at the nodes of all panels."""
    noise, on_line = density.noise, isinstance(density, Line)
    r, steep, never = noise.r, noise.alpha1 > 0, jnp.full_like(noise.r, jnp.inf)
    zero = jnp.zeros_like(r)
    lead = jnp.where(steep, noise.alpha1, 1.0)
    k, gap = noise.alpha2 / lead, noise.root / lead
    apart = jnp.abs(noise.half_slope) / lead
    # Roots of g further off the real axis are about as far from the panels of r as these are from r.
    used = steep & (gap < 2 * apart) & (on_line | (k > 0))
    above, silent = k > r, used & (noise.root == 0)
    ends = jnp.stack([jnp.where(silent & ~above, k, -never if on_line else zero), jnp.where(silent & above, k, never)])
    if isinstance(density, Deep):
        ends = jnp.stack([jnp.fmax(ends[0], density.to_v(density.floor)), ends[1]])  # nan where there is no law
        density = density._replace(floor=-never)

    # Cores, and how far from its centre each arm goes.
    bulk = density.scale if on_line else r / jnp.sqrt(density.shape().curvature)
    # sqrt(g(r)/alpha1) is the distance of the roots of g from r.
    near = jnp.minimum(bulk, jnp.where(steep, jnp.sqrt(noise.at_r / lead) / 4, jnp.inf))
    beside = jnp.where(used, jnp.maximum(gap / 4, _CLOSEST * apart), 1.0)
    low, to_zero = -never, never
    if not on_line:
        near, low = jnp.minimum(near, r / 4), jnp.where(used & ~above, k, r)
        to_zero = low / 2
    right = jnp.where(used & above, apart / 2, never), jnp.where(above, never, apart / 2)
    left = jnp.where(used & ~above, apart / 2, to_zero), jnp.where(above, apart / 2, to_zero)
    reach = jnp.stack([to_zero, right[0], left[0], right[1], left[1]])
    core = jnp.stack([zero, near, near, beside, beside])
    yes, no = jnp.ones((), bool), jnp.zeros((), bool)
    zero_arm = no if on_line else ~silent | above
    there = jnp.stack([zero_arm, yes, yes, used & ~(silent & above), used & (~silent | above)])
    within = jnp.stack([no, yes, yes, *2 * [gap / 4 >= beside]])

    # Octaves of a unit: the core of an arm without an end, else the whole arm, which ends where a panel does. Arms
    # without an end, and the one that ends in zero, share the panels that are left.
    endless = there & (jnp.isinf(reach) | (core == 0))
    unit = jnp.where(jnp.isinf(reach), core, reach * _BEYOND)
    count = (_bits(unit / core) >> _SHIFT) - _BIAS + 1
    taken = jnp.sum(jnp.where(there, jnp.where(endless, 0, count) + _BESIDE_PANELS, 0))
    rest = jnp.maximum((PANELS - taken) // jnp.maximum(jnp.sum(endless), 1), 0)
    count = jnp.where(there, jnp.where(endless, rest, count), -_BESIDE_PANELS)
    base = _BIAS - jnp.where(jnp.isinf(reach), 0, count)
    stop = jnp.cumsum(count + _BESIDE_PANELS) - 1
    start = stop - count - 1

    place = np.arange(PANELS)
    arm = jnp.sum(place[:, None] >= start[1:], axis=1)
    octave = place - start[arm]
    edges = _floats(((base[arm] + octave)[:, None] + np.array([-1, 0])) << _SHIFT)
    first = jnp.where(octave > 0, edges[:, 0], 0.0)
    size = first[:, None] + (edges[:, 1] - first)[:, None] * (_x + 1) / 2
    t = (_SIDES * unit)[arm][:, None] * size
    # As a distance from r and from zero, each without the rounding of the other.
    from_r = jnp.stack([-r, zero, zero, *2 * [noise.half_slope / -lead]])[arm][:, None]
    from_zero = jnp.stack([zero, r, r, k, k])[arm][:, None]
    s, v = from_r + t, from_zero + t
    inside = jnp.isfinite(v) if on_line else v > 0
    s, v = jnp.where(inside, s, 0.0), jnp.where(inside, v, r)
    # Computed once, here and below: the compiler would copy what is before into each of the loops that use it.
    s, v = jax.lax.optimization_barrier((s, v))
    value = density.log_density_from(s.reshape(-1), v.reshape(-1)).reshape(s.shape) - log_norm
    value = jax.lax.optimization_barrier(value)
    good = jnp.all(inside & jnp.isfinite(value), axis=-1)
    good = good & ((octave > 0) | within[arm]) & (place < stop[arm]) & (place < PANELS - 1)
    value = jnp.where(good[:, None], value, jnp.nan)
    powers = jnp.matmul(_TO_POWERS, jnp.matmul(_TO_SERIES, value.T))
    start, stop = jnp.clip(start, 0, PANELS - 1), jnp.clip(stop, 0, PANELS - 1)
    return Lookup(r, k, used, low, ends, 1 / unit, base, start, stop, powers)


def evaluate(table: Lookup, v: Array) -> tuple[Array, Array]:
    """Log density at v, nan where the table does not reach, and whether v lies in the support; 0 elsewhere."""
    beside_k = table.used & ((v - (table.r + table.k) / 2) * (table.k - table.r) > 0)
    above_zero = v < table.low / 2
    t = jnp.where(above_zero, v, v - jnp.where(beside_k, table.k, table.r))

    def of_arm(row: Array) -> Array:
        side = jnp.where(t < 0, row[2], row[1]), jnp.where(t < 0, row[4], row[3])
        return jnp.where(above_zero, row[0], jnp.where(beside_k, side[1], side[0]))

    base, size = of_arm(table.base), jnp.abs(t) * of_arm(table.scale)
    bits = _bits(size)
    octave = (bits >> _SHIFT) - base + 1
    # The reciprocal of a power of two has the opposite exponent; the fraction of a number is that of one in [1, 2).
    core = size * _floats((2 * _BIAS + 1 - base) << _SHIFT) - 1
    place = jnp.where(octave > 0, 2 * _floats((bits & _FRACTION) | (_BIAS << _SHIFT)) - 3, core)
    # Past its last octave an arm reads its panel of nan.
    index = jnp.minimum(of_arm(table.start) + jnp.maximum(octave, 0), of_arm(table.stop)).astype(jnp.int32)
    index, place = jax.lax.optimization_barrier((index, place))
    value = jnp.zeros_like(v)
    for powers in table.powers[::-1]:
        value = value * place + powers.at[index].get(mode="promise_in_bounds", wrap_negative_indices=False)
    inside = (v > table.ends[0]) & (v < table.ends[1])
    return jax.lax.optimization_barrier(jnp.where(inside, value, 0.0)), inside


def _bits(x: Array) -> Array:
    return jax.lax.bitcast_convert_type(x, jnp.int64)


def _floats(bits: Array) -> Array:
    return jax.lax.bitcast_convert_type(bits, jnp.float64)

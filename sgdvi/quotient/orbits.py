"""What a prior holds on orbits: its integral along them, by quadrature on grids that follow the integrand."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import logsumexp

from sgdvi.symmetry.chart import Component

# Orbits that are integrated have at most this many dimensions; with more, their coordinates are sampled.
MOST_DIMENSIONS = 2
# Log of the largest scale that is looked at, and log density below the maximum at which the integrand ends.
_FARTHEST, _DEPTH = 60.0, 40.0
_REFINEMENTS = 3
_SCAN = {1: 64, 2: 24}
_NODES = {1: 128, 2: 64}


class Prior(NamedTuple):
    """The log prior density of the parameters y, entry by entry, with all of them or some multiplied by f.

    Attributes
    ----------
    constant, linear, square
        It is constant + linear f - square f^2 where the law is normal, shape (P,); 0 elsewhere.
    other
        The log density where the law is another one, 0 elsewhere: (B, P) -> (B, P). None where all are normal.
    """

    constant: jax.Array
    linear: jax.Array
    square: jax.Array
    other: Callable[[jax.Array], jax.Array] | None


def log_masses(parts: Sequence[Component], prior: Prior, flat: jax.Array) -> jax.Array:
    r"""Return the log of the prior's density on the quotient, summed over components of one dimension k.

    .. math:: \log\Big(|\det E| \prod_i \Omega_i \sum_\sigma \int dt\, e^{t \cdot \mathrm{vol}}
              \prod_e p_e(\sigma_e e^{(E^\top t)_e} y_e)\Big)

    at the point y of the chart: with respect to the uniform law of the unit vectors (Omega: area of the sphere) and
    Lebesgue measure of the other coordinates.

    Parameters
    ----------
    parts
        Components with the same number k <= 2 of symmetries; none shares parameters with another.
    prior
        Prior at the point.
    flat
        Parameters on the chart, shape (P,).
    """
    dimension = len(parts[0].names)
    log_density = _integrand(parts, prior, flat)
    reach = _FARTHEST / np.array([np.abs(part.exponents).max() for part in parts])
    low = jnp.broadcast_to(-reach[:, None], (len(parts), dimension)).astype(flat.dtype)
    fixed = lax.stop_gradient
    high = -low
    for _ in range(_REFINEMENTS):
        low, high = _narrowed(low, high, fixed(log_density(_nodes(low, high, _SCAN[dimension]))), dimension)
    # the grid is not differentiated: the rule is exact to rounding wherever it stands
    low, high = fixed(low), fixed(high)
    count = _NODES[dimension]
    total = logsumexp(log_density(_nodes(low, high, count)), axis=0)
    cells = jnp.log((high - low) / (count - 1)).sum(-1)
    return (total + cells).sum() + sum(log_area(part) for part in parts)


def _integrand(parts: Sequence[Component], prior: Prior, flat: jax.Array) -> Callable[[jax.Array], jax.Array]:
    """Return the log of the integrand, summed over the signs, as a function of nodes (B, C, k): shape (B, C)."""
    kinds = [np.unique(part.exponents, axis=1, return_inverse=True) for part in parts]
    most, counts = max(powers.shape[1] for powers, _ in kinds), [len(part.patterns) for part in parts]
    powers = np.zeros((len(parts), most, len(parts[0].names)))
    entries = np.concatenate([part.entries for part in parts])
    # which power of which component an entry has, and its sign in each pattern
    slot = np.concatenate([number * most + inverse.ravel() for number, (_, inverse) in enumerate(kinds)])
    signs = np.ones((max(counts), len(entries)))
    absent = np.zeros((max(counts), len(parts)))
    start = 0
    for number, (part, (unique, _)) in enumerate(zip(parts, kinds, strict=True)):
        powers[number, : unique.shape[1]] = unique.T
        signs[: counts[number], start : start + len(part.entries)] = part.patterns
        absent[counts[number] :, number] = -np.inf
        start += len(part.entries)
    slots, dtype = len(parts) * most, flat.dtype
    shape = (len(parts), most)

    def summed(values: jax.Array) -> jax.Array:
        return jnp.zeros(slots, dtype).at[slot].add(values[entries].astype(dtype)).reshape(shape)

    def with_signs(pattern: np.ndarray) -> jax.Array:
        return jnp.zeros(flat.shape[0], dtype).at[entries].set(jnp.asarray(pattern, dtype))

    constant, square = summed(prior.constant).sum(-1), summed(prior.square)
    linear = [summed(prior.linear * with_signs(pattern)) for pattern in signs]
    owner = slot // most
    volume = jnp.asarray(np.stack([part.volume for part in parts]), dtype)
    powers_, signs_ = jnp.asarray(powers, dtype), jnp.asarray(signs, dtype)

    def log_density(at: jax.Array) -> jax.Array:
        scale = jnp.exp(jnp.einsum("bck,cak->bca", at, powers_))
        # where no law is normal the scales may be infinite in float32
        base = constant + (at * volume).sum(-1) - (square * jnp.where(square > 0, scale, 0.0) ** 2).sum(-1)
        found = []
        for pattern, slope, missing in zip(signs_, linear, absent, strict=True):
            value = base + (slope * jnp.where(slope != 0, scale, 0.0)).sum(-1) + missing
            if prior.other is not None:
                points = jnp.broadcast_to(flat, (at.shape[0], flat.shape[0]))
                moved = pattern * scale.reshape(-1, slots)[:, slot] * flat[entries]
                # no product with a matrix of zeros and ones: far out the law is -inf, above all in float32
                value = value.at[:, owner].add(prior.other(points.at[:, entries].set(moved))[:, entries])
            found.append(value)
        return found[0] if len(found) == 1 else logsumexp(jnp.stack(found), axis=0)

    return log_density


def log_area(part: Component) -> float:
    """Log of |det E| and of the areas of the unit spheres, of which a single sign is counted by the patterns."""
    areas = sum(log_sphere(len(pivot)) for pivot in part.directions)
    return float(np.linalg.slogdet(part.pivot_exponents)[1]) + areas


def log_sphere(size: int) -> float:
    """Log of the area of the unit sphere in R^size."""
    return math.log(2) + size / 2 * math.log(math.pi) - math.lgamma(size / 2)


def _nodes(low: jax.Array, high: jax.Array, count: int) -> jax.Array:
    """Grids, shape (count^k, C, k)."""
    share = jnp.linspace(0.0, 1.0, count, dtype=low.dtype)
    dimension = low.shape[1]
    grid = jnp.stack(jnp.meshgrid(*[share] * dimension, indexing="ij"), axis=-1).reshape(-1, 1, dimension)
    return low + (high - low) * grid


def _narrowed(low: jax.Array, high: jax.Array, values: jax.Array, dimension: int) -> tuple[jax.Array, jax.Array]:
    """Return the smallest box of the grid around what is not negligible."""
    count = _SCAN[dimension]
    inside = values > values.max(0) - _DEPTH
    cube = inside.reshape(*[count] * dimension, -1)
    ends = []
    for axis in range(dimension):
        along = cube.any(tuple(other for other in range(dimension) if other != axis))
        first, last = along.argmax(0), count - 1 - along[::-1].argmax(0)
        ends.append((jnp.maximum(first - 1, 0), jnp.minimum(last + 1, count - 1)))
    step = (high - low) / (count - 1)
    first, last = (jnp.stack([end[side] for end in ends], axis=-1) for side in (0, 1))
    return low + first * step, low + last * step

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
from sgdvi.symmetry.orbits import FARTHEST, REFINEMENTS, narrowed

# Orbits that are integrated have at most this many dimensions; with more, their coordinates are sampled.
MOST_DIMENSIONS = 2
_SCAN = {1: 64, 2: 24}
_NODES = {1: 128, 2: 64}


class Prior(NamedTuple):
    """The log prior density of the parameters y, entry by entry, with all of them or some multiplied by f.

    Attributes
    ----------
    constant, linear, square
        It is constant + linear f - square f^2 where the law is normal, shape (P,); 0 elsewhere. linear is None where
        every normal law has mean 0, so that no sign matters.
    other
        The log density where the law is another one, 0 elsewhere: (B, P) -> (B, P). None where all are normal.
    """

    constant: jax.Array
    linear: jax.Array | None
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
    # nothing is stretched by more than exp(FARTHEST)
    reach = FARTHEST / np.array([np.abs(part.exponents).max() for part in parts])
    low = jnp.broadcast_to(-reach, (dimension, len(parts))).astype(flat.dtype)
    fixed = lax.stop_gradient
    high = -low
    for _ in range(REFINEMENTS):
        low, high = _narrowed(low, high, fixed(log_density(_axes(low, high, _SCAN[dimension]))))
    # the grid is not differentiated: the rule is exact to rounding wherever it stands
    low, high = fixed(low), fixed(high)
    count = _NODES[dimension]
    # equidistant nodes with equal weights converge exponentially where the integrand is smooth and nothing at its ends
    total = logsumexp(log_density(_axes(low, high, count)), axis=tuple(range(dimension)))
    cells = jnp.log((high - low) / (count - 1)).sum(0)
    return (total + cells).sum() + sum(log_area(part) for part in parts)


def _integrand(parts: Sequence[Component], prior: Prior, flat: jax.Array) -> Callable[[Sequence[jax.Array]], jax.Array]:
    """Return the log of the integrand, summed over the signs, on the grids with k axes (N, C): shape (N, ..., N, C)."""
    # entries with the same exponents are stretched alike: one scale for each kind, however many entries there are
    kinds = [np.unique(part.exponents, axis=1, return_inverse=True) for part in parts]
    most, counts = max(powers.shape[1] for powers, _ in kinds), [len(part.patterns) for part in parts]
    powers = np.zeros((len(parts), most, len(parts[0].names)))
    entries = np.concatenate([part.entries for part in parts])
    # which power of which component an entry has, and its sign in each pattern
    slot = np.concatenate([number * most + inverse.ravel() for number, (_, inverse) in enumerate(kinds)])
    signs = np.ones((max(counts), len(entries)))
    # components with fewer patterns of signs than the others are filled up with patterns of no mass
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
    # signs that are all equally probable are counted, not summed over
    equal = prior.linear is None and prior.other is None
    slopes = [None if prior.linear is None else summed(prior.linear * with_signs(pattern)) for pattern in signs]
    patterns = list(zip(absent, signs.astype(dtype), slopes, strict=True))
    owner = slot // most
    volume, powers = np.stack([part.volume for part in parts]).astype(dtype), powers.astype(dtype)

    def log_density(axes: Sequence[jax.Array]) -> jax.Array:
        # exponentials on the axes and products on the grid: far fewer exponentials
        scales = [
            _outer(jnp.multiply, [jnp.exp(at * powers[:, kind, k]) for k, at in enumerate(axes)])
            for kind in range(most)
        ]
        value = constant + _outer(jnp.add, [at * volume[:, k] for k, at in enumerate(axes)])
        # one kind after the other: a sum over a short last axis takes ten times as long; and where no law is normal
        # the scales may be infinite in float32
        for kind, scale in enumerate(scales):
            value = value - square[:, kind] * jnp.where(square[:, kind] > 0, scale, 0.0) ** 2
        if equal:
            return value + np.log(counts).astype(dtype)
        by_pattern = [value + missing + signed(scales, pattern, slope) for missing, pattern, slope in patterns]
        return logsumexp(jnp.stack(by_pattern), axis=0)

    def signed(scales: Sequence[jax.Array], pattern: np.ndarray, slope: jax.Array | None) -> jax.Array:
        total = jnp.zeros((), dtype)
        if slope is not None:
            for kind, scale in enumerate(scales):
                total = total + slope[:, kind] * jnp.where(slope[:, kind] != 0, scale, 0.0)
        if prior.other is not None:
            stretch = jnp.stack(scales, axis=-1)
            lead = stretch.shape[:-2]
            moved = pattern * stretch.reshape(-1, slots)[:, slot] * flat[entries]
            points = jnp.broadcast_to(flat, (len(moved), flat.shape[0])).at[:, entries].set(moved)
            # no product with a matrix of zeros and ones: far out the law is -inf, above all in float32
            terms = prior.other(points)[:, entries].reshape(*lead, -1)
            total = total + jnp.zeros((*lead, len(parts)), dtype).at[..., owner].add(terms)
        return total

    return log_density


def _outer(operation: Callable[[jax.Array, jax.Array], jax.Array], along: Sequence[jax.Array]) -> jax.Array:
    """Combine arrays (N, ...) along the axes of a grid to one on the grid, (N, ..., N, ...)."""
    total = along[0]
    for number, other in enumerate(along[1:], start=1):
        total = operation(jnp.expand_dims(total, number), other)
    return total


def log_area(part: Component) -> float:
    """Log of |det E| and of the areas of the unit spheres, of which a single sign is counted by the patterns."""
    # along the orbit the logs of the pivots' norms move by E t: hence |det E|
    areas = sum(log_sphere(len(pivot)) for pivot in part.directions)
    return float(np.linalg.slogdet(part.pivot_exponents)[1]) + areas


def log_sphere(size: int) -> float:
    """Log of the area of the unit sphere in R^size."""
    return math.log(2) + size / 2 * math.log(math.pi) - math.lgamma(size / 2)


def _axes(low: jax.Array, high: jax.Array, count: int) -> list[jax.Array]:
    """Axes of grids over the boxes between low and high, both (k, C): k of shape (count, C)."""
    share = jnp.linspace(0.0, 1.0, count, dtype=low.dtype)[:, None]
    return list(low[:, None] + (high - low)[:, None] * share)


def _narrowed(low: jax.Array, high: jax.Array, values: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the smallest boxes of the grid around what is not negligible; values of shape (N, ..., N, C)."""
    dimension = values.ndim - 1
    others = [tuple(other for other in range(dimension) if other != axis) for axis in range(dimension)]
    ends = [narrowed(low[axis], high[axis], values.max(over)) for axis, over in enumerate(others)]
    return jnp.stack([end[0] for end in ends]), jnp.stack([end[1] for end in ends])

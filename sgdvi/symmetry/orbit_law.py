"""The law that normal priors have on an orbit, drawn from under JAX."""

import jax
import jax.numpy as jnp
from jax import lax

# Log of the largest scale that is looked at; log density below the maximum that is negligible.
_FARTHEST, _DEPTH = 60.0, 40.0
_SCAN, _REFINEMENTS, _NODES = 33, 3, 129


def draw_step(key: jax.Array, powers: jax.Array, squares: jax.Array, volume: float) -> jax.Array:
    """Draw s with the density proportional to exp(volume s - sum_e e^{2 c_e s} q_e / 2), by its cumulative sums.

    Parameters
    ----------
    key
        JAX key.
    powers
        Exponents c_e, shape (E,).
    squares
        Sums of squares q_e over the parameters with each exponent, divided by the variances of their priors, (E,).
    volume
        Sum of the exponents over all parameters.
    """
    share = jnp.linspace(0.0, 1.0, _SCAN, dtype=squares.dtype)
    high = jnp.asarray(_FARTHEST / jnp.abs(powers).max(), squares.dtype)
    low = -high

    def log_density(at: jax.Array) -> jax.Array:
        return volume * at - (jnp.exp(2 * powers * at[:, None]) * squares).sum(-1) / 2

    for _ in range(_REFINEMENTS):
        values = log_density(low + (high - low) * share)
        inside = values > values.max() - _DEPTH
        first, last = jnp.argmax(inside), _SCAN - 1 - jnp.argmax(inside[::-1])
        step = (high - low) / (_SCAN - 1)
        low, high = low + jnp.maximum(first - 1, 0) * step, low + jnp.minimum(last + 1, _SCAN - 1) * step
    grid = jnp.linspace(low, high, _NODES)
    values = log_density(grid)
    heights = jnp.exp(values - values.max())
    below = jnp.concatenate([jnp.zeros(1, heights.dtype), jnp.cumsum(heights[1:] + heights[:-1])])
    mass = below[-1] * jax.random.uniform(key, dtype=below.dtype)
    # within a cell the density is a straight line, and the cumulative sum a parabola
    cell = jnp.clip(jnp.searchsorted(below, mass, side="right") - 1, 0, _NODES - 2)
    start, rise, left = heights[cell], heights[cell + 1] - heights[cell], mass - below[cell]
    root = jnp.sqrt(jnp.maximum(start**2 + rise * left, 0.0))
    along = jnp.where(left > 0, left / jnp.maximum(start + root, jnp.finfo(below.dtype).tiny), 0.0)
    return lax.stop_gradient(grid[cell] + jnp.clip(along, 0.0, 1.0) * (grid[1] - grid[0]))

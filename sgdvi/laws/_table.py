"""A normalised law on panels: cumulative distribution, quantiles and moments of a `Density`."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from sgdvi.laws._density import Density
from sgdvi.laws._panels import TO_INTEGRAL, TO_SERIES, WEIGHTS, apply, clenshaw, locate, panel_edges, panel_nodes, rows

# Bisection halves the bracket and Newton squares the error: enough for 16-node panels in either case.
_STEPS = 12


class Table(NamedTuple):
    """Panels of one law, normalised to total mass one."""

    log_norm: Array
    """Log of the integral of the density over z."""
    edges: Array
    """Edges in z, shape (K + 1,)."""
    series: Array
    """Chebyshev series of the density on each panel, times its half width, shape (K, NODES)."""
    integral: Array
    """Chebyshev series of the mass from the panel's left edge, shape (K, NODES + 1)."""
    below: Array
    """Mass to the left of each edge, shape (K + 1,)."""
    above: Array
    """Mass to the right of each edge, shape (K + 1,)."""
    left_rate: Array
    """Rate of the left tail in z: the mass below z falls like exp(rate z)."""
    right_rate: Array
    """Rate of the right tail in z: the mass above z falls like exp(-rate z)."""


def build(density: Density) -> Table:
    """Integrate a density panel by panel."""
    # The integrals do not depend on where the panels are, so nothing of their placement is differentiated.
    fixed = jax.lax.stop_gradient(density)
    edges = panel_edges(fixed.log_density, fixed.shape())
    nodes, half = panel_nodes(edges)
    values = jnp.exp(density.log_density(nodes)) * half[:, None]
    masses = jnp.sum(values * WEIGHTS, axis=-1)
    first, last = edges[0], edges[-1]
    left = density.left_mass(first)
    right = jnp.exp(density.log_density(last)) / -density.slope(last)
    below = left + jnp.concatenate([jnp.zeros(1), jnp.cumsum(masses)])
    above = right + jnp.concatenate([jnp.cumsum(masses[::-1])[::-1], jnp.zeros(1)])
    norm = below[-1] + right
    return Table(
        log_norm=jnp.log(norm),
        edges=edges,
        series=apply(TO_SERIES, values) / norm,
        integral=apply(TO_INTEGRAL, values) / norm,
        below=below / norm,
        above=above / norm,
        left_rate=jnp.exp(density.log_density(first)) / left,
        right_rate=-density.slope(last),
    )


def cdf(table: Table, z: Array) -> Array:
    """Mass at or below z."""
    index, s = locate(table.edges, z)
    inner = rows(table.below, index) + clenshaw(rows(table.integral, index), s)
    left = table.below[0] * jnp.exp(table.left_rate * jnp.minimum(z - table.edges[0], 0.0))
    right = table.above[-1] * jnp.exp(-table.right_rate * jnp.maximum(z - table.edges[-1], 0.0))
    value = jnp.where(z < table.edges[0], left, jnp.where(z > table.edges[-1], 1 - right, inner))
    return jnp.clip(value, 0.0, 1.0)


def icdf(table: Table, q: Array) -> Array:
    """Coordinate z below which the mass is q: Newton steps inside a bracket, on the panel's own series."""
    index = jnp.clip(jnp.searchsorted(table.below, q, side="right") - 1, 0, len(table.edges) - 2)
    integral, series = rows(table.integral, index), rows(table.series, index)
    start = rows(table.below, index)
    target = q - start
    low, high = -jnp.ones_like(q), jnp.ones_like(q)
    guess = jax.lax.stop_gradient(target / (table.below[index + 1] - start))
    s = jnp.clip(2 * guess - 1, -1.0, 1.0)

    def step(_: int, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        s, low, high = state
        excess = clenshaw(integral, s) - target
        low, high = jnp.where(excess < 0, s, low), jnp.where(excess < 0, high, s)
        newton = s - excess / clenshaw(series, s)
        return jnp.where((newton >= low) & (newton <= high), newton, (low + high) / 2), low, high

    s, _, _ = jax.lax.fori_loop(0, _STEPS, step, jax.lax.stop_gradient((s, low, high)))
    s = jax.lax.stop_gradient(s)
    # The last Newton step, with its gradient: dz/dq = 1/p and dz/dtheta = -(dF/dtheta)/p.
    s = s + (target - clenshaw(integral, s)) / jax.lax.stop_gradient(clenshaw(series, s))
    half = (table.edges[index + 1] - table.edges[index]) / 2
    inner = table.edges[index] + half * (1 + s)
    lowest, highest = table.below[0], 1 - table.above[-1]
    left = table.edges[0] + jnp.log(jnp.minimum(q / lowest, 1.0)) / table.left_rate
    right = table.edges[-1] - jnp.log(jnp.minimum((1 - q) / table.above[-1], 1.0)) / table.right_rate
    value = jnp.where(q < lowest, left, jnp.where(q > highest, right, inner))
    return jnp.where((q >= 0) & (q <= 1), value, jnp.nan)


def expectation(table: Table, density: Density, values: Array, left: Array, right: Array) -> Array:
    """Integral of a function against the law.

    ``values`` are the function's values at the panels' nodes; ``left`` is its mean on the left tail and
    ``right`` the integral over the right tail of the function times exp(log density), not yet normalised.
    """
    nodes, half = panel_nodes(table.edges)
    weights = jnp.exp(density.log_density(nodes) - table.log_norm) * half[:, None] * WEIGHTS
    return jnp.sum(weights * values) + left * table.below[0] + right * jnp.exp(-table.log_norm)

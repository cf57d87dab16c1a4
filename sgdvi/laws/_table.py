"""A normalised law on panels: its mass, cumulative distribution and quantiles, from a density in z."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from sgdvi.laws._density import Integrand, exponential_mass
from sgdvi.laws._panels import (
    TO_INTEGRAL,
    TO_SERIES,
    WEIGHTS,
    apply,
    buckets,
    clenshaw,
    locate,
    panel_edges,
    panel_nodes,
    rows,
)

# Bisection halves the bracket and Newton squares the error: enough for 16-node panels in either case.
_STEPS = 12


class Masses(NamedTuple):
    """A density integrated panel by panel; masses are shares of the whole."""

    log_norm: Array
    """Log of the integral of the density over z."""
    edges: Array
    """Edges in z, shape (K + 1,)."""
    nodes: Array
    """Nodes in z, shape (K, NODES)."""
    level: Array
    """Log density at the nodes, not normalised."""
    mass: Array
    """Mass that each node stands for, shape (K, NODES)."""
    left: Array
    """Mass below the first edge."""
    right: Array
    """Mass above the last edge."""
    left_rate: Array
    """Rate of the left tail in z: the mass below z falls like exp(rate z)."""
    right_rate: Array
    """Rate of the right tail in z: the mass above z falls like exp(-rate z)."""


class Table(NamedTuple):
    """Piecewise Chebyshev series of a normalised density and of its integral."""

    edges: Array
    starts: Array
    """`buckets` of the edges."""
    series: Array
    """Series of the density on each panel, times its half width, shape (K, NODES)."""
    integral: Array
    """Series of the mass from the panel's left edge, shape (K, NODES + 1)."""
    below: Array
    """Mass to the left of each edge, shape (K + 1,)."""
    above: Array
    """Mass to the right of each edge, shape (K + 1,)."""
    left_rate: Array
    right_rate: Array


def integrate(density: Integrand) -> Masses:
    """Place panels and integrate the density on them, tails included."""
    # The integrals do not depend on where the panels are, so nothing of their placement is differentiated.
    fixed = jax.lax.stop_gradient(density)
    edges = panel_edges(fixed.log_density, fixed.shape())
    nodes, half = panel_nodes(edges)
    level = density.log_density(nodes)
    values = jnp.exp(level) * half[:, None] * WEIGHTS
    first, last = edges[0], edges[-1]
    left = density.left_mass(first)
    last_level, last_slope = density.log_density(last), density.slope(last)
    right = exponential_mass(last_level, -last_slope)
    norm = left + jnp.sum(values) + right
    return Masses(
        log_norm=jnp.log(norm),
        edges=edges,
        nodes=nodes,
        level=level,
        mass=values / norm,
        left=left / norm,
        right=right / norm,
        left_rate=jnp.where(left > 0, density.left_rate(first), 1.0),
        right_rate=jnp.where(right > 0, -last_slope, 1.0),
    )


def tabulate(masses: Masses) -> Table:
    """Make the table of a density that was integrated."""
    scaled = masses.mass / WEIGHTS
    panels = jnp.sum(masses.mass, axis=-1)
    return Table(
        edges=masses.edges,
        starts=buckets(jax.lax.stop_gradient(masses.edges)),
        series=apply(TO_SERIES, scaled),
        integral=apply(TO_INTEGRAL, scaled),
        below=masses.left + jnp.concatenate([jnp.zeros(1), jnp.cumsum(panels)]),
        above=masses.right + jnp.concatenate([jnp.cumsum(panels[::-1])[::-1], jnp.zeros(1)]),
        left_rate=masses.left_rate,
        right_rate=masses.right_rate,
    )


def masses_about(table: Table, z: Array) -> tuple[Array, Array]:
    """Mass at or below z and mass above z, each to its own relative accuracy within the panels."""
    index, s = locate(table.edges, table.starts, z)
    part = clenshaw(rows(table.integral, index), s)
    left = table.below[0] * jnp.exp(table.left_rate * jnp.minimum(z - table.edges[0], 0.0))
    right = table.above[-1] * jnp.exp(-table.right_rate * jnp.maximum(z - table.edges[-1], 0.0))
    under, over = z < table.edges[0], z > table.edges[-1]
    below = jnp.where(under, left, jnp.where(over, 1 - right, rows(table.below, index) + part))
    above = rows(table.above, index) - part
    return jnp.clip(below, 0.0, 1.0), jnp.clip(jnp.where(under, 1 - left, jnp.where(over, right, above)), 0.0, 1.0)


def icdf(table: Table, lower: Array, upper: Array) -> Array:
    """Coordinate z with the masses lower and upper on its two sides, from the smaller of the two.

    Newton steps inside a bracket, on the panel's own series.
    """
    count = len(table.edges) - 1
    from_left = lower <= upper
    index = jnp.where(
        from_left,
        jnp.searchsorted(table.below, lower, side="right") - 1,
        count - jnp.searchsorted(table.above[::-1], upper, side="right"),
    )
    index = jnp.clip(index, 0, count - 1)
    integral, series = rows(table.integral, index), rows(table.series, index)
    mass = clenshaw(integral, jnp.ones_like(lower))
    right = mass - (upper - rows(table.above[1:], index))
    target = jnp.where(from_left, lower - rows(table.below, index), right)
    low, high = -jnp.ones_like(lower), jnp.ones_like(lower)
    guess = jax.lax.stop_gradient(target / jnp.where(mass > 0, mass, 1.0))
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
    density = jax.lax.stop_gradient(clenshaw(series, s))
    s = s + (target - clenshaw(integral, s)) / jnp.where(density > 0, density, 1.0)
    half = (table.edges[index + 1] - table.edges[index]) / 2
    inner = table.edges[index] + half * (1 + s)
    first, last = table.edges[0], table.edges[-1]
    left = first + _log_share(lower, table.below[0]) / table.left_rate
    right = last - _log_share(upper, table.above[-1]) / table.right_rate
    value = jnp.where(lower < table.below[0], left, jnp.where(upper < table.above[-1], right, inner))
    return jnp.where((lower >= 0) & (upper >= 0), value, jnp.nan)


def _log_share(part: Array, whole: Array) -> Array:
    """Log of part/whole where part is the smaller, else 0."""
    beyond = part < whole
    return jnp.log(jnp.where(beyond, part, 1.0)) - jnp.log(jnp.where(beyond, whole, 1.0))

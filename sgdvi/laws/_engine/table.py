"""A normalised law on panels: its mass, cumulative distribution and quantiles, from a density in z."""

from typing import NamedTuple

import numpy as np
from jax import Array

from sgdvi.laws._engine import xp
from sgdvi.laws._engine.density import Integrand, exponential_mass
from sgdvi.laws._engine.panels import (
    TO_INTEGRAL,
    TO_SERIES,
    WEIGHTS,
    apply,
    buckets,
    clenshaw,
    clenshaw_at,
    locate,
    panel_edges,
    panel_nodes,
    rows,
)

# Bisection halves the bracket and Newton squares the error: enough for 16-node panels in either case.
_STEPS = 12


class Quadrature(NamedTuple):
    """Panels that resolve a density, its integral, and what lies beyond them; masses are shares of the whole."""

    log_norm: Array
    """Log of the integral of the density over z."""
    edges: Array
    """Edges in z, shape (K + 1,)."""
    left: Array
    """Mass below the first edge."""
    right: Array
    """Mass above the last edge."""
    left_rate: Array
    """Rate of the left tail in z: the mass below z falls like exp(rate z)."""
    right_rate: Array
    """Rate of the right tail in z: the mass above z falls like exp(-rate z)."""
    end_levels: Array
    """Log density at the first and the last edge, not normalised."""
    levels: Array | None
    """The same at the nodes, shape (K, NODES), where it was kept: another copy of the density takes long to compile."""


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


def integrate(density: Integrand, keep_levels: bool = False) -> Quadrature:
    """Place panels and integrate the density on them, tails included."""
    # The integrals do not depend on where the panels are, so nothing of their placement is differentiated.
    fixed = xp.stop_gradient(density)
    edges = panel_edges(fixed.log_density, fixed.shape())
    ends = xp.stack([edges[0], edges[-1]])
    nodes, half = panel_nodes(edges)
    # Nodes and ends in one go: a density takes long to compile.
    # Computed once: the compiler would copy them into each of the loops that use them.
    places = xp.once(xp.concatenate([nodes.reshape(-1), ends]))
    levels = xp.once(density.log_density(places))
    level, end_levels, slopes = levels[:-2].reshape(nodes.shape), levels[-2:], density.slope(ends)
    left = density.left_mass(ends[0], end_levels[0], slopes[0])
    right = exponential_mass(end_levels[1], -slopes[1])
    norm = left + xp.sum(xp.exp(level) * half[:, None] * WEIGHTS) + right
    return Quadrature(
        log_norm=xp.log(norm),
        edges=edges,
        left=left / norm,
        right=right / norm,
        # Others divide by the rates: any number will do where there is no tail.
        left_rate=xp.where(left > 0, density.left_rate(slopes[0]), 1.0),
        right_rate=xp.where(right > 0, -slopes[1], 1.0),
        end_levels=end_levels,
        levels=level if keep_levels else None,
    )


def node_masses(density: Integrand, quadrature: Quadrature) -> tuple[Array, Array, Array]:
    """Nodes in z, log density there (not normalised), and the mass that each stands for, all (K, NODES)."""
    nodes, half = panel_nodes(quadrature.edges)
    level = quadrature.levels
    if level is None:
        level = density.log_density(nodes.reshape(-1)).reshape(nodes.shape)
    return nodes, level, xp.exp(level - quadrature.log_norm) * half[:, None] * WEIGHTS


def tabulate(density: Integrand, quadrature: Quadrature) -> Table:
    """Make the table of a density that was integrated."""
    _, _, mass = node_masses(density, quadrature)
    scaled, panels = mass / WEIGHTS, xp.sum(mass, axis=-1)
    return Table(
        edges=quadrature.edges,
        starts=buckets(xp.stop_gradient(quadrature.edges)),
        series=apply(TO_SERIES, scaled),
        integral=apply(TO_INTEGRAL, scaled),
        below=quadrature.left + xp.concatenate([np.zeros(1), xp.cumsum(panels)]),
        # From the right, not 1 - below: far out that would hold no digit.
        above=quadrature.right + xp.concatenate([xp.cumsum(panels[::-1])[::-1], np.zeros(1)]),
        left_rate=quadrature.left_rate,
        right_rate=quadrature.right_rate,
    )


def masses_about(table: Table, z: Array) -> tuple[Array, Array]:
    """Mass at or below z and mass above z, each to its own relative accuracy within the panels."""
    index, s = locate(table.edges, table.starts, z)
    part = clenshaw_at(table.integral, index, s)
    # Beyond the panels a tail is exponential in z; at depth 1 and above that is a power of v.
    left = table.below[0] * xp.exp(table.left_rate * xp.minimum(z - table.edges[0], 0.0))
    right = table.above[-1] * xp.exp(-table.right_rate * xp.maximum(z - table.edges[-1], 0.0))
    under, over = z < table.edges[0], z > table.edges[-1]
    below = xp.where(under, left, xp.where(over, 1 - right, rows(table.below, index) + part))
    above = rows(table.above, index) - part
    return xp.clip(below, 0.0, 1.0), xp.clip(xp.where(under, 1 - left, xp.where(over, right, above)), 0.0, 1.0)


def icdf(table: Table, lower: Array, upper: Array) -> Array:
    """Coordinate z with the masses lower and upper on its two sides, from the smaller of the two.

    Newton steps inside a bracket, on the panel's own series.
    """
    count = len(table.edges) - 1
    # The smaller mass keeps its relative accuracy: 1 - 1e-20 is 1.
    from_left = lower <= upper
    index = xp.where(
        from_left,
        xp.places_after(table.below, lower) - 1,
        count - xp.places_after(table.above[::-1], upper),
    )
    index = xp.clip(index, 0, count - 1)
    integral, series = rows(table.integral, index), rows(table.series, index)
    mass = clenshaw(integral, xp.ones_like(lower))
    right = mass - (upper - rows(table.above[1:], index))
    target = xp.where(from_left, lower - rows(table.below, index), right)
    low, high = -xp.ones_like(lower), xp.ones_like(lower)
    guess = xp.stop_gradient(target / xp.where(mass > 0, mass, 1.0))
    s = xp.clip(2 * guess - 1, -1.0, 1.0)

    def step(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        s, low, high = state
        excess = clenshaw(integral, s) - target
        low, high = xp.where(excess < 0, s, low), xp.where(excess < 0, high, s)
        newton = s - excess / clenshaw(series, s)
        # Where the density is all but zero a step leaves the bracket, which is halved instead.
        return xp.where((newton >= low) & (newton <= high), newton, (low + high) / 2), low, high

    s, _, _ = xp.repeat(_STEPS, step, xp.stop_gradient((s, low, high)))
    s = xp.stop_gradient(s)
    # The last Newton step, with its gradient: dz/dq = 1/p and dz/dtheta = -(dF/dtheta)/p.
    density = xp.stop_gradient(clenshaw(series, s))
    s = s + (target - clenshaw(integral, s)) / xp.where(density > 0, density, 1.0)
    half = (table.edges[index + 1] - table.edges[index]) / 2
    inner = table.edges[index] + half * (1 + s)
    first, last = table.edges[0], table.edges[-1]
    left = first + _log_share(lower, table.below[0]) / table.left_rate
    right = last - _log_share(upper, table.above[-1]) / table.right_rate
    value = xp.where(lower < table.below[0], left, xp.where(upper < table.above[-1], right, inner))
    return xp.where((lower >= 0) & (upper >= 0), value, np.nan)


def _log_share(part: Array, whole: Array) -> Array:
    """Log of part/whole where part is the smaller, else 0."""
    beyond = part < whole
    return xp.log(xp.where(beyond, part, 1.0)) - xp.log(xp.where(beyond, whole, 1.0))

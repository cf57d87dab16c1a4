"""Gauss-Legendre panels: where to put them for a given log density, and integrals on them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array
from numpy.polynomial import chebyshev, legendre

from sgdvi.laws._engine import xp

# Sixteen nodes integrate a polynomial of degree 31 exactly: on a panel of cost one (see `panel_edges`) to rounding.
NODES = 16
PANELS = 96
# A density that has fallen by this many nats from its maximum holds less than 1e-19 of the mass.
NATS = 45.0
# Equal intervals from whose ends the search for a panel starts: most hold one edge or none.
BUCKETS = 256

_x, _w = legendre.leggauss(NODES)
ABSCISSAE, WEIGHTS = _x, _w
# Values at the nodes -> Chebyshev coefficients of the interpolating polynomial, and of its integral from -1.
TO_SERIES = np.linalg.inv(chebyshev.chebvander(_x, NODES - 1))
TO_INTEGRAL = np.stack([chebyshev.chebint(column, lbnd=-1) for column in TO_SERIES.T], axis=1)


class Shape(NamedTuple):
    """What panels must resolve of a log density in a coordinate z whose maximum is at z = 0."""

    lower: Array
    """Below this the left tail is known analytically (or holds no mass)."""
    upper: Array
    """Above this the right tail is known analytically (or holds no mass)."""
    centre: Array
    """Real part of the complex singularity that is nearest to the real axis."""
    distance: Array
    """Its distance from the real axis, as far as the density can be seen there."""
    curvature: Array
    """Minus the second derivative at z = 0, above 0."""
    growth: float
    """Moments up to E|exp(z) - 1|^growth are integrated too, so the tails must be resolved for them."""


def panel_edges(log_density: Callable[[Array], Array], shape: Shape) -> Array:
    """Place the edges of `PANELS` panels so that the integrand is as smooth on each as on any other.

    Parameters
    ----------
    log_density
        Log density in z, vectorised, with its maximum near z = 0.
    shape
        Features to be resolved.

    Returns
    -------
    Array
        Increasing edges, shape (PANELS + 1,).

    Notes
    -----
    A panel's cost is the change of the log density on it (/3), its length beside the distance to the complex
    singularity, and its length itself (/2); sixteen nodes reach rounding when each is about one. Only the window
    where the density matters is covered.
    """
    clip = lambda z: xp.clip(z, shape.lower, shape.upper)  # noqa: E731
    # Three scales may lie decades apart: the whole window, the singularity, and the bulk. Each gets points of its own.
    width = 1.0 / xp.sqrt(shape.curvature)
    even = shape.lower + (shape.upper - shape.lower) * np.linspace(0.0, 1.0, 128)
    singular = clip(shape.centre + shape.distance * _sinh_grid(60.0 / shape.distance, 128))
    bulk = clip(width * _sinh_grid(60.0 / width, 256))
    grid = xp.sort(xp.concatenate([even, singular, bulk]))

    # Computed once: the compiler would copy it into each of the loops that use it.
    level = xp.once(log_density(grid))
    level = level - xp.max(level)
    # Seen from a narrow bulk a deviation is many widths, on either side.
    reach = level + shape.growth * xp.log(xp.hypot(1.0, xp.expm1(grid) / width))
    inside = (level > -NATS) | (reach > xp.max(reach) - NATS)
    # One more grid interval on either side: the window's edge lies somewhere in it.
    covered = inside[1:] | inside[:-1]
    step = xp.diff(grid)
    change = xp.abs(xp.diff(xp.maximum(level, -2 * NATS)))
    near = xp.diff(xp.arcsinh((grid - shape.centre) / shape.distance))
    cost = xp.where(covered, change / 3 + near + step / 2, 0.0)
    # Equal shares of the cost: the inverse of its cumulative sum.
    total = xp.concatenate([np.zeros(1), xp.cumsum(cost)])
    first = xp.first_true(covered)
    last = len(covered) - xp.first_true(covered[::-1])
    edges = xp.interp(total[-1] * np.linspace(0.0, 1.0, PANELS + 1), total, grid)
    # The ends from the window itself: outside it the cumulative cost is flat, and its inverse no single point.
    return xp.concatenate([grid[first][None], edges[1:-1], grid[last][None]])


def _sinh_grid(reach: Array, count: int) -> Array:
    """Grid that is even near 0 and geometric away from it, up to +-reach."""
    return xp.sinh(np.linspace(-1.0, 1.0, count) * xp.arcsinh(reach))


def panel_nodes(edges: Array) -> tuple[Array, Array]:
    """Nodes, shape (PANELS, NODES), and half widths, shape (PANELS,), of the panels between the edges."""
    half = xp.diff(edges) / 2
    middle = (edges[1:] + edges[:-1]) / 2
    return middle[:, None] + half[:, None] * ABSCISSAE, half


def clenshaw(series: Array, s: Array) -> Array:
    """Evaluate Chebyshev series, coefficients on the last axis, at s in [-1, 1]."""
    high = xp.zeros_like(s)
    higher = high
    for k in range(series.shape[-1] - 1, 0, -1):
        high, higher = 2 * s * high - higher + series[..., k], high
    return s * high - higher + series[..., 0]


def clenshaw_at(table: Array, index: Array, s: Array) -> Array:
    """Evaluate at each s the Chebyshev series in the row of the table that ``index`` names.

    Coefficient by coefficient: all rows at once would be gathered into memory.
    """
    high = xp.zeros_like(s)
    higher = high
    for k in range(table.shape[-1] - 1, 0, -1):
        high, higher = 2 * s * high - higher + rows(table[:, k], index), high
    return s * high - higher + rows(table[:, 0], index)


def first_of_largest(values: Array) -> Array:
    """Return the place of the largest value, the first of equals; values of shape (n,).

    `argmax` of numbers starts from one whose precision JAX takes from the caller, 32 bits as a rule: of booleans it
    has no such start.
    """
    return xp.first_true(values == xp.max(values))


def apply(matrix: np.ndarray, values: Array) -> Array:
    """Apply a matrix to values at the nodes, shape (K, NODES)."""
    # Not a dot product: its transpose would ask for float64 where the caller's JAX, outside our context, has none.
    return xp.sum(values[:, None, :] * matrix, axis=-1)


def buckets(edges: Array) -> Array:
    """Panel in which each end of `BUCKETS` equal buckets lies: where `locate` starts."""
    ends = edges[0] + (edges[-1] - edges[0]) * np.linspace(0.0, 1.0, BUCKETS + 1)
    panels = xp.places_after(edges, ends, method="sort").astype(np.int32) - 1
    # a bucket's end may be rounded past the edge that it stands on
    panels = xp.clip(panels, 0, len(edges) - 2)
    first, last = np.zeros(1, np.int32), np.full(1, len(edges) - 2, np.int32)
    return xp.concatenate([first, panels[1:-1], last])


def locate(edges: Array, starts: Array, z: Array) -> tuple[Array, Array]:
    """Panel that z lies in, and its place s in [-1, 1] there; the ends for z outside the panels."""
    inside = xp.clip(z, edges[0], edges[-1])
    # The number of the panel has no derivative; the place in it has, and is formed below of what is not fixed.
    fixed, ends = xp.stop_gradient(inside), xp.stop_gradient(edges)
    share = (fixed - ends[0]) / (ends[-1] - ends[0])
    bucket = xp.clip((share * BUCKETS).astype(np.int32), 0, BUCKETS - 1)
    # One bucket more on either side: the share may be rounded into the next one.
    low, high = starts[xp.maximum(bucket - 1, 0)], starts[xp.minimum(bucket + 2, BUCKETS)]

    def halve(bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bracket
        middle = (low + high + 1) // 2
        above = fixed >= ends[middle]
        return xp.where(above, middle, low), xp.where(above, high, xp.maximum(middle - 1, low))

    index, _ = xp.while_loop(lambda bracket: xp.any(bracket[0] < bracket[1]), halve, (low, high))
    return index, 2 * (inside - edges[index]) / (edges[index + 1] - edges[index]) - 1


def rows(table: Array, index: Array) -> Array:
    """Rows of a table, float64, at an index per point."""
    return _rows(table, index) if isinstance(index, jax.Array) or isinstance(table, jax.Array) else table[index]


@jax.custom_jvp
def _rows(table: Array, index: Array) -> Array:
    """`rows` in JAX.

    Its derivative is a masked sum, not a gather: the transpose of a gather, and the sum over what `vmap` maps of a
    derivative of our own, would be made where the caller's JAX, outside our context, has 32 bits only.
    """
    # Indices are never negative or beyond the end: less for the compiler to do.
    return table.at[index].get(mode="promise_in_bounds", wrap_negative_indices=False)


@_rows.defjvp
def _rows_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Any]) -> tuple[Array, Array]:
    table, index = primals
    change, _ = tangents
    chosen = (index[..., None] == np.arange(len(table), dtype=np.int32)).astype(table.dtype)
    chosen = chosen.reshape(*chosen.shape, *(1,) * (table.ndim - 1))
    return _rows(table, index), xp.sum(chosen * change, axis=index.ndim)

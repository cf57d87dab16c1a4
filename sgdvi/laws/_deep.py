"""Depth 2 and above, v > 0: no elementary form; the potential of the drift is integrated on panels of its own.

The potential P(x) = integral from v* of (beta1 v - beta2) v^-m / g(v) d(log v), x = log(v/v*), m = (D-1)/(D+1), does
not depend on the temperature. It is integrated outward from the least-squares slope v*, where it has its minimum, so
that its values near the bulk are small and a small temperature, which multiplies them by 1/T, costs no digits.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from sgdvi.laws._density import TAIL, Parameters, noise_gap
from sgdvi.laws._panels import TO_INTEGRAL, Shape, apply, clenshaw, locate, panel_nodes, rows

# Panels on either side of v*.
_SIDE = 40
# The left tail is a double exponential: nothing is left where its exponent has fallen by this much.
_DEEP_NATS = 600.0
_BISECTIONS = 60


class Potential(NamedTuple):
    """P on panels: edges in x, P at the edges, and Chebyshev series of P - P(left edge) on each panel."""

    edges: Array
    at_edges: Array
    series: Array


class Deep(NamedTuple):
    """v = v* exp(x), x = z + x0: density v^a g(v)^-1 exp(-C P) in log v, a = 1 - 3D/n, C = d^(1-2/n)/(n T)."""

    parameters: Parameters
    delta: Array
    center: Array
    potential: Potential
    x0: Array

    def log_density(self, z: Array) -> Array:
        """Log density with respect to z, 0 at z = 0."""
        start = jnp.exp(self.x0) * self.center
        step = start * jnp.expm1(z)
        p = self.parameters
        here, there = p.alpha1 * (start + step) - p.alpha2, p.alpha1 * start - p.alpha2
        noise = there**2 + self.delta
        log_noise = jnp.log((here**2 + self.delta) / noise)
        drift = self._potential(z + self.x0) - self._potential(self.x0)
        return self._power * z - log_noise - strength(self.parameters) * drift

    def slope(self, z: Array) -> Array:
        """Its derivative."""
        return self._slope(z + self.x0)

    def to_z(self, v: Array) -> Array:
        """Coordinate of v."""
        return jnp.log(v / self.center) - self.x0

    def to_v(self, z: Array) -> Array:
        """Inverse of `to_z`."""
        return self.center * jnp.exp(z + self.x0)

    def log_jacobian(self, z: Array) -> Array:
        """Log of dv/dz."""
        return jnp.log(self.center) + z + self.x0

    def shape(self) -> Shape:
        """The potential's own panels bound what is looked at."""
        p = self.parameters
        curvature = -jax.jvp(self.slope, (jnp.zeros_like(self.x0),), (jnp.ones_like(self.x0),))[1]
        return Shape(
            lower=self.potential.edges[0] - self.x0,
            upper=self.potential.edges[-1] - self.x0,
            centre=jnp.log(p.alpha3 / p.alpha1) / 2 - jnp.log(self.center) - self.x0,
            distance=jnp.arctan2(jnp.sqrt(self.delta), p.alpha2),
            curvature=jnp.maximum(curvature, 1e-12),
            growth=2.0,
        )

    def mode(self) -> Array:
        """Maximum of the density with respect to v; it vanishes at 0, so there is one."""
        return self.center * jnp.exp(_maximum(self._replace(x0=jnp.zeros_like(self.x0)), 1.0))

    def left_mass(self, z: Array) -> Array:
        """Integral of the density from -infinity to z, for z at or below ``shape().lower``."""
        return jnp.exp(self.log_density(z)) / self.slope(z)

    @property
    def _power(self) -> Array:
        return 1 - 3 * self.parameters.depth / (self.parameters.depth + 1)

    def _slope(self, x: Array) -> Array:
        p, v = self.parameters, self.center * jnp.exp(x)
        centred = p.alpha1 * v - p.alpha2
        noise = centred**2 + self.delta
        pull = strength(self.parameters) * p.alpha1 * drift(p, v)
        return self._power - (2 * p.alpha1 * v * centred + pull) / noise

    def _potential(self, x: Array) -> Array:
        table, p, m = self.potential, self.parameters, order(self.parameters)
        index, s = locate(table.edges, x)
        inner = rows(table.at_edges, index) + clenshaw(rows(table.series, index), s)
        # Beyond the panels the leading terms are exact: beta2 v^-m/(m alpha3) near 0, -beta1 v^-(1+m)/((1+m) alpha1)
        # far out.
        low, high = table.edges[0], table.edges[-1]
        below = p.beta2 / (m * p.alpha3) * self.center**-m * (jnp.exp(-m * jnp.minimum(x, low)) - jnp.exp(-m * low))
        rate = 1 + m
        above = (
            p.beta1
            / (rate * p.alpha1)
            * self.center**-rate
            * (jnp.exp(-rate * high) - jnp.exp(-rate * jnp.maximum(x, high)))
        )
        return inner + below + above


def order(p: Parameters) -> Array:
    """m = (D-1)/(D+1)."""
    return (p.depth - 1) / (p.depth + 1)


def strength(p: Parameters) -> Array:
    """C = d^(1-2/n)/(n T), n = D + 1."""
    n = p.depth + 1
    return p.width ** (1 - 2 / n) / (n * p.temperature)


def drift(p: Parameters, v: Array) -> Array:
    """(beta1 v - beta2) v^-m: the drift in log v, times g, up to its factor."""
    return (p.beta1 * v - p.beta2) * v ** -order(p)


def deep(parameters: Parameters) -> Deep:
    """Build the density of depth D >= 2."""
    p = parameters
    delta = noise_gap(p)
    center = jax.lax.stop_gradient(p.beta2 / p.beta1)
    potential = _integrate(p, delta, center)
    law = Deep(p, delta, center, potential, jnp.zeros_like(center))
    return law._replace(x0=_maximum(jax.lax.stop_gradient(law), 0.0))


def _integrate(p: Parameters, delta: Array, center: Array) -> Potential:
    fixed, m = jax.lax.stop_gradient(p), order(p)
    gap = jax.lax.stop_gradient(delta)
    small = jnp.minimum(fixed.alpha3 / (2 * jnp.abs(fixed.alpha2)), jnp.sqrt(fixed.alpha3 / fixed.alpha1))
    large = jnp.maximum(2 * jnp.abs(fixed.alpha2) / fixed.alpha1, jnp.sqrt(fixed.alpha3 / fixed.alpha1))
    gone = (strength(fixed) * fixed.beta2 / (m * fixed.alpha3 * _DEEP_NATS)) ** (1 / m)
    lower = jnp.log(jnp.minimum(gone, TAIL * jnp.minimum(small, center)) / center)
    upper = jnp.log(jnp.maximum(large, center) / TAIL / center)
    centre = jnp.log(fixed.alpha3 / fixed.alpha1) / 2 - jnp.log(center)
    distance = jnp.arctan2(jnp.sqrt(gap), fixed.alpha2)

    def cost(x: Array) -> Array:
        return 2 * jnp.arcsinh((x - centre) / distance) + x / 2

    def side(start: Array, stop: Array) -> Array:
        # Invert the cost on a grid that is fine where the cost rises steeply.
        wide = jnp.linspace(start, stop, 128)
        near = centre + distance * jnp.sinh(jnp.linspace(-1.0, 1.0, 256) * jnp.arcsinh(80.0 / distance))
        grid = jnp.sort(jnp.concatenate([wide, jnp.clip(near, start, stop)]))
        edges = jnp.interp(jnp.linspace(cost(start), cost(stop), _SIDE + 1), cost(grid), grid)
        return edges.at[0].set(start).at[-1].set(stop)

    zero = jnp.zeros_like(center)
    edges = jnp.concatenate([side(lower, zero)[:-1], side(zero, upper)])
    nodes, half = panel_nodes(edges)
    v = center * jnp.exp(nodes)
    values = p.alpha1 * drift(p, v) / ((p.alpha1 * v - p.alpha2) ** 2 + delta) * half[:, None]
    series = apply(TO_INTEGRAL, values)
    steps = jnp.sum(series, axis=-1)  # every Chebyshev polynomial is 1 at s = 1
    left = -jnp.cumsum(steps[:_SIDE][::-1])[::-1]
    right = jnp.cumsum(steps[_SIDE:])
    return Potential(edges, jnp.concatenate([left, jnp.zeros(1), right]), series)


def _maximum(law: Deep, tilt: float) -> Array:
    """Place in x where the log density minus tilt x is largest: the best grid point, then bisection of the slope."""
    edges = law.potential.edges
    nodes, _ = panel_nodes(edges)
    grid = jnp.sort(jnp.concatenate([nodes.reshape(-1), edges]))
    best = jax.lax.argmax(law.log_density(grid) - tilt * grid, 0, jnp.int32)
    low, high = grid[jnp.maximum(best - 1, 0)], grid[jnp.minimum(best + 1, len(grid) - 1)]

    def halve(_: int, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bracket
        middle = (low + high) / 2
        rising = law._slope(middle) > tilt
        return jnp.where(rising, middle, low), jnp.where(rising, high, middle)

    low, high = jax.lax.fori_loop(0, _BISECTIONS, halve, (low, high))
    return (low + high) / 2

"""The computations behind the law of one set of scalars, compiled, in float64.

Every function takes `Parameters` with leaves of shape (B,) and works on B laws at once; values have shape (B, M).
The caller holds ``jax.enable_x64(True)``.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from sgdvi.laws import _table
from sgdvi.laws._density import Density, Parameters, line, ray
from sgdvi.laws._panels import panel_nodes
from sgdvi.laws._table import Table

_compiled = partial(jax.jit, static_argnames=("depth", "width"))


def density(parameters: Parameters, depth: int, width: int) -> Density:
    """Log density of one law in its own coordinate."""
    return line(parameters, width) if depth == 0 else ray(parameters)


@_compiled
def tables(parameters: Parameters, *, depth: int, width: int) -> Table:
    """Integrate B laws."""
    return jax.vmap(lambda p: _table.build(density(p, depth, width)))(parameters)


@_compiled
def log_prob(parameters: Parameters, log_norm: Array, v: Array, *, depth: int, width: int) -> Array:
    """Log density with respect to v, -inf outside the support."""

    def one(p: Parameters, log_norm: Array, v: Array) -> Array:
        law = density(p, depth, width)
        inside = jnp.isfinite(v) if depth == 0 else (v > 0) & jnp.isfinite(v)
        z = law.to_z(jnp.where(inside, v, 1.0))
        value = law.log_density(z) - law.log_jacobian(z) - log_norm
        return jnp.where(inside, value, jnp.where(jnp.isnan(v), jnp.nan, -jnp.inf))

    return jax.vmap(one)(parameters, log_norm, v)


@_compiled
def cdf(parameters: Parameters, table: Table, v: Array, *, depth: int, width: int) -> Array:
    """Mass at or below v."""

    def one(p: Parameters, table: Table, v: Array) -> Array:
        law = density(p, depth, width)
        inside = jnp.isfinite(v) if depth == 0 else (v > 0) & jnp.isfinite(v)
        value = _table.cdf(table, law.to_z(jnp.where(inside, v, 1.0)))
        outside = jnp.where(jnp.isnan(v), jnp.nan, jnp.where(v > 0, 1.0, 0.0))
        return jnp.where(inside, value, outside)

    return jax.vmap(one)(parameters, table, v)


@_compiled
def quantile(parameters: Parameters, table: Table, q: Array, *, depth: int, width: int) -> tuple[Array, Array]:
    """Quantile v of q, and the logarithm of dv/dz there plus z's own: log v at depth >= 1."""

    def one(p: Parameters, table: Table, q: Array) -> tuple[Array, Array]:
        law = density(p, depth, width)
        z = _table.icdf(table, q)
        return law.to_v(z), law.log_jacobian(z)

    return jax.vmap(one)(parameters, table, q)


@_compiled
def mean_variance(parameters: Parameters, table: Table, *, depth: int, width: int) -> tuple[Array, Array]:
    """Mean and variance of v: closed at depth 0, by quadrature with the analytic tail at depth 1."""

    def on_line(p: Parameters) -> tuple[Array, Array]:
        temperature, b = p.temperature * width, p.beta1 + p.weight_decay / width
        mean = p.beta2 / b
        noise = p.alpha1 * mean**2 - 2 * p.alpha2 * mean + p.alpha3
        room = b - temperature * p.alpha1
        variance = jnp.where(room > 0, temperature * noise / jnp.where(room > 0, room, 1.0), jnp.inf)
        return mean, variance

    def on_ray(p: Parameters, table: Table) -> tuple[Array, Array]:
        law = density(p, depth, width)
        last = table.edges[-1]
        height = jnp.exp(law.log_density(last))

        def right(power: int) -> Array:
            return height * jnp.exp(power * last) / (table.right_rate - power)

        nodes, _ = panel_nodes(table.edges)
        ratio = jnp.exp(nodes)
        zero = jnp.zeros_like(last)
        mean = _table.expectation(table, law, ratio, zero, right(1))
        square_right = right(2) - 2 * mean * right(1) + mean**2 * right(0)
        variance = _table.expectation(table, law, (ratio - mean) ** 2, mean**2, square_right)
        v0 = law.to_v(zero)
        return mean * v0, variance * v0**2

    return jax.vmap(on_line)(parameters) if depth == 0 else jax.vmap(on_ray)(parameters, table)

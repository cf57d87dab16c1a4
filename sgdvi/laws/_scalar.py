"""The computations behind a batch of laws, compiled, in float64.

Leaves of `Parameters`, densities and tables have the shape (B,) in front, values the shape (B, M). The caller holds
``jax.enable_x64(True)``.
"""

import jax
import jax.numpy as jnp
from jax import Array

from sgdvi.laws import _table
from sgdvi.laws._deep import Deep, deep
from sgdvi.laws._density import Line, Parameters, Ray, line, ray
from sgdvi.laws._panels import panel_nodes
from sgdvi.laws._table import Table

AnyDensity = Line | Ray | Deep


def build(parameters: Parameters, depth: int) -> tuple[AnyDensity, Table]:
    """Density and table of B laws of one depth."""
    make = (line, ray, deep)[min(depth, 2)]
    density = _BUILD[make](parameters)
    return density, _tables(density)


_BUILD = {make: jax.jit(jax.vmap(make)) for make in (line, ray, deep)}
_tables = jax.jit(jax.vmap(_table.build))


@jax.jit
def log_prob(density: AnyDensity, log_norm: Array, v: Array) -> Array:
    """Log density with respect to v, -inf outside the support."""

    def one(density: AnyDensity, log_norm: Array, v: Array) -> Array:
        inside = _inside(density, v)
        z = density.to_z(jnp.where(inside, v, 1.0))
        value = density.log_density(z) - density.log_jacobian(z) - log_norm
        return jnp.where(inside, value, jnp.where(jnp.isnan(v), jnp.nan, -jnp.inf))

    return jax.vmap(one)(density, log_norm, v)


@jax.jit
def cdf(density: AnyDensity, table: Table, v: Array) -> Array:
    """Mass at or below v."""

    def one(density: AnyDensity, table: Table, v: Array) -> Array:
        inside = _inside(density, v)
        value = _table.cdf(table, density.to_z(jnp.where(inside, v, 1.0)))
        outside = jnp.where(jnp.isnan(v), jnp.nan, jnp.where(v > 0, 1.0, 0.0))
        return jnp.where(inside, value, outside)

    return jax.vmap(one)(density, table, v)


@jax.jit
def quantile(density: AnyDensity, table: Table, q: Array) -> tuple[Array, Array]:
    """Quantile v of q, and the logarithm of dv/dz there, which is log v at depth >= 1."""

    def one(density: AnyDensity, table: Table, q: Array) -> tuple[Array, Array]:
        z = _table.icdf(table, q)
        return density.to_v(z), density.log_jacobian(z)

    return jax.vmap(one)(density, table, q)


@jax.jit
def mean_variance(parameters: Parameters, density: AnyDensity, table: Table) -> tuple[Array, Array]:
    """Mean and variance of v: closed at depth 0, by quadrature with analytic tails at depth >= 1."""
    if isinstance(density, Line):
        return jax.vmap(_line_moments)(parameters)
    return jax.vmap(_ray_moments)(density, table)


@jax.jit
def deep_mode(density: Deep) -> Array:
    """Mode of v at depth >= 2."""
    return jax.vmap(Deep.mode)(density)


def _line_moments(p: Parameters) -> tuple[Array, Array]:
    temperature, b = p.temperature * p.width, p.beta1 + p.weight_decay / p.width
    mean = p.beta2 / b
    noise = p.alpha1 * mean**2 - 2 * p.alpha2 * mean + p.alpha3
    room = b - temperature * p.alpha1
    variance = jnp.where(room > 0, temperature * noise / jnp.where(room > 0, room, 1.0), jnp.inf)
    return jnp.where(jnp.isnan(p.temperature), jnp.nan, mean), variance


def _ray_moments(density: Ray | Deep, table: Table) -> tuple[Array, Array]:
    last = table.edges[-1]
    height = jnp.exp(density.log_density(last))

    def right(power: int) -> Array:
        return height * jnp.exp(power * last) / (table.right_rate - power)

    nodes, _ = panel_nodes(table.edges)
    ratio = jnp.exp(nodes)
    # Mean of exp(z) on the left tail, whose density is exp(rate z).
    left = jnp.exp(table.edges[0]) * table.left_rate / (1 + table.left_rate)
    mean = _table.expectation(table, density, ratio, left, right(1))
    square_right = right(2) - 2 * mean * right(1) + mean**2 * right(0)
    variance = _table.expectation(table, density, (ratio - mean) ** 2, mean**2 - 2 * mean * left, square_right)
    v0 = density.to_v(jnp.zeros_like(last))
    return mean * v0, variance * v0**2


def _inside(density: AnyDensity, v: Array) -> Array:
    return jnp.isfinite(v) if isinstance(density, Line) else (v > 0) & jnp.isfinite(v)

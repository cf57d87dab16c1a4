"""The computations behind a batch of laws, in float64: compiled, or in NumPy where `xp` says so.

Leaves of `Parameters`, densities and tables have the shape (B,) in front, values the shape (B, M). The caller holds
``jax.enable_x64(True)``.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.custom_derivatives import SymbolicZero

from sgdvi.laws._engine import lookup as lookups
from sgdvi.laws._engine import summary, xp
from sgdvi.laws._engine import table as tables
from sgdvi.laws._engine.arrays import flatten_batch, restore_batch
from sgdvi.laws._engine.deep import Deep
from sgdvi.laws._engine.density import Line, Parameters, Ray
from sgdvi.laws._engine.lookup import Lookup
from sgdvi.laws._engine.summary import Numbers
from sgdvi.laws._engine.table import Quadrature, Table

AnyDensity = Line | Ray | Deep
# More laws than this are compiled, whatever is asked of them: in NumPy each one takes some milliseconds.
_FEW = 8
# Larger batches are computed in pieces, so that nodes and series of all laws need not be in memory at once.
_PIECE = 512
_VALUES = 65536
# Squares of values up to it are numbers.
_FAR = 1e150
# A mass below this is read off the density itself, where the table's has lost relative accuracy.
_RARE = 1e-11


@partial(xp.compiled, static=("make",), most=_FEW)
def prepare(make: Callable[..., AnyDensity], *arguments: Any) -> tuple[AnyDensity, Quadrature]:
    """Densities of B laws, integrated over z."""
    # The levels of more laws would fill the memory.
    keep_levels = len(jax.tree.leaves(arguments)[0]) <= _PIECE

    def one(*arguments: Any) -> tuple[AnyDensity, Quadrature]:
        density = make(*arguments)
        return density, tables.integrate(density, keep_levels)

    return _each(one, *arguments)


@xp.compiled
def tabulate(density: AnyDensity, quadrature: Quadrature) -> Table:
    """Tables of B laws."""
    return _each(tables.tabulate, density, quadrature)


@xp.compiled
def log_prob(density: AnyDensity, log_norm: Array, v: Array) -> Array:
    """Log density with respect to v, -inf outside the support."""

    def one(density: AnyDensity, log_norm: Array, v: Array) -> Array:
        inside = _inside(density, v)
        value = density.log_density_at(xp.where(inside, v, 1.0)) - log_norm
        return xp.where(inside, value, xp.where(xp.isnan(v), np.nan, -np.inf))

    return _each(one, density, log_norm, v)


@jax.jit
def look_up(density: AnyDensity, log_norm: Array) -> Lookup:
    """Tables of the log densities of B laws; their derivatives are not asked for."""
    return _each(lookups.build, *jax.lax.stop_gradient((density, log_norm)))


@partial(jax.jit, static_argnames=("shape", "sign"))
def log_prob_of_many(
    density: AnyDensity, log_norm: Array, table: Lookup, v: Array, shape: tuple[int, ...], sign: int
) -> Array:
    """`log_prob` of laws of a batch shape at very many values that broadcast against it, read off their tables."""
    flat, whole = flatten_batch(sign * v.astype(np.float64), shape)
    return restore_batch(_looked_up(density, log_norm, flat, table), whole)


@jax.custom_jvp
def _looked_up(density: AnyDensity, log_norm: Array, v: Array, table: Lookup) -> Array:
    value, inside = _each(lookups.evaluate, table, v)
    # What the table does not hold is rare: far from the bulk, or all but at a value that has no noise.
    missing = jnp.isnan(jnp.sum(jnp.where(jnp.isnan(log_norm)[:, None], 0.0, value)))
    value = jnp.where(inside, value, jnp.where(jnp.isnan(v), np.nan, -np.inf))
    # A loop of one step or none: under vmap a branch would be taken by all as soon as it may be by one.
    return jax.lax.while_loop(
        lambda state: state[0],
        lambda _: (jnp.zeros((), bool), _in_pieces(partial(log_prob, density, log_norm), v)),
        (missing, value),
    )[1]


@partial(_looked_up.defjvp, symbolic_zeros=True)
def _looked_up_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    (*arguments, _), (*changes, _) = primals, tangents
    if all(_is_zero(change) for change in jax.tree.leaves(changes[:2], is_leaf=_is_zero)):
        slope = score(primals[0], primals[2])
        return _looked_up(*primals), jnp.where(jnp.isnan(slope), 0.0, slope) * tangents[2]
    # The parameters' derivatives are those of the density itself; they take its value along.
    return jax.jvp(log_prob, arguments, jax.tree.map(_filled_in, changes, is_leaf=_is_zero))


@xp.compiled
def score(density: AnyDensity, v: Array) -> Array:
    """Derivative of `log_prob`; nan outside the support."""

    def one(density: AnyDensity, v: Array) -> Array:
        inside = _inside(density, v)
        inside = inside & xp.isfinite(density.log_density_at(xp.where(inside, v, 1.0)))
        near, times = _brought_near(xp.where(inside, v, 1.0))
        return xp.where(inside, density.score(near) / times, np.nan)

    return _each(one, density, v)


def _brought_near(v: Array) -> tuple[Array, Array]:
    """v, or where squares would overflow the point up to which they do not, and v over it: tails are powers there."""
    times = xp.maximum(xp.abs(v) / _FAR, 1.0)
    return xp.where(times > 1, xp.sign(v) * _FAR, v), times


@xp.compiled
def cdf(density: AnyDensity, table: Table, v: Array) -> tuple[Array, Array]:
    """Mass at or below v, and above it."""

    def one(density: AnyDensity, table: Table, v: Array) -> tuple[Array, Array]:
        inside = _inside(density, v)
        below, above = tables.masses_about(table, density.to_z(xp.where(inside, v, 1.0)))
        at_end = xp.where(xp.isnan(v), np.nan, xp.where(v > 0, 1.0, 0.0))
        return xp.where(inside, below, at_end), xp.where(inside, above, 1 - at_end)

    return _each(one, density, table, v)


@partial(xp.compiled, static=("side",))
def log_tail(density: AnyDensity, log_norm: Array, table: Table, v: Array, side: int) -> Array:
    """Log of the mass at or below v (side -1) or above it (side 1)."""

    def one(density: AnyDensity, log_norm: Array, table: Table, v: Array) -> Array:
        inside = _inside(density, v)
        nearer, times = _brought_near(xp.where(inside, v, 1.0))
        z = density.to_z(nearer)
        mass = tables.masses_about(table, z)[(side + 1) // 2]
        far = xp.cond(
            xp.all(mass > _RARE),
            lambda: xp.full_like(z, np.nan),
            lambda: summary.log_tail(density, log_norm, z, side),
        )
        near = (mass > _RARE) | xp.isnan(far)
        value = xp.where(near, xp.log(xp.where(mass > 0, mass, 1.0)), far)
        value = xp.where(near & ~(mass > 0), -np.inf, value)
        fall = xp.where(times > 1, (1 + nearer * density.score(nearer)) * xp.log(times), 0.0)
        value = value + xp.where((v > 0) == (side > 0), fall, 0.0)
        at_end = xp.where(xp.isnan(v), np.nan, xp.where((v > 0) == (side < 0), 0.0, -np.inf))
        return xp.where(inside, value, at_end)

    return _each(one, density, log_norm, table, v)


@xp.compiled
def quantile(density: AnyDensity, table: Table, lower: Array, upper: Array) -> tuple[Array, Array]:
    """Point v with these masses on its two sides, and the log of dv/dz there, which is log v at depth >= 1."""

    def one(density: AnyDensity, table: Table, lower: Array, upper: Array) -> tuple[Array, Array]:
        z = tables.icdf(table, lower, upper)
        return density.to_v(z), density.log_jacobian(z)

    return _each(one, density, table, lower, upper)


@xp.compiled
def numbers(parameters: Parameters, density: AnyDensity, quadrature: Quadrature) -> Numbers:
    """Mean, variance, entropy and the factor's mean and variance of B laws."""
    one = summary.line_numbers if isinstance(density, Line) else summary.numbers
    return _each(one, parameters, density, quadrature)


@partial(xp.compiled, static=("order",), most=_FEW)
def line_moment(parameters: Parameters, order: int) -> Array:
    """Raw moment at depth 0."""
    return _each(partial(summary.line_moment, order=order), parameters)


@xp.compiled
def log_power_mean(density: AnyDensity, log_norm: Array, order: Array) -> Array:
    """Log of E[v^order] at depth >= 1."""
    return _each(summary.log_power_mean, density, log_norm, order)


@xp.compiled
def modes(density: AnyDensity) -> tuple[Array, Array]:
    """The highest mode, shape (B,), and all of them, shape (B, 2)."""
    return _each(lambda density: (density.mode(), density.modes()), density)


@xp.compiled
def level_at(density: AnyDensity, v: Array) -> Array:
    """Log density with respect to v at one point for each law, not normalised."""
    return _each(lambda density, v: density.log_density_at(v), density, v)


@xp.compiled
def barrier(p: Parameters, density: Deep, log_norm: Array) -> tuple[Array, Array, Array]:
    """Place of the barrier of a metastable bulk, its height, and the log of the bulk's lifetime."""
    return _each(summary.barrier, p, density, log_norm)


def _each(function: Callable[..., Any], *trees: Any) -> Any:
    """Apply a function of one law to B laws."""
    count = jax.tree.leaves(trees)[0].shape[0]
    if xp.is_small(trees):
        results = [function(*jax.tree.map(lambda leaf: leaf[i], trees)) for i in range(count)]  # noqa: B023
        return jax.tree.map(lambda *rows: np.stack(rows), *results)
    if count == 1:  # without vmap, which would compute both sides of every branch
        return jax.tree.map(lambda leaf: leaf[None], function(*jax.tree.map(lambda leaf: leaf[0], trees)))
    if count <= _PIECE:
        return jax.vmap(function)(*trees)
    # Pieces of one size, filled up with copies of the last law: a shorter one would be compiled by itself.
    pieces = -(-count // _PIECE)
    size = -(-count // pieces)
    copies = pieces * size - count

    def filled(leaf: Array) -> Array:
        return jnp.concatenate([leaf, jnp.repeat(leaf[-1:], copies, axis=0)]) if copies else leaf

    result = jax.lax.map(lambda row: function(*row), jax.tree.map(filled, trees), batch_size=size)
    return jax.tree.map(lambda leaf: leaf[:count], result)


def _is_zero(change: Any) -> bool:
    return isinstance(change, SymbolicZero)


def _filled_in(change: Any) -> Any:
    return np.zeros(change.shape, change.dtype) if _is_zero(change) else change


def _in_pieces(function: Callable[[Array], Array], v: Array) -> Array:
    """Apply a function to values (B, M) piece by piece: the memory for all of them at once would take longer."""
    laws, count = v.shape
    size = max(_VALUES // laws, 1)
    pieces = -(-count // size)
    rows = jnp.pad(v, ((0, 0), (0, pieces * size - count)), mode="edge").reshape(laws, pieces, size)
    result = jax.lax.map(function, jnp.swapaxes(rows, 0, 1))
    return jnp.swapaxes(result, 0, 1).reshape(laws, -1)[:, :count]


def _inside(density: AnyDensity, v: Array) -> Array:
    return xp.isfinite(v) if isinstance(density, Line) else (v > 0) & xp.isfinite(v)

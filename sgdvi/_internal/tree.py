"""The arguments of a model as a pytree: which leaves have one entry per row of the data, and which are fixed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sgdvi._internal.check import InputError, message, require

Rows = tuple[jax.Array, ...]
Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def label(site: str) -> str:
    """Return the name of a site in a DataTree: "/" is written ".", as it would part two groups."""
    return site.replace("/", ".")


def leading_sizes(arguments: Any) -> set[int]:
    """Return the leading sizes of all array leaves that have at least one axis."""
    return {leaf.shape[0] for leaf in jax.tree.leaves(arguments) if _is_array(leaf)}


def require_key(key: Any) -> None:
    """Raise `InputError` unless `key` is one JAX key, of the new style or the old."""
    is_key = isinstance(key, jax.Array) and (
        key.shape == () if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key.shape == (2,)
    )
    require(is_key, "key must be one JAX key", repr(key), "Give jax.random.key(0).")


def is_traced(*values: Any) -> bool:
    """Whether any leaf is being traced by a JAX transformation."""
    return any(isinstance(leaf, jax.core.Tracer) for value in values for leaf in jax.tree.leaves(value))


def same_structure(one: Any, other: Any) -> bool:
    """Whether two pytrees have the same structure; shapes may differ."""
    return bool(jax.tree.structure(one) == jax.tree.structure(other))  # type: ignore[operator]


@dataclass(frozen=True, eq=False)
class RowSplit:
    """Split arguments into the leaves with N rows, which minibatches are taken from, and the fixed rest."""

    structure: Any
    leaves: tuple[Any, ...]  # None where a leaf has rows
    num_rows: int
    total: int  # more than num_rows where the arguments hold only some of the rows

    @classmethod
    def of(cls, arguments: Arguments, num_rows: int, total: int | None = None) -> "RowSplit":
        """Find the leaves of `arguments` whose leading axis has `num_rows` entries."""
        leaves, structure = jax.tree.flatten(arguments)
        # in JAX's arrays: a NumPy table cannot be indexed by rows that are being traced
        fixed = tuple(None if _is_array(leaf) and leaf.shape[0] == num_rows else to_jax(leaf) for leaf in leaves)
        return cls(structure, fixed, num_rows, total or num_rows)

    def rows(self, arguments: Arguments) -> Rows:
        """Return the leaves with rows, in the order that `rebuild` expects.

        Raises
        ------
        InputError
            For strings and objects.
        """
        leaves = jax.tree.leaves(arguments)
        varying = [leaf for leaf, fixed in zip(leaves, self.leaves, strict=True) if fixed is None]
        for leaf in varying:
            strange = isinstance(leaf, np.ndarray) and leaf.dtype.kind in "OSUTMm"
            require(not strange, "data must be numeric", f"dtype {leaf.dtype}", "Give categories as integers.")
        return tuple(jnp.asarray(leaf) for leaf in varying)

    def rebuild(self, rows: Rows) -> Arguments:
        """Put rows (all of them, or a minibatch) and the fixed leaves together again."""
        supply = iter(rows)
        return jax.tree.unflatten(self.structure, [next(supply) if leaf is None else leaf for leaf in self.leaves])

    def same_as(self, arguments: Arguments) -> bool:
        """Whether `arguments` split alike: same structure and equal fixed leaves (rows may differ in value)."""
        leaves, structure = jax.tree.flatten(arguments)
        if structure != self.structure:
            return False
        return all(
            _is_array(leaf) and leaf.shape[0] == self.num_rows if fixed is None else _equal(to_jax(leaf), fixed)
            for leaf, fixed in zip(leaves, self.leaves, strict=True)
        )


def to_jax(arguments: Any) -> Any:
    """Return the arguments with NumPy arrays as JAX arrays, of the precision that is in force now.

    In JAX 0.12 an operation on a float64 NumPy array that was compiled under one precision can fail under the other:
    NUTS inside ``jax.enable_x64(True)`` and then variational inference outside it, on the same arrays, does.
    """
    return jax.tree.map(lambda leaf: jnp.asarray(leaf) if _is_numeric(leaf) else leaf, arguments)


def to_arrays(data: Any) -> Any:
    """Return data with the columns and tables of pandas, polars and xarray as NumPy arrays."""

    def converted(leaf: Any) -> Any:
        rule = "data must have no masked entries"
        require(not np.ma.is_masked(leaf), rule, "some", "Remove or impute them; NumPy would drop the mask.")
        native = isinstance(leaf, jax.Array | np.ndarray) or not hasattr(leaf, "to_numpy")
        return leaf if native else np.asarray(leaf.to_numpy())

    try:
        return jax.tree.map(converted, data)
    except InputError:
        raise
    except ValueError as error:  # the names in a dict must have an order
        raise InputError(message("data must be a pytree of arrays", " ".join(str(error).split())[:100])) from error


def take(rows: Rows, indices: jax.Array) -> Rows:
    """Return the rows with these indices, which must be in range."""
    return tuple(leaf.at[indices].get(mode="promise_in_bounds", wrap_negative_indices=False) for leaf in rows)


def to_arguments(data: Any) -> Arguments:
    """Return data, a tuple, a dict of keyword arguments or one array, as arguments in JAX arrays."""
    data = to_jax(to_arrays(data))
    if isinstance(data, Mapping):
        return (), dict(data)
    return (tuple(data) if isinstance(data, tuple | list) else (data,)), {}


def _is_numeric(leaf: Any) -> bool:
    return isinstance(leaf, np.ndarray) and leaf.dtype.kind in "biufc"


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray) and leaf.ndim > 0


def _equal(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if is_traced(one, other):
        return False
    if isinstance(one, jax.Array | np.ndarray) and isinstance(other, jax.Array | np.ndarray):
        return one.shape == other.shape and one.dtype == other.dtype and bool(np.array_equal(one, other))
    # 1 == True == 1.0, but a model can tell them apart
    return type(one) is type(other) and bool(one == other)

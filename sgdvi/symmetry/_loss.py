"""A per-sample loss of the caller: checked once, then evaluated in float64 and in blocks of bounded size."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sgdvi._internal.check import require
from sgdvi.problem.loss import MEAN_ADVICE, Loss, check_shape, count_rows, parameter_leaves, split_module

Leaves = list[np.ndarray]
# numbers per block, 32 MB: bounds the memory of per-sample gradients whatever the size of the model
BLOCK_NUMBERS = 1 << 22
VALUE_ROWS = 256
_COUPLED_TOLERANCE = 1e-9


@dataclass(frozen=True, eq=False)
class SampleLoss:
    """A function loss(params, batch) -> (B,), with parameters and data that it has been tried on.

    Attributes
    ----------
    function
        The caller's function.
    structure, labels, dtypes
        Structure of the parameters; name and dtype of every leaf.
    leaves
        The leaves, float64.
    data, num_rows
        The data, floating leaves as float64, and their number of rows N.
    coupled
        Whether the loss of a row depends on the other rows of its batch, as under batch normalisation.
    whole
        Parameters -> what the caller gave: the module that they are part of, or themselves.
    """

    function: Callable[[Any, Any], Any]
    structure: Any
    labels: tuple[str, ...]
    dtypes: tuple[np.dtype, ...]
    leaves: Leaves
    data: Any
    num_rows: int
    coupled: bool = False
    whole: Callable[[Any], Any] = field(default=lambda params: params)

    @classmethod
    def of(cls, function: Callable[[Any, Any], Any], params: Any, data: Any) -> "SampleLoss":
        """Check function, parameters and data, and evaluate the loss on all rows.

        Raises
        ------
        InputError
            For parameters without a floating leaf or with other leaves, data whose leaves differ in their number of
            rows, and a loss that fails, returns another shape than (B,), leaves float64 or is not finite.
        """
        require(callable(function), "loss must be a function loss(params, batch)", type(function).__name__)
        if isinstance(function, Loss):
            params = function.params if params is None else split_module(params)[0]
            whole = function.whole
        else:
            params, split = split_module(params)
            function = function if split is None else _of_module(function, split)
            whole = split or (lambda params: params)
        labels, given = parameter_leaves(params)
        arrays = [np.asarray(leaf) for leaf in given]
        rows, num_rows = _rows(data)
        leaves, dtypes = [np.asarray(array, np.float64) for array in arrays], tuple(array.dtype for array in arrays)
        made = cls(function, jax.tree.structure(params), tuple(labels), dtypes, leaves, rows, num_rows, whole=whole)
        made.check_finite(leaves, "params")
        tried = replace(made, coupled=made._try())
        vars(tried)["values"] = made.values  # compiled once: whether rows are coupled changes no loss
        return tried

    def with_data(self, data: Any) -> "SampleLoss":
        """Return the same loss on other data."""
        rows, num_rows = _rows(data)
        return replace(self, data=rows, num_rows=num_rows)

    def call(self, leaves: Any, batch: Any) -> jax.Array:
        """Evaluate the loss on a list of leaves (traceable)."""
        # a NumPy array cannot be indexed by traced rows
        placed = [jnp.asarray(leaf) for leaf in leaves]
        return jnp.asarray(self.function(jax.tree.unflatten(self.structure, placed), batch))

    def rows(self, indices: np.ndarray) -> Any:
        """Return the rows of the data with these numbers, in the shape of `indices`."""
        return jax.tree.map(lambda leaf: leaf[indices], self.data)

    def flatten(self, params: Any) -> Leaves:
        """Return the leaves of `params` as float64; structure, shapes and values are checked."""
        leaves, structure = jax.tree.flatten(split_module(params)[0])
        require(structure == self.structure, f"params must have the structure {self.structure}", structure)
        arrays = [np.asarray(leaf, np.float64) for leaf in leaves]
        for label, array, like in zip(self.labels, arrays, self.leaves, strict=True):
            require(array.shape == like.shape, f"{label} must have shape {like.shape}", array.shape)
        self.check_finite(arrays, "params")
        return arrays

    def restore(self, leaves: Leaves) -> Any:
        """Return the pytree with these leaves, in the caller's dtypes."""
        cast = [np.asarray(leaf, dtype) for leaf, dtype in zip(leaves, self.dtypes, strict=True)]
        return jax.tree.unflatten(self.structure, cast)

    def as_given(self, leaves: Leaves) -> Any:
        """Return what the caller gave, a module for example, with these leaves in its dtypes."""
        return self.whole(self.restore(leaves))

    def check_finite(self, leaves: Leaves, name: str) -> None:
        """Raise `InputError` unless all entries are finite."""
        for label, leaf in zip(self.labels, leaves, strict=True):
            bad = leaf.size - int(np.isfinite(leaf).sum())
            require(not bad, f"{name} must be finite; {label} is not", f"{bad} of {leaf.size} entries that are not")

    def blocks(self, per_row: int, limit: int | None = None) -> Iterator[np.ndarray]:
        """Yield numbers of rows, all rows once, in blocks whose gradients have at most `BLOCK_NUMBERS` entries."""
        size = max(1, min(self.num_rows, BLOCK_NUMBERS // max(per_row, 1), limit or self.num_rows))
        for start in range(0, self.num_rows, size):
            yield np.arange(start, min(start + size, self.num_rows))

    @cached_property
    def values(self) -> Callable[[Leaves, Any], jax.Array]:
        """Compiled loss; call it inside ``jax.enable_x64(True)``."""
        return jax.jit(self.call)

    @cached_property
    def gradients(self) -> Callable[[Leaves, Any], tuple[jax.Array, list[jax.Array]]]:
        """Compiled values (n, b) and their gradients (n, b, ...) at n points with b rows each."""

        def at_one(leaves: list[jax.Array], batch: Any) -> tuple[jax.Array, list[jax.Array]]:
            values, pull = jax.vjp(lambda these: self.call(these, batch), leaves)
            return values, jax.vmap(pull)(jnp.eye(values.shape[0]))[0]

        return jax.jit(jax.vmap(at_one))

    def _try(self) -> bool:
        """Evaluate the loss on all rows; return whether rows of one batch depend on each other."""
        size = min(self.num_rows, VALUE_ROWS)
        with jax.enable_x64(True):
            got = check_shape(lambda rows: self.call(self.leaves, rows), self.rows(np.arange(size)), size)
            rule, advice = "loss must compute in the precision of its parameters, float64 here", "Remove its casts."
            require(got.dtype == jnp.float64, rule, got.dtype, advice)
            for block in self.blocks(0, VALUE_ROWS):
                losses = np.asarray(self.values(self.leaves, self.rows(np.resize(block, size))))
                bad = np.flatnonzero(~np.isfinite(losses[: len(block)]))
                where = f"{losses[bad[0]]} in row {block[bad[0]]}" if bad.size else ""
                require(not bad.size, "loss must be finite at params on every row", where, "Check the data there.")
            together = np.asarray(self.values(self.leaves, self.rows(np.arange(size))))
            few = min(3, size)
            # among copies of itself, in a batch of the same size: no second program for batches of one
            alone = np.array(
                [np.asarray(self.values(self.leaves, self.rows(np.full(size, row))))[0] for row in range(few)]
            )
        apart = np.abs(together[:few] - alone)
        coupled = not bool((apart <= _COUPLED_TOLERANCE * (np.abs(alone) + np.abs(together[:few]))).all())
        averaged = coupled and bool(np.ptp(together) == 0)
        require(not averaged, "loss must return the loss of each row", "the same value for all rows", MEAN_ADVICE)
        return coupled


def _of_module(function: Callable[[Any, Any], Any], whole: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda params, batch: function(whole(params), batch)


def _rows(data: Any) -> tuple[Any, int]:
    num_rows = count_rows(data)
    arrays = jax.tree.map(np.asarray, data)

    def double(array: np.ndarray) -> np.ndarray:
        return np.asarray(array, np.float64) if jnp.issubdtype(array.dtype, jnp.floating) else array

    return jax.tree.map(double, arrays), num_rows

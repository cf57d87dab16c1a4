"""A per-sample loss as a target: its mean over a minibatch, in the coordinates of its own parameters."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sgdvi._internal.check import require
from sgdvi._internal.tree import Arguments, Rows, RowSplit, same_structure, take
from sgdvi.problem.loss import MEAN_ADVICE, Loss, check_shape, count_rows, split_module
from sgdvi.samplers.targets.base import Params, Target
from sgdvi.samplers.targets.model import CHECK_TOLERANCE, CHECKED_BLOCKS

# bounds the memory of what looks at all rows
_BLOCK_ROWS = 256
# rows that are coupled, or drawn by chance, show in any of them; a pass of a large network over all rows takes seconds
_CHECKED_ROWS = 2048
_COUPLED_ADVICE = f"{MEAN_ADVICE} Give batch normalisation fixed statistics, and leave dropout out."


@dataclass(frozen=True, eq=False)
class LossTarget(Target):
    """What SGD descends: the mean of a per-sample loss. Its coordinates are the pytree of the caller.

    Attributes
    ----------
    source
        The loss.
    split
        The data: all leaves have rows.
    leaves
        Its parameters, in the order of their names, as arrays of the precision in force.
    """

    source: Loss
    split: RowSplit
    leaves: tuple[jax.Array, ...]

    @property
    def outputs(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the leaves."""
        return self.source.names

    @property
    def default(self) -> Params:
        """The parameters that the loss was given with."""
        return self._whole(list(self.leaves))

    def loss(self, z: Params, rows: Rows) -> jax.Array:
        """See `Target`."""
        return jnp.mean(self.row_losses(z, rows))

    def row_losses(self, z: Params, rows: Rows) -> jax.Array:
        """Loss of each row, shape (S,)."""
        (batch,), _ = self.split.rebuild(rows)
        return self.source(z, batch)

    def constrain(self, z: Params, rows: Rows) -> dict[str, jax.Array]:
        """See `Target`: the leaves by name, half precision as float32, which every file format knows."""
        leaves = zip(self.source.names, jax.tree.leaves(z), strict=True)
        return {name: leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32)) for name, leaf in leaves}

    def unconstrain(self, params: Params, rows: Rows) -> Params:
        """See `Target`: the same values, in the types of the loss's own parameters."""
        leaves = zip(jax.tree.leaves(params), self.leaves, strict=True)
        return self._whole([jnp.asarray(leaf, like.dtype) for leaf, like in leaves])

    def by_name(self, params: Params, what: str) -> dict[str, Any]:
        """See `Target`: of a pytree like the loss's parameters, or of a dict by the names of its leaves."""
        names = self.source.names
        if isinstance(params, Mapping) and set(params) == set(names):
            return {name: params[name] for name in names}
        params, _ = split_module(params)
        rule = f"{what} must be a pytree like the loss's params, or a dict with the leaves {list(names)}"
        require(same_structure(params, self.source.params), rule, jax.tree.structure(params))
        return dict(zip(names, jax.tree.leaves(params), strict=True))

    def from_names(self, values: dict[str, Any]) -> Params:
        """See `Target`."""
        return self._whole([values[name] for name in self.source.names])

    def shapes_of(self, rows: Rows) -> dict[str, tuple[int, ...]]:
        """See `Target`."""
        return {name: leaf.shape for name, leaf in zip(self.source.names, self.leaves, strict=True)}

    def start(self, key: jax.Array, rows: Rows) -> tuple[Params, jax.Array]:
        """See `Target`: the parameters that the loss was given with, whatever the key."""
        return self.default, self.is_finite(self.default, rows)

    def is_finite(self, z: Params, rows: Rows) -> jax.Array:
        """See `Target`."""

        def of(block: jax.Array) -> jax.Array:
            return super(LossTarget, self).is_finite(z, take(rows, block))

        return jnp.all(lax.map(of, _blocks(rows)))

    def not_finite(self, z: Params, rows: Rows) -> str:
        """See `Target`: the first row whose loss is not finite."""
        values = np.asarray(_all_losses(self, z, rows))
        bad = np.flatnonzero(~np.isfinite(values))
        return f"a loss of {values[bad[0]]} in row {bad[0]}" if bad.size else "of the gradient"

    def check(self, z: Params, rows: Rows, batch_size: int) -> None:
        """See `Target`: each row must have the same loss in blocks of `batch_size` rows as among other rows."""
        # a loss may index its parameters by traced rows, which NumPy's arrays cannot be
        z = jax.tree.map(jnp.asarray, z)
        size, batch = rows[0].shape[0], jnp.arange(batch_size) % rows[0].shape[0]
        check_shape(lambda these: self.row_losses(z, these), take(rows, batch), batch_size)
        count = max(1, min(size // batch_size, CHECKED_BLOCKS, _CHECKED_ROWS // batch_size))
        order = np.resize(np.random.default_rng(0).permutation(size), (count, batch_size))
        among = np.asarray(_all_losses(self, z, take(rows, jnp.sort(order.ravel()))))
        full = among[np.argsort(np.argsort(order.ravel(), kind="stable"))].reshape(order.shape)
        error = np.abs(np.asarray(_block_losses(self, z, rows, order)) - full).max()
        rule = "the loss of a row must not depend on the other rows of its batch, nor on chance"
        got = f"losses of one row that differ by {error:.3g}"
        require(error <= CHECK_TOLERANCE * (CHECK_TOLERANCE + np.abs(full).max()), rule, got, _COUPLED_ADVICE)

    def _whole(self, leaves: list[Any]) -> Params:
        return jax.tree.unflatten(jax.tree.structure(self.source.params), leaves)


def loss_target(source: Loss, arguments: Arguments, num_data: int | None = None) -> LossTarget:
    """Try a loss on its data without computing anything.

    Parameters
    ----------
    source
        The loss.
    arguments
        One positional argument, all rows: a pytree of arrays, of which the loss gets the rows of a minibatch.
    num_data
        Number of all rows, where the argument holds only some of them.

    Raises
    ------
    InputError
        If there are other arguments, arrays without rows or of different numbers of rows, or a loss that does not run
        or does not return one value for each.
    """
    args, kwargs = arguments
    rule, advice = "the data of a loss must be one argument, a pytree of arrays", "Give (x, y) as one tuple."
    require(len(args) == 1 and not kwargs, rule, f"{len(args)} and the keywords {sorted(kwargs)}", advice)
    split = RowSplit.of(arguments, count_rows(args[0]), num_data)
    target = LossTarget(source, split, tuple(jnp.asarray(leaf) for leaf in jax.tree.leaves(source.params)))
    # a mean over a batch of one row cannot be told from its loss
    few = min(3, split.num_rows)
    rows = tuple(jax.ShapeDtypeStruct((few, *leaf.shape[1:]), leaf.dtype) for leaf in target.rows(arguments))
    check_shape(lambda these: target.row_losses(target.default, these), rows, few)
    return target


def _blocks(rows: Rows) -> jax.Array:
    size = rows[0].shape[0]
    block = min(size, _BLOCK_ROWS)
    return jnp.arange(-(-size // block) * block).reshape(-1, block) % size


@partial(jax.jit, static_argnames="target")
def _all_losses(target: LossTarget, z: Params, rows: Rows) -> jax.Array:
    return lax.map(lambda block: target.row_losses(z, take(rows, block)), _blocks(rows)).ravel()[: rows[0].shape[0]]


@partial(jax.jit, static_argnames="target")
def _block_losses(target: LossTarget, z: Params, rows: Rows, blocks: jax.Array) -> jax.Array:
    return lax.map(lambda block: target.row_losses(z, take(rows, block)), blocks)

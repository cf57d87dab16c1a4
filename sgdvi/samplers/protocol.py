"""What a sampler is to the driver: a state to begin with, and one step on one minibatch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sgdvi._internal.check import InputError, message, require
from sgdvi._internal.tree import Rows, same_structure
from sgdvi.samplers.targets.base import Params, Target
from sgdvi.samplers.targets.plates import first_line


@dataclass(frozen=True, eq=False)
class Batch:
    """One minibatch as a step sees it.

    Attributes
    ----------
    target
        What the loss is of.
    rows
        The rows that were drawn.
    """

    target: Target
    rows: Rows

    @property
    def num_data(self) -> int:
        """Number of all rows, N."""
        return self.target.num_data

    @property
    def size(self) -> int:
        """Number of rows of this minibatch, S."""
        return self.rows[0].shape[0]

    def loss(self, z: Params) -> jax.Array:
        """Loss on this minibatch at unconstrained parameters: its mean over minibatches is L."""
        return self.target.loss(z, self.rows)

    def value_and_grad(self, z: Params) -> tuple[jax.Array, Params]:
        """Loss on this minibatch and its gradient."""
        return jax.value_and_grad(self.loss)(z)

    def row_losses(self, z: Params) -> jax.Array:
        """Losses of the single rows, shape (S,): their mean is `loss`."""
        return jax.vmap(lambda row: self.target.loss(z, tuple(leaf[None] for leaf in row)))(self.rows)


class Algorithm(NamedTuple):
    """A sampler, for one chain; `sgdvi.Sampler` gives it a model, `sgdvi.sample` many chains.

    Attributes
    ----------
    init
        ``init(z)`` returns the state of a chain that starts at the unconstrained parameters z: a NamedTuple of arrays
        with a field ``z``, the parameters of the draw.
    step
        ``step(key, state, batch)`` returns the next state and a NamedTuple of scalars, which are kept beside the draws;
        its field ``loss`` is the minibatch loss before the step. The key is new at every step, the batch a `Batch`.
        It is traced by JAX: state in, state out, of the same types.
    """

    init: Callable[[Params], Any]
    step: Callable[[jax.Array, Any, Batch], tuple[Any, Any]]


def check_algorithm(algorithm: Algorithm, target: Target, z: Params, rows: Rows) -> dict[str, np.dtype]:
    """Check that an algorithm keeps to the protocol at the parameters `z`; return what it says of a step, with types.

    Nothing is computed. `rows` are those of one minibatch.

    Raises
    ------
    InputError
        If init or step cannot be traced, the state has no ``z`` like the parameters or changes its structure, or
        the step says something that is no scalar.
    """
    state = _traced(algorithm.init, z)
    rule = "the state must be a NamedTuple with the parameters in a field z, of the structure and shapes they came in"
    is_state = hasattr(state, "_replace") and hasattr(state, "z")
    require(is_state and _alike(state.z, z), rule, _shapes(getattr(state, "z", state)))
    key = jax.random.key(0)
    after, info = _traced(lambda key, s, r: algorithm.step(key, s, Batch(target, r)), key, state, rows)
    rule, advice = "step must return a state with the structure, shapes and types of the one it got", "Cast it back."
    require(_alike(after, state), rule, f"{_shapes(after)} after {_shapes(state)}", advice)
    fields = dict(info._asdict()) if hasattr(info, "_asdict") else {}
    scalars = "loss" in fields and all(getattr(value, "shape", None) == () for value in fields.values())
    rule = "step must return a NamedTuple of scalar arrays with a field loss beside the state"
    require(scalars, rule, _shapes(info), "Give `class Info(NamedTuple): loss: jax.Array`.")
    return {name: _kept(value.dtype) for name, value in fields.items()}


def _traced(fn: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return jax.eval_shape(fn, *arguments)
    except InputError:
        raise
    except Exception as error:
        rule = "the algorithm's init(z) and step(key, state, batch) must run under JAX"
        raise InputError(message(rule, first_line(error), "See docs/extending.md.")) from error


def batch_like(rows: Rows, size: int) -> Any:
    """Return shapes and types of a minibatch of `size` of these rows."""
    return tuple(jax.ShapeDtypeStruct((size, *row.shape[1:]), row.dtype) for row in rows)


def _alike(one: Any, other: Any) -> bool:
    """Whether two pytrees have the same structure, shapes and types."""
    # leaf by leaf: modules of Flax cannot be compared as a whole
    shapes = [[(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(tree)] for tree in (one, other)]
    return same_structure(one, other) and shapes[0] == shapes[1]


def _shapes(tree: Any) -> str:
    """Show the structure of a pytree with shapes and types, in one line."""
    return " ".join(str(jax.tree.map(lambda leaf: f"{leaf.dtype}{list(leaf.shape)}", tree)).split())


def _kept(dtype: Any) -> np.dtype:
    """Type in which a statistic is kept: floating point in the default precision."""
    return np.dtype(jnp.result_type(float) if jnp.issubdtype(dtype, jnp.floating) else dtype)

"""A model roughly at a minimum of its loss, as a step size is chosen there: gradient noise and curvature.

Where the minimum itself counts it is `sgdvi.samplers.mode`'s, checked.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from sgdvi._internal.tree import Rows
from sgdvi.samplers.targets.base import Params, Target

# Rows that are looked at, spread over the data.
_ROWS = 1_021
# Curvature is computed for so many parameters.
_LARGEST = 300
_SEARCH_STEPS = 1_000
_SEARCH_RATE = 0.05


def near_minimum(target: Target, z: Params, rows: Rows) -> tuple[np.ndarray, np.ndarray | None]:
    """Return gradients of the rows' losses, (R, D), and the Hessian of the mean loss, near a minimum.

    The minimum is looked for from `z` with at most 1021 of the rows; the Hessian is None for more than 300 parameters.
    """
    some = tuple(leaf[:: -(-len(leaf) // _ROWS)] for leaf in rows)
    point, unravel = ravel_pytree(_adam_minimum(target.loss, z, some))

    @jax.jit  # as one program: some 100 single operations are compiled otherwise
    def shape(at: jax.Array) -> tuple[jax.Array, jax.Array | None]:
        gradients = row_gradients(target, unravel, at, some)[1]
        small = at.size <= _LARGEST
        return gradients, jax.hessian(lambda at: target.loss(unravel(at), some))(at) if small else None

    gradients, hessian = shape(point)
    return np.asarray(gradients), None if hessian is None else np.asarray(hessian)


def row_gradients(target: Target, unravel: Any, z: jax.Array, rows: Rows) -> tuple[jax.Array, jax.Array]:
    """Return losses of single rows, (S,), and their gradients, (S, D), at raveled parameters."""

    def one(row: Any) -> tuple[jax.Array, jax.Array]:
        return jax.value_and_grad(lambda at: target.loss(unravel(at), tuple(leaf[None] for leaf in row)))(z)

    losses, gradients = jax.vmap(one)(rows)
    return losses, jnp.asarray(gradients)


def _adam_minimum(loss: Any, start: Any, rows: Any) -> Any:
    """Return a point near a minimum: a thousand steps of Adam whose rate falls to 0."""
    optimizer = optax.adam(optax.cosine_decay_schedule(_SEARCH_RATE, _SEARCH_STEPS))

    def step(state: tuple[jax.Array, Any], _: None) -> tuple[tuple[jax.Array, Any], None]:
        updates, memory = optimizer.update(jax.grad(loss)(state[0], rows), state[1], state[0])
        return (optax.apply_updates(state[0], updates), memory), None

    return jax.jit(lambda z: jax.lax.scan(step, (z, optimizer.init(z)), length=_SEARCH_STEPS)[0][0])(start)

"""A model near a minimum of its loss, as samplers look at it before a run: gradient noise and curvature."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from sgdvi._internal.tree import Rows
from sgdvi.samplers.quadratic import adam_minimum
from sgdvi.samplers.targets.base import Params, Target

# Rows that are looked at, spread over the data.
_ROWS = 1_021
# Curvature is computed for so many parameters.
_LARGEST = 300


def near_minimum(target: Target, z: Params, rows: Rows) -> tuple[np.ndarray, np.ndarray | None]:
    """Return gradients of the rows' losses, (R, D), and the Hessian of the mean loss, near a minimum.

    The minimum is looked for from `z` with at most 1021 of the rows; the Hessian is None for more than 300 parameters.
    """
    some = tuple(leaf[:: -(-len(leaf) // _ROWS)] for leaf in rows)
    point, unravel = ravel_pytree(adam_minimum(target.loss, z, some))
    gradients = row_gradients(target, unravel, point, some)[1]
    hessian = jax.hessian(lambda at: target.loss(unravel(at), some))(point) if point.size <= _LARGEST else None
    return np.asarray(gradients), None if hessian is None else np.asarray(hessian)


def row_gradients(target: Target, unravel: Any, z: jax.Array, rows: Rows) -> tuple[jax.Array, jax.Array]:
    """Return losses of single rows, (S,), and their gradients, (S, D), at raveled parameters."""

    def one(row: Any) -> tuple[jax.Array, jax.Array]:
        return jax.value_and_grad(lambda at: target.loss(unravel(at), tuple(leaf[None] for leaf in row)))(z)

    losses, gradients = jax.vmap(one)(rows)
    return losses, jnp.asarray(gradients)

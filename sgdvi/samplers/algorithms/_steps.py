"""What samplers that inject noise share: the state of a chain, what is said of a step, and the noise."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from sgdvi.samplers.targets.base import Params


class Steps(NamedTuple):
    """State of one chain.

    Attributes
    ----------
    z
        Parameters.
    memory
        What else goes from one step to the next, like the parameters: mean squared gradients, a velocity; () for none.
    step
        Number of steps taken.
    """

    z: Params
    memory: Any
    step: jax.Array


class StepInfo(NamedTuple):
    """What is known of one step: the minibatch loss before it, and its learning rate."""

    loss: jax.Array
    learning_rate: jax.Array


def gaussian_like(key: jax.Array, tree: Any) -> Any:
    """Draw standard normal variables of the shapes and types of a pytree."""
    leaves, structure = jax.tree.flatten(tree)
    keys = jax.random.split(key, len(leaves))
    drawn = [jax.random.normal(k, x.shape, x.dtype) for k, x in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(structure, drawn)


def moved(z: Params, gradient: Params, root: Any, rate: Any, normal: Any, noise_root: Any = None) -> Params:
    """Return z - rate P gradient + R normal, with P = root root' and R = noise_root, or root where it is None.

    Roots are (D, D), or (D,) for diagonal ones. One root is applied after the other: their product would lose the
    digits of the steepest directions in single precision.
    """
    flat, back = ravel_pytree(gradient)

    def times(matrix: Any, vector: jax.Array) -> jax.Array:
        matrix = jnp.asarray(matrix, flat.dtype)
        return matrix * vector if matrix.ndim == 1 else matrix @ vector

    by = -rate * times(root, times(np.transpose(root), flat))
    if normal is not None:
        by = by + times(root if noise_root is None else noise_root, normal)
    return jax.tree.map(lambda at, other: (at + other).astype(at.dtype), z, back(by))

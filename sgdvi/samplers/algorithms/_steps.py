"""What samplers that inject noise share: the state of a chain, what is said of a step, and the noise."""

from typing import Any, NamedTuple

import jax

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

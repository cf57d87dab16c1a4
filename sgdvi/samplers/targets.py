"""From what the caller gives, a NumPyro model or a loss with its data, to the target that SGD descends."""

from collections.abc import Callable, Mapping
from typing import Any

import jax

from sgdvi._tree import Arguments
from sgdvi.loss import Loss
from sgdvi.samplers.loss_target import loss_target
from sgdvi.samplers.model_target import model_target
from sgdvi.samplers.target import Target

Source = Callable[..., Any] | Loss


def make_target(source: Source, arguments: Arguments, key: jax.Array) -> Target:
    """Make the target of a model or a loss: see `model_target` and `loss_target`."""
    return loss_target(source, arguments) if isinstance(source, Loss) else model_target(source, arguments, key)


def as_arguments(source: Source, data: Any) -> Arguments:
    """Return positional and keyword arguments for data in any form that `sample` takes.

    A loss gets its data as they are, a pytree in one argument.
    """
    if isinstance(source, Loss):
        return (data,), {}
    if isinstance(data, Mapping):
        return (), dict(data)
    return (tuple(data) if isinstance(data, tuple | list) else (data,)), {}

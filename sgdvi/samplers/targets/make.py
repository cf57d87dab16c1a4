"""From what the caller gives, a NumPyro model or a loss with its data, to the target that SGD descends."""

from collections.abc import Callable, Mapping
from typing import Any

import jax

from sgdvi._internal.tree import Arguments, to_arrays
from sgdvi.problem.loss import Loss, count_rows
from sgdvi.samplers.targets.base import Target
from sgdvi.samplers.targets.loss import loss_target
from sgdvi.samplers.targets.model import model_target

Source = Callable[..., Any] | Loss


def make_target(source: Source, arguments: Arguments, key: jax.Array, num_data: int | None = None) -> Target:
    """Make the target of a model or a loss: see `model_target` and `loss_target`."""
    if isinstance(source, Loss):
        return loss_target(source, arguments, num_data)
    return model_target(source, arguments, key, num_data)


def as_arguments(source: Source, data: Any) -> Arguments:
    """Return positional and keyword arguments for data in any form that `sample` takes.

    A loss gets its data in one argument, a pytree. Columns of pandas, polars and xarray become arrays.

    Raises
    ------
    InputError
        For data of a loss whose arrays differ in their number of rows.
    """
    data = to_arrays(data)
    if isinstance(source, Loss):
        count_rows(data)
        return (data,), {}
    if isinstance(data, Mapping):
        return (), dict(data)
    return (tuple(data) if isinstance(data, tuple | list) else (data,)), {}

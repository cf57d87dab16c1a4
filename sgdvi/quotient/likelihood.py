"""The scaling symmetries of the likelihood of a NumPyro model: priors, which break them, are left out."""

from typing import Any

import jax
import numpy as np

from sgdvi._internal.check import require
from sgdvi.problem.loss import Loss
from sgdvi.samplers.targets.base import find_start, require_finite
from sgdvi.samplers.targets.make import as_arguments
from sgdvi.samplers.targets.model import ModelTarget, model_target
from sgdvi.symmetry import Symmetries, find_symmetries


def model_symmetries(model: Any, data: Any, *, key: jax.Array | None = None) -> Symmetries:
    """Find the scaling symmetries of the likelihood of a NumPyro model, in unconstrained coordinates.

    Parameters
    ----------
    model
        NumPyro model with one data plate, as for `SGD`.
    data
        Its arguments, as for `sample`.
    key
        JAX key of the search; None takes a fixed one.

    Returns
    -------
    Symmetries
        As from `find_symmetries`; the leaves are the sites that the likelihood depends on.

    Raises
    ------
    InputError
        For a model or data that SGD cannot run on, and as for `find_symmetries`.
    """
    require(callable(model) and not isinstance(model, Loss), "model must be a NumPyro model", type(model).__name__)
    key = jax.random.key(0) if key is None else key
    with jax.enable_x64(True):
        arguments = as_arguments(model, data)
        target = model_target(model, arguments, key)
        rows = target.rows(arguments)
        start, finite = find_start(target, key, rows)
        require_finite(finite)
        used = _used(target, start, rows)
        fixed = {name: value for name, value in start.items() if name not in used}

        def loss(params: Any, batch: Any) -> jax.Array:
            return -target.row_terms(target.constrain({**fixed, **params}, batch), batch)[0]

        params = {name: np.asarray(start[name]) for name in used}
        return find_symmetries(loss, params, rows, key=key)


def _used(target: ModelTarget, start: Any, rows: Any) -> list[str]:
    """Sites that the likelihood depends on, at this point."""

    def total(z: Any) -> jax.Array:
        return target.row_terms(target.constrain(z, rows), rows)[0].sum()

    # one program: operation by operation a small model takes seconds
    slopes = jax.jit(jax.grad(total))(start)
    return [name for name, slope in slopes.items() if np.any(np.asarray(slope) != 0)]

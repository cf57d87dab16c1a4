"""Curvature and gradient noise at the posterior's mode: what a step size for a general model is chosen by."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from sgdvi.problem import Problem
from sgdvi.samplers.target import find_start, require_finite
from sgdvi.samplers.targets import as_arguments, make_target

# The mode only sets a step size: a rough one is good enough.
_SEARCH_STEPS = 1_000
_SEARCH_RATE = 0.05
# Beyond this many parameters the Hessian costs more than the run.
_LARGEST_HESSIAN = 300
_MOST_ROWS = 1_000


@dataclass(frozen=True)
class Curvature:
    """The loss (negative log joint over N, unconstrained coordinates) near its minimum.

    Attributes
    ----------
    num_data, dimension
        Rows N; number of parameters.
    noise_trace
        Trace of the covariance of single rows' gradients.
    smallest_curvature, largest_curvature
        Extreme eigenvalues of the Hessian; nan where there are too many parameters for it.
    """

    num_data: int
    dimension: int
    noise_trace: float
    smallest_curvature: float
    largest_curvature: float


def curvature(problem: Problem, seed: int) -> Curvature:
    """Find the minimum of the loss by Adam and measure noise and curvature there.

    Raises
    ------
    InputError
        For a model or data that SGD cannot run on.
    """
    arguments = as_arguments(problem.model, problem.data)
    key = jax.random.key(seed)
    target = make_target(problem.model, arguments, key)
    rows = target.rows(arguments)
    start, found = find_start(target, key, rows)
    require_finite(found)
    point, unravel = ravel_pytree(start)
    loss = jax.jit(lambda z, data: target.loss(unravel(z), data))
    mode = _minimum(loss, point, rows)
    size = target.num_data
    chosen = jnp.asarray(np.unique(np.linspace(0, size - 1, min(size, _MOST_ROWS)).astype(int)))
    single = jax.vmap(lambda i: jax.grad(loss)(mode, tuple(leaf[i][None] for leaf in rows)))
    gradients = np.asarray(single(chosen))
    smallest = largest = np.nan
    if mode.size <= _LARGEST_HESSIAN:
        eigenvalues = np.linalg.eigvalsh(np.asarray(jax.hessian(loss)(mode, rows)))
        smallest, largest = float(eigenvalues[0]), float(eigenvalues[-1])
    return Curvature(size, mode.size, float(gradients.var(axis=0).sum()), smallest, largest)


def _minimum(loss: Any, point: jax.Array, rows: Any) -> jax.Array:
    optimizer = optax.adam(optax.cosine_decay_schedule(_SEARCH_RATE, _SEARCH_STEPS))

    def step(state: tuple[jax.Array, Any], _: None) -> tuple[tuple[jax.Array, Any], None]:
        updates, memory = optimizer.update(jax.grad(loss)(state[0], rows), state[1], state[0])
        return (optax.apply_updates(state[0], updates), memory), None

    return jax.jit(lambda z: jax.lax.scan(step, (z, optimizer.init(z)), length=_SEARCH_STEPS)[0][0])(point)

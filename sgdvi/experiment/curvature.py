"""Curvature and gradient noise at the posterior's mode: what a step size for a general model is chosen by."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from sgdvi.problem.base import Problem
from sgdvi.samplers.quadratic import adam_minimum
from sgdvi.samplers.targets.base import find_start, require_finite
from sgdvi.samplers.targets.make import as_arguments, make_target

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
    start, finite = find_start(target, key, rows)
    require_finite(finite)
    point, unravel = ravel_pytree(start)
    loss = jax.jit(lambda z, data: target.loss(unravel(z), data))
    # it only sets a step size: a rough one is good enough
    mode = adam_minimum(loss, point, rows)
    size = target.num_data
    chosen = jnp.asarray(np.unique(np.linspace(0, size - 1, min(size, _MOST_ROWS)).astype(int)))
    single = jax.vmap(lambda i: jax.grad(loss)(mode, tuple(leaf[i][None] for leaf in rows)))
    gradients = np.asarray(single(chosen))
    smallest = largest = np.nan
    if mode.size <= _LARGEST_HESSIAN:
        eigenvalues = np.linalg.eigvalsh(np.asarray(jax.hessian(loss)(mode, rows)))
        smallest, largest = float(eigenvalues[0]), float(eigenvalues[-1])
    return Curvature(size, mode.size, float(gradients.var(axis=0).sum()), smallest, largest)

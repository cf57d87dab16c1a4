"""Curvature and gradient noise near a minimum of the loss: what a step size is chosen by where there is no forecast."""

from dataclasses import dataclass

import jax
import numpy as np

from sgdvi.problem.base import Problem
from sgdvi.samplers.rest import near_minimum
from sgdvi.samplers.targets.base import find_start, require_finite
from sgdvi.samplers.targets.make import as_arguments, make_target


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
    """Measure noise and curvature roughly at a minimum of the loss.

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
    gradients, hessian = near_minimum(target, start, rows)
    smallest, largest = (np.nan, np.nan) if hessian is None else np.linalg.eigvalsh(hessian)[[0, -1]]
    return Curvature(
        target.num_data, gradients.shape[1], float(gradients.var(axis=0).sum()), float(smallest), float(largest)
    )

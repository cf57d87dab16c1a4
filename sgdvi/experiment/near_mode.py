"""Draws by what is known near the mode: the Gaussian there about the right mean, and averages of SGD's iterates."""

from typing import Any

import jax
import numpy as np

from sgdvi._internal.pareto import pareto_shape
from sgdvi.draws.tree import from_samples
from sgdvi.experiment.plan import Plan
from sgdvi.problem.base import Problem
from sgdvi.samplers import IterateAverage, Sampler, sample
from sgdvi.samplers.algorithms.preconditioned import preconditioned
from sgdvi.samplers.quadratic import LocalQuadratic, draw_of
from sgdvi.samplers.recipes import batch_size_for

SHIFTED, AVERAGES = "Laplace with its mean shifted", "iterate averages"
_DRAWS = 4_000
# In a window, which is an epoch: the averages then lack a tenth of their variance. More of them take a larger rate, at
# which the iterates spread so far that the mean of a skewed site moves.
_RELAXATIONS = 10
_WINDOWS = 250


def shifted_laplace(problem: Problem, near: LocalQuadratic, key: jax.Array) -> Any:
    """Return draws of the Gaussian with the curvature at the mode about mode + shift, see `NearMinimum.shift`.

    ``khat`` in their settings is the Pareto shape of the weights posterior over Gaussian.

    Parameters
    ----------
    problem
        What is drawn from.
    near
        Mode and curvature.
    key
        JAX key.
    """
    law = near.laplace
    with jax.enable_x64(True):
        normal = np.asarray(jax.random.normal(key, (_DRAWS, law.mean.size)))
    z = law.mean + normal @ law.root.T
    log_weights = 0.5 * (normal**2).sum(axis=1) - near.num_data * near.flat.values(z)
    config = {"family": "laplace", "mean": "shifted", "num_samples": _DRAWS, "khat": pareto_shape(log_weights)}
    said = {"converged": True, "convergence": "converged"}
    return from_samples(near.flat.constrain(z), kind="vi", dims=problem.dims, config=config, **said)


def averages(problem: Problem, near: LocalQuadratic, plan: Plan, key: jax.Array, progress: bool) -> Any:
    """Return averages over epochs of SGD whose step is the inverse curvature, at ten relaxations to an epoch.

    Their covariance is the sandwich's, the posterior's in a well-specified model (Mandt, Hoffman and Blei 2017).

    Raises
    ------
    InputError
        Where steps of this size have no law.
    """
    size = batch_size_for("whitened", near.num_data)
    recipe = near.recipe("whitened", batch_size=size, learning_rate=_RELAXATIONS * size / near.num_data)
    inner = Sampler(problem.model, preconditioned(near.factor(recipe.step), None, recipe.learning_rate), size)
    sampler = IterateAverage(inner)
    sampler.begin = lambda key: draw_of(near, near.laplace, key)
    window = -(-near.num_data // size)
    return sample(
        sampler, problem.data, key=key, num_steps=_WINDOWS * window, num_warmup=window, thinning=window,
        num_chains=plan.num_chains, progress=progress, dims=dict(problem.dims),
    )  # fmt: skip

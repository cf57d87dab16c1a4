"""Pathfinder: the Gaussian along a quasi-Newton path that has the highest evidence lower bound, by BlackJAX."""

import time
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from numpyro.infer.util import initialize_model

from sgdvi._internal.check import InputError, message, whole
from sgdvi._internal.pareto import pareto_shape
from sgdvi.draws.tree import from_samples
from sgdvi.problem.all_rows import full_model
from sgdvi.problem.base import Problem, require_posterior

if TYPE_CHECKING:
    from sgdvi.draws.tree import DataTree

# Draws per point of the path for its evidence lower bound, BlackJAX's default.
_ELBO_DRAWS = 200


def pathfinder(problem: Problem, key: jax.Array, num_samples: int = 4000, max_steps: int = 100) -> "DataTree":
    """Approximate the posterior of a problem by Pathfinder, and draw from it.

    L-BFGS goes from a random start towards the mode; the Gaussian with its inverse Hessian estimate at the point with
    the highest evidence lower bound is the result (Zhang, Carpenter, Gelman and Vehtari 2022, arXiv:2108.03782).

    Parameters
    ----------
    problem
        Model and data.
    key
        JAX key: the same key gives the same fit and draws.
    num_samples
        Independent draws of the fitted law.
    max_steps
        Most steps of L-BFGS.

    Returns
    -------
    DataTree
        Kind ``"vi"``, one chain marked ``independent``. Its ``config_json`` holds the settings, the evidence lower
        bound ``elbo`` (one number) and ``khat``, as for `variational`.

    Raises
    ------
    InputError
        If BlackJAX is missing, the posterior is known to be improper, the path found no finite evidence lower bound, or
        a count is not a whole number above zero.
    """
    path = _blackjax()
    require_posterior(problem)
    draws, steps = whole("num_samples", num_samples, least=4), whole("max_steps", max_steps, least=1)
    key_start, key_path, key_draw = jax.random.split(key, 3)
    started = time.perf_counter()
    args, kwargs = problem.arguments
    whole_model = full_model(problem.model, (args, kwargs))
    model = initialize_model(key_start, whole_model, model_args=args, model_kwargs=kwargs)

    def log_joint(z: Any) -> jax.Array:
        return -model.potential_fn(z)

    @jax.jit
    def fit_and_draw(start: Any) -> tuple[Any, ...]:
        state, _ = path.approximate(key_path, log_joint, start, num_samples=_ELBO_DRAWS, maxiter=steps)
        z, log_fit = path.sample(key_draw, state, draws)
        return state.elbo, jax.vmap(model.postprocess_fn)(z), jax.vmap(log_joint)(z) - log_fit

    elbo, samples, log_weights = fit_and_draw(model.param_info.z)
    if not np.isfinite(elbo):
        rule = f"Pathfinder must find a finite evidence lower bound for {problem.name!r}"
        raise InputError(message(rule, float(elbo), "Give another key, or use variational(family='laplace')."))
    config = {
        "num_samples": draws,
        "max_steps": steps,
        "elbo": float(elbo),
        "khat": pareto_shape(np.asarray(log_weights, dtype=np.float64)),
        "seconds": time.perf_counter() - started,
    }
    return from_samples(samples, kind="vi", dims=problem.dims, config=config)


def _blackjax() -> Any:
    try:
        from blackjax.vi import pathfinder as path
    except ImportError as error:
        advice = "Install it with: pip install 'sgdvi[blackjax]'."
        raise InputError(message("Pathfinder needs the package blackjax", str(error), advice)) from error
    return path

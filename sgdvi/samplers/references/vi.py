"""Gaussians fitted to the posterior: NumPyro's stochastic variational inference on the same model and data."""

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import optax
from arviz_stats.base import array_stats
from numpyro import handlers
from numpyro.infer import SVI, Trace_ELBO
from numpyro.infer.autoguide import AutoContinuous, AutoDiagonalNormal, AutoMultivariateNormal
from numpyro.infer.util import log_density
from numpyro.optim import optax_to_numpyro

from sgdvi._check import require, whole
from sgdvi._tree import to_jax
from sgdvi.draws import from_samples
from sgdvi.problem import Problem
from sgdvi.samplers.references.exact import require_proper

if TYPE_CHECKING:
    from sgdvi.draws import DataTree

_GUIDES: dict[str, type[AutoContinuous]] = {"mean-field": AutoDiagonalNormal, "full-rank": AutoMultivariateNormal}
# The rate falls by a factor of 1000, so that the noise of the gradient does not stay in the fit.
_FIRST_RATE, _LAST_RATE = 3e-2, 3e-5
_PARTICLES = 8
_TRACE_POINTS = 200
_WEIGHTS = 1000


def variational(
    problem: Problem,
    key: jax.Array,
    family: str = "mean-field",
    num_steps: int = 5000,
    num_samples: int = 4000,
) -> "DataTree":
    """Fit a Gaussian in unconstrained coordinates to the posterior of a problem, and draw from it.

    Parameters
    ----------
    problem
        Model and data.
    key
        JAX key: the same key gives the same fit and draws.
    family
        ``"mean-field"`` (independent coordinates) or ``"full-rank"`` (any covariance).
    num_steps
        Steps of Adam on the evidence lower bound, with a rate that falls from 0.03 to 0.00003.
    num_samples
        Independent draws of the fitted law.

    Returns
    -------
    DataTree
        Kind ``"vi"``, one chain marked ``independent``. Its ``config_json`` holds the settings, the evidence lower
        bound over the run (``elbo``, means of blocks of ``elbo_block`` steps) and ``khat``, the Pareto shape of the
        importance weights posterior/fit (above 0.7 the fit is poor; inf where it cannot be computed).

    Raises
    ------
    InputError
        If the posterior is known to be improper, the family is unknown, or a count is not a whole number above zero.
    """
    require_proper(problem.exact)
    require(family in _GUIDES, f"family must be one of {', '.join(_GUIDES)}", repr(family))
    steps = whole("num_steps", num_steps, least=1)
    draws = whole("num_samples", num_samples, least=4)
    key_fit, key_draw, key_weights = jax.random.split(key, 3)
    data = to_jax(problem.data)
    guide = _GUIDES[family](problem.model)
    rate = optax.exponential_decay(_FIRST_RATE, steps, _LAST_RATE / _FIRST_RATE)
    elbo = Trace_ELBO(num_particles=_PARTICLES)
    started = time.perf_counter()
    svi = SVI(problem.model, guide, optax_to_numpyro(optax.adam(rate)), elbo)
    fit = svi.run(key_fit, steps, *data, progress_bar=False)
    samples = guide.sample_posterior(key_draw, fit.params, sample_shape=(draws,))
    weights = _log_weights(problem.model, data, guide, fit.params, jax.random.split(key_weights, _WEIGHTS))
    block = math.ceil(steps / _TRACE_POINTS)
    trace = -np.asarray(fit.losses, dtype=np.float64)[: steps // block * block].reshape(-1, block).mean(axis=1)
    config = {
        "family": family,
        "num_steps": steps,
        "num_samples": draws,
        "elbo": trace.tolist(),
        "elbo_block": block,
        "khat": pareto_shape(weights),
        "seconds": time.perf_counter() - started,
    }
    return from_samples(samples, kind="vi", dims=problem.dims, config=config)


def pareto_shape(log_weights: np.ndarray) -> float:
    """Return k-hat, the shape of the Pareto law fitted to the largest importance weights; from logs, shape (K,)."""
    # ArviZ takes log ratios with the sign of a log likelihood, that is negated.
    return float(array_stats.psislw(-log_weights)[1])


def _log_weights(
    model: Callable[..., Any], data: tuple[Any, ...], guide: AutoContinuous, params: dict[str, Any], keys: jax.Array
) -> np.ndarray:
    """Log of posterior (up to a constant) over fit, at one draw of the fit per key; in one compiled call."""

    def log_weight(key: jax.Array, params: dict[str, Any], data: tuple[Any, ...]) -> jax.Array:
        log_fit, trace = log_density(handlers.seed(guide, key), data, {}, params)
        log_joint, _ = log_density(handlers.replay(model, trace), data, {}, {})
        return log_joint - log_fit

    weights = jax.jit(jax.vmap(log_weight, in_axes=(0, None, None)))(keys, params, data)
    return np.asarray(weights, dtype=np.float64)

"""Laws fitted to the posterior: NumPyro's stochastic variational inference on the same model and data."""

import math
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from arviz_stats.base import array_stats
from numpyro import handlers
from numpyro.infer import ELBO, SVI
from numpyro.infer.autoguide import (
    AutoBNAFNormal,
    AutoContinuous,
    AutoDiagonalNormal,
    AutoIAFNormal,
    AutoLaplaceApproximation,
    AutoLowRankMultivariateNormal,
    AutoMultivariateNormal,
)
from numpyro.infer.util import initialize_model, log_density
from numpyro.optim import optax_to_numpyro

from sgdvi._internal.check import InputError, message, require, whole
from sgdvi._internal.tree import to_jax
from sgdvi.draws.tree import from_samples
from sgdvi.problem.base import Problem, require_posterior

if TYPE_CHECKING:
    from sgdvi.draws.tree import DataTree

_GUIDES: dict[str, type[AutoContinuous]] = {
    "mean-field": AutoDiagonalNormal,
    "full-rank": AutoMultivariateNormal,
    "low-rank": AutoLowRankMultivariateNormal,
    "laplace": AutoLaplaceApproximation,
    "iaf": AutoIAFNormal,
    "bnaf": AutoBNAFNormal,
}
_FLOWS = ("iaf", "bnaf")
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
    """Fit a Gaussian or a flow in unconstrained coordinates to the posterior of a problem, and draw from it.

    Parameters
    ----------
    problem
        Model and data.
    key
        JAX key: the same key gives the same fit and draws.
    family
        Gaussians: ``"mean-field"`` (independent coordinates), ``"full-rank"`` (any covariance), ``"low-rank"``
        (diagonal plus rank about the root of the dimension), ``"laplace"`` (at the mode, with the inverse Hessian as
        its covariance). Flows, which bend and skew a Gaussian: ``"iaf"`` (inverse autoregressive) and ``"bnaf"`` (block
        neural autoregressive), for two dimensions or more.
    num_steps
        Steps of Adam on the evidence lower bound (``"laplace"``: on the log joint), with a rate that falls from 0.03 to
        0.00003.
    num_samples
        Independent draws of the fitted law.

    Returns
    -------
    DataTree
        Kind ``"vi"``, one chain marked ``independent``. Its ``config_json`` holds the settings, the evidence lower
        bound over the run (``elbo``, means of blocks of ``elbo_block`` steps; for ``"laplace"`` the log joint at the
        point reached, ``log_joint`` and ``log_joint_block``, which bounds nothing) and ``khat``, the Pareto shape of
        the importance weights posterior/fit (above 0.7 the fit is poor; inf where it cannot be computed).

    Raises
    ------
    InputError
        If the posterior is known to be improper, the family is unknown, a flow is asked for in one dimension, the
        posterior has no curvature at its mode (Laplace), or a count is not a whole number above zero.
    """
    require_posterior(problem)
    require(family in _GUIDES, f"family must be one of {', '.join(_GUIDES)}", repr(family))
    steps = whole("num_steps", num_steps, least=1)
    draws = whole("num_samples", num_samples, least=4)
    key_fit, key_draw, key_weights = jax.random.split(key, 3)
    data = to_jax(problem.data)
    guide = _GUIDES[family](problem.model)
    rate = optax.exponential_decay(_FIRST_RATE, steps, _LAST_RATE / _FIRST_RATE)
    # The search for a mode has no noise to average.
    elbo = _ELBO(num_particles=1 if family == "laplace" else _PARTICLES)
    started = time.perf_counter()
    if family in _FLOWS:
        _require_two_dimensions(problem, family, data)
    svi = SVI(problem.model, guide, optax_to_numpyro(optax.adam(rate)), elbo)
    fit = svi.run(key_fit, steps, *data, progress_bar=False)
    params = fit.params
    if isinstance(guide, AutoLaplaceApproximation):
        guide, params = _gaussian_at_mode(problem, guide, params, data)
    samples = guide.sample_posterior(key_draw, params, sample_shape=(draws,))
    weights = _log_weights(problem.model, data, guide, params, jax.random.split(key_weights, _WEIGHTS))
    block = math.ceil(steps / _TRACE_POINTS)
    trace = -np.asarray(fit.losses, dtype=np.float64)[: steps // block * block].reshape(-1, block).mean(axis=1)
    climbed = "log_joint" if family == "laplace" else "elbo"
    config = {
        "family": family,
        "num_steps": steps,
        "num_samples": draws,
        climbed: trace.tolist(),
        f"{climbed}_block": block,
        "khat": pareto_shape(weights),
        "seconds": time.perf_counter() - started,
    }
    return from_samples(samples, kind="vi", dims=problem.dims, config=config)


class _ELBO(ELBO):
    """The lower bound of `numpyro.infer.Trace_ELBO`, its terms added in the order of the model.

    NumPyro 0.22 goes through a set of names, whose order is another one in every process: draws of one key would differ
    in their last digits, and no program that was compiled before would serve.
    """

    def loss(self, rng_key: Any, param_map: Any, model: Any, guide: Any, *args: Any, **kwargs: Any) -> Any:
        """Return minus the bound, a mean over the particles."""

        def particle(key: jax.Array) -> jax.Array:
            model_key, guide_key = jax.random.split(key)
            log_guide, trace = log_density(handlers.seed(guide, guide_key), args, kwargs, param_map)
            replayed = handlers.replay(handlers.seed(model, model_key), trace)
            return log_density(replayed, args, kwargs, param_map)[0] - log_guide

        return -jnp.mean(jax.vmap(particle)(jax.random.split(rng_key, self.num_particles)))


def _require_two_dimensions(problem: Problem, family: str, data: tuple[Any, ...]) -> None:
    dimension = unconstrained_dimension(problem.model, data)
    rule = f"the flow {family!r} needs at least two parameters: in one dimension it has nothing to condition on"
    require(dimension >= 2, rule, f"{dimension} in {problem.name!r}", "Use the family 'full-rank'.")


def unconstrained_dimension(model: Callable[..., Any], data: tuple[Any, ...]) -> int:
    """Number of parameters of a model in unconstrained coordinates."""
    start = initialize_model(jax.random.key(0), model, model_args=data, validate_grad=False).param_info.z
    return sum(np.size(leaf) for leaf in jax.tree.leaves(start))


def _gaussian_at_mode(
    problem: Problem, guide: AutoLaplaceApproximation, params: dict[str, Any], data: tuple[Any, ...]
) -> tuple[AutoContinuous, dict[str, Any]]:
    """Turn the mode that was found into a guide with the inverse Hessian as covariance."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Hessian of log posterior", UserWarning)  # said below, as an error
        law = guide.get_posterior(params)
    # A flat direction has a curvature of rounding, of either sign.
    scales = np.linalg.svd(np.nan_to_num(law.scale_tril), compute_uv=False)
    if not scales[-1] > np.sqrt(10 * np.finfo(scales.dtype).eps) * scales[0]:
        rule = f"the log posterior of {problem.name!r} must be curved in every direction at its mode for Laplace"
        advice = "Give proper priors, or use the family 'full-rank'."
        raise InputError(message(rule, "a flat or rising direction", advice))
    gaussian = AutoMultivariateNormal(problem.model)
    handlers.seed(gaussian, jax.random.key(0))(*data)  # makes the guide learn the sites of the model
    return gaussian, {f"{gaussian.prefix}_loc": law.loc, f"{gaussian.prefix}_scale_tril": law.scale_tril}


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

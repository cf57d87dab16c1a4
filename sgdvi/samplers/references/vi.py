"""Laws fitted to the posterior: Gaussians on fixed draws, Laplace at the checked mode, low-rank and flows by Adam."""

import math
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import optax
from numpyro import handlers
from numpyro.infer import ELBO, SVI, init_to_value
from numpyro.infer.autoguide import (
    AutoBNAFNormal,
    AutoContinuous,
    AutoIAFNormal,
    AutoLowRankMultivariateNormal,
)
from numpyro.infer.util import log_density
from numpyro.optim import optax_to_numpyro
from tqdm.auto import tqdm

from sgdvi._internal.bounds import rising
from sgdvi._internal.check import InputError, message, require, whole
from sgdvi._internal.pareto import pareto_shape
from sgdvi.draws.tree import from_samples
from sgdvi.problem.base import Problem, require_posterior
from sgdvi.samplers.references.gaussian import LARGEST_GAP, GaussianFit, Place, fit_gaussian, place_of
from sgdvi.samplers.references.joint import Joint

if TYPE_CHECKING:
    from sgdvi.draws.tree import DataTree

_BY_ADAM: dict[str, type[AutoContinuous]] = {
    "low-rank": AutoLowRankMultivariateNormal,
    "iaf": AutoIAFNormal,
    "bnaf": AutoBNAFNormal,
}
_FAMILIES = ("mean-field", "full-rank", "laplace", *_BY_ADAM)
_FLOWS = ("iaf", "bnaf")
_LARGEST_FULL = 1_000
# The rate falls by a factor of 1000, so that the noise of the gradient does not stay in the fit.
_FIRST_RATE, _LAST_RATE = 3e-2, 3e-5
_PARTICLES = 8
_TRACE_POINTS = 200
_WEIGHTS = 1000
_SITE = "x"
# Pieces of a fit by Adam, after each of which the bar moves; seconds without a bar.
_PIECES, _SILENT = 50, 2.0


def variational(
    problem: Problem,
    key: jax.Array,
    family: str = "mean-field",
    num_steps: int = 5000,
    num_samples: int = 4000,
    joint: Joint | None = None,
    progress: bool = False,
) -> "DataTree":
    r"""Fit a Gaussian or a flow in unconstrained coordinates to the posterior of a problem, and draw from it.

    All fits begin at the checked mode of the joint density, in coordinates scaled by the curvature there, in float64.

    Parameters
    ----------
    problem
        Model and data.
    key
        JAX key: the same key gives the same fit and draws.
    family
        Gaussians: ``"mean-field"`` (independent coordinates) and ``"full-rank"`` (any covariance), by L-BFGS on
        fixed draws, see `fit_gaussian`; ``"laplace"`` (at the mode, with the inverse Hessian as its covariance);
        ``"low-rank"`` (diagonal plus rank about the root of the dimension), by Adam. Flows, which bend and skew a
        Gaussian, by Adam: ``"iaf"`` (inverse autoregressive) and ``"bnaf"`` (block neural autoregressive), for two
        dimensions or more.
    num_steps
        Most steps of L-BFGS; steps of Adam, with a rate that falls from 0.03 to 0.00003.
    num_samples
        Independent draws of the fitted law.
    joint
        The density of this problem, where several fits share its mode; None makes it.
    progress
        Whether to show a bar where the fit takes more than two seconds.

    Returns
    -------
    DataTree
        Kind ``"vi"``, one chain marked ``independent``. Its attributes say whether the fit has converged:
        ``converged`` (1 or 0) and ``convergence``, in words. A Gaussian has if the gradient of its bound is below 1e-5
        nats per sd, two sets of draws give the same law within 0.1 sd, and the bound on fresh draws is within 0.1 nat
        (or 3 standard errors); a fit by Adam if its bound does not rise any more. ``config_json`` holds the settings,
        the evidence lower bound over the run (``elbo``, means of blocks of ``elbo_block`` steps; for ``"laplace"``
        the log joint at the mode, ``log_joint``, which bounds nothing) and ``khat``, the Pareto shape of the
        importance weights posterior/fit (above 0.7 the fit is poor; inf where it cannot be computed).

    Raises
    ------
    InputError
        If the posterior is known to be improper, the family is unknown, a flow is asked for in one dimension, the
        joint density has no mode (Laplace), or a count is not a whole number above zero.
    """
    require_posterior(problem)
    require(family in _FAMILIES, f"family must be one of {', '.join(_FAMILIES)}", repr(family))
    steps = whole("num_steps", num_steps, least=1)
    draws = whole("num_samples", num_samples, least=4)
    started = time.perf_counter()
    joint = joint or Joint(problem)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel().tolist())
    if family in _FLOWS:
        rule = f"the flow {family!r} needs at least two parameters: in one dimension it has nothing to condition on"
        require(joint.dimension >= 2, rule, f"{joint.dimension} in {problem.name!r}", "Use the family 'full-rank'.")
    # L-BFGS ends where it has converged, so its bar has no end to show.
    total = steps if family in _BY_ADAM else None
    bar = tqdm(total=total, desc=f"{family} fit", unit=" steps", disable=not progress, delay=_SILENT, leave=False)
    if family in _BY_ADAM:
        with bar:
            made = _by_adam(joint, key, family, steps, draws, bar.update)
    elif family == "laplace":
        made = _laplace(joint, rng, draws)
    else:
        rule, advice = f"full-rank fits have at most {_LARGEST_FULL} parameters", "Use 'low-rank' or 'mean-field'."
        require(family != "full-rank" or joint.dimension <= _LARGEST_FULL, rule, joint.dimension, advice)
        with bar:
            made = _gaussian(joint, rng, draws, full=family == "full-rank", steps=steps, on_step=bar.update)
    z, log_weights, settings, reason = made
    config = {
        "family": family,
        "num_steps": steps,
        "num_samples": draws,
        **settings,
        "khat": pareto_shape(log_weights),
        "seconds": time.perf_counter() - started,
    }
    said = {"converged": not reason, "convergence": reason or "converged"}
    return from_samples(joint.sites(z), kind="vi", dims=problem.dims, config=config, **said)


Made = tuple[np.ndarray, np.ndarray, dict[str, Any], str]


def _gaussian(
    joint: Joint, rng: np.random.Generator, draws: int, *, full: bool, steps: int, on_step: Callable[[], object]
) -> Made:
    fit = fit_gaussian(joint, full=full, rng=rng, num_steps=steps, on_step=on_step)
    weights = _log_weights(joint, fit, rng)
    bound, error = float(weights.mean()), float(weights.std() / math.sqrt(len(weights)))
    reason, gap = fit.problem, abs(bound - fit.bounds[-1])
    if not reason and not gap <= max(LARGEST_GAP, 3 * error):
        reason = f"the bound is {fit.bounds[-1]:.6g} on the draws of the fit and {bound:.6g} on fresh ones"
    settings = {
        "elbo": fit.bounds,
        "elbo_block": 1,
        "gradient": fit.gradient,
        "disagreement": fit.disagreement,
        "num_draws": fit.num_draws,
    }
    return fit.draw(rng, draws), weights, settings, reason


def _laplace(joint: Joint, rng: np.random.Generator, draws: int) -> Made:
    mode, name = joint.mode, joint.problem.name
    rule = f"the log posterior of {name!r} must be curved in every direction at its mode for Laplace"
    require(mode.exists, rule, mode.reason.rstrip("."), "Give proper priors, or use the family 'full-rank'.")
    if mode.hessian is None:
        rule, advice = "Laplace needs the Hessian of at most 300 parameters", "Use 'low-rank' or 'mean-field'."
        raise InputError(message(rule, joint.dimension, advice))
    fit = GaussianFit(mode.vector, place_of(joint, full=True).root, [], 0.0, 0.0, 0)
    weights = _log_weights(joint, fit, rng)
    return fit.draw(rng, draws), weights, {"log_joint": [-mode.loss], "log_joint_block": 1}, ""


def _log_weights(joint: Joint, fit: GaussianFit, rng: np.random.Generator) -> np.ndarray:
    z = fit.draw(rng, _WEIGHTS)
    return -joint.slopes(z)[0] - fit.log_density(z)


def _by_adam(
    joint: Joint, key: jax.Array, family: str, steps: int, draws: int, on_steps: Callable[[int], object]
) -> Made:
    """Fit one of NumPyro's guides in coordinates in which the curvature at the mode is 1."""
    key_fit, key_draw, key_weights = jax.random.split(key, 3)
    place: Place = place_of(joint, full=False)
    centre, root = jnp.asarray(place.centre), jnp.asarray(place.root)

    def standardised() -> None:
        improper = dist.ImproperUniform(dist.constraints.real, (), (joint.dimension,))
        x = numpyro.sample(_SITE, improper)
        with handlers.block():  # sites of the model, which have their values, are none of the guide's
            loss = joint.potential(centre + root * x)
        numpyro.factor("joint", -loss)

    with jax.enable_x64(True):
        guide = _BY_ADAM[family](standardised, init_loc_fn=init_to_value(values={_SITE: jnp.zeros(joint.dimension)}))
        rate = optax.exponential_decay(_FIRST_RATE, steps, _LAST_RATE / _FIRST_RATE)
        svi = SVI(standardised, guide, optax_to_numpyro(optax.adam(rate)), _ELBO(num_particles=_PARTICLES))
        params, losses = _run(svi, key_fit, steps, on_steps)
        x = guide.sample_posterior(key_draw, params, sample_shape=(draws,))[_SITE]

        def log_weight(key: jax.Array) -> jax.Array:
            log_fit, trace = log_density(handlers.seed(guide, key), (), {}, params)
            return log_density(handlers.replay(standardised, trace), (), {}, {})[0] - log_fit

        weights = np.asarray(jax.jit(jax.vmap(log_weight))(jax.random.split(key_weights, _WEIGHTS)))
        bounds = -np.asarray(losses, dtype=np.float64)
    block = math.ceil(steps / _TRACE_POINTS)
    trace = bounds[: steps // block * block].reshape(-1, block).mean(axis=1)
    # the weights are of x: the volume of the scale is missing in both bound and weights
    settings = {"elbo": (trace + place.log_volume).tolist(), "elbo_block": block}
    return place.at(np.asarray(x)), weights + place.log_volume, settings, rising(bounds)


def _run(svi: SVI, key: jax.Array, steps: int, on_steps: Callable[[int], object]) -> tuple[Any, np.ndarray]:
    """Take the steps some at a time, and return the parameters and the loss of each step."""

    @partial(jax.jit, static_argnums=1)
    def take(state: Any, count: int) -> Any:
        return jax.lax.scan(lambda state, _: svi.update(state), state, None, length=count)

    state, losses = svi.init(key), []
    piece = max(1, steps // _PIECES)
    for count in [*[piece] * (steps // piece), *([steps % piece] if steps % piece else [])]:
        state, made = take(state, count)
        losses.append(np.asarray(made))
        on_steps(count)
    return svi.get_params(state), np.concatenate(losses)


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

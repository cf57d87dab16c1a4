"""KL divergence of SGD's law from the posterior on v, and the evidence lower bound, as functions of the temperature."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from sgdvi._internal.types import Values
from sgdvi.laws._engine.arrays import give_back, to_float64
from sgdvi.laws.expectations import Panels, panels
from sgdvi.laws.multiples import Temperature, resolve
from sgdvi.laws.posterior import LinePosterior
from sgdvi.laws.prior import slow_part
from sgdvi.problem.network import LinearNetwork


def matching_temperature(network: LinearNetwork) -> float:
    """Temperature at which the law of SGD is as wide as the posterior, to first order in T.

    About v* = beta2/beta1 the flow is an Ornstein-Uhlenbeck process: variance c T g(v*)/beta1 with
    c = n |v*|^(2-2/n) d^(2/n-1) for n = depth + 1 factors and width d; the posterior's is sigma^2/(N beta1). It is the
    rule of Mandt, Hoffman and Blei (2017) for the one direction that the loss sees.
    """
    moments, factors = network.moments, network.depth + 1
    center = abs(float(moments.minimizer))
    mobility = factors * center ** (2 - 2 / factors) * network.width ** (2 / factors - 1)
    noise = mobility * float(moments.noise(float(moments.minimizer)))
    return network.noise_sd**2 / (network.num_data * noise) if noise > 0 else math.inf


def divergence(network: LinearNetwork, temperature: Temperature, weight_decay: ArrayLike | None = None) -> Any:
    r"""Return :math:`KL(p_{SGD} \| p_{Bayes})` on v in nats, differentiable in temperature and weight decay.

    Parameters
    ----------
    network
        Network with its data and priors: depth 0 or 1 with any width, or deeper with width 1.
    temperature
        Temperature of SGD, a scalar. Use `jax.vmap` for many.
    weight_decay
        Decay that SGD uses; None takes what the prior amounts to (none at depth 2 and above, where a decay leaves no
        law). The posterior keeps its prior.

    Returns
    -------
    array
        Infinite at depth 0 for a law without variance; nan where SGD has no law, for traced arguments.

    Raises
    ------
    InputError
        Where SGD has no law (concrete arguments), or the posterior is improper or not known.

    Notes
    -----
    -H(p) - E_p[log p_Bayes] with the entropy and the expectation on the panels of the law. The log posterior is
    quadratic plus the log prior; the latter's leading tail -(n/2)(|v|/tau^n)^(2/n) is a moment, and the rest changes
    like log |v|.
    """
    heat = resolve(temperature, lambda: network.critical_temperature)
    return divergence_from(network, network.posterior)(heat, weight_decay)


def divergence_from(network: LinearNetwork, posterior: LinePosterior) -> Callable[..., Any]:
    """Return `divergence` as a function of temperature and weight decay, with the posterior made beforehand."""

    def value(temperature: ArrayLike, weight_decay: ArrayLike | None = None) -> Any:
        with jax.enable_x64(True):
            result = against_posterior(network, posterior, temperature, weight_decay).kl
        return give_back(result, None, (temperature,))

    return value


class Against(NamedTuple):
    """The law of SGD at one temperature, held against the posterior on v; float64."""

    kl: Values
    mean: Values
    variance: Values
    entropy: Values


class _Target(NamedTuple):
    """What the mean log posterior needs of a network's data, prior and posterior: numbers, which share a program."""

    center: Any
    prior_sd: Any
    precision: Any
    log_normalizer: Any


def against_posterior(
    network: LinearNetwork, posterior: LinePosterior, temperature: ArrayLike, weight_decay: ArrayLike | None = None
) -> Against:
    """Return KL to the posterior, mean, variance and entropy of SGD's law; arguments and errors as of `divergence`.

    The caller holds ``jax.enable_x64(True)``. The law is made by itself, not in one program with what is asked of it:
    so all networks from depth 2 on share what takes longest to compile.
    """
    moments, law = network.moments, network.branch_law(temperature, weight_decay)
    if network.depth == 0:
        mean, variance, entropy = law.mean, law.variance, law.entropy()
        cross = (variance + (mean - posterior.mean) ** 2) / posterior.variance
        cross = cross + jnp.log(2 * jnp.pi * posterior.variance)
        return Against(0.5 * cross - entropy, mean, variance, entropy)
    precision = 2 * network.kappa * network.num_data * float(moments.beta1)
    numbers = abs(float(moments.minimizer)), network.prior_sd, precision, posterior.log_normalizer
    target, nodes = _Target(*map(to_float64, numbers)), panels(law)
    kl = -nodes.entropy - _log_posterior_mean(target, nodes, network.depth + 1, network.width)
    return Against(kl, network.side * nodes.mean, nodes.variance, nodes.entropy)


@partial(jax.jit, static_argnames=("n", "width"))
def _log_posterior_mean(target: _Target, nodes: Panels, n: int, width: int) -> Array:
    log_unit = n * jnp.log(target.prior_sd)
    fit = 0.5 * target.precision * nodes.square(target.center)
    bend = 0.5 * n * nodes.power(2 / n) / target.prior_sd**2
    rest = nodes.slow(lambda log_v: slow_part(n, width, log_v - log_unit))
    return rest - log_unit - fit - bend - target.log_normalizer


def log_evidence(network: LinearNetwork, posterior: LinePosterior) -> float:
    """Log marginal likelihood of the data, log p(y)."""
    residuals = (np.asarray(network.y) - float(network.moments.minimizer) * np.asarray(network.x)) / network.noise_sd
    fitted = -0.5 * residuals @ residuals - network.num_data * np.log(np.sqrt(2 * np.pi) * network.noise_sd)
    return float(fitted) + posterior.log_normalizer

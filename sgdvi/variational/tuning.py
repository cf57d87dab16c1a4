"""The temperature at which SGD is nearest to the posterior on v, and the causes of what is left."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import jax
import numpy as np
import scipy.optimize

from sgdvi._check import InputError, message, positive, require
from sgdvi.laws import critical_temperature
from sgdvi.laws.temperatures import infinite_from, temperature_grid
from sgdvi.linear import LinearNetwork
from sgdvi.samplers.references.exact import LinePosterior, ProductPosterior, line_posterior
from sgdvi.variational.objective import against_posterior, law_of, log_evidence, matching_temperature, side

# The divergence changes over about a power of ten in T: eight points in it find every valley.
_PER_DECADE, _DECADES = 8, 6


@dataclass(frozen=True)
class DivergenceParts:
    r"""KL(p || p_Bayes) on v split into its causes, in nats; they add up to the whole.

    With p_+ the posterior given the sign that SGD has, and G_p, G_+ the normal laws with the means m and standard
    deviations s of p and p_+,

    .. math::

        KL(p \| p_{Bayes}) = -\log P(\text{sign}) + \frac{(m - m_+)^2}{2 s_+^2}
            + \frac12\Bigl(\frac{s^2}{s_+^2} - 1 - \log\frac{s^2}{s_+^2}\Bigr)
            + \Bigl\{KL(p \| G_p) + E_p\log\frac{G_+}{p_+}\Bigr\}.

    Attributes
    ----------
    missing_sign
        The first term: the posterior mass on the sign that SGD never has. Never negative.
    bias
        The second: SGD's mean is not the posterior's. Never negative.
    spread
        The third: SGD's variance is not the posterior's. Never negative.
    tail
        The last: shapes beyond mean and variance, foremost the power-law tail of SGD. Below zero where the two laws
        deviate from the normal one in the same way.
    """

    missing_sign: float
    bias: float
    spread: float
    tail: float

    @property
    def total(self) -> float:
        """The whole divergence."""
        return self.missing_sign + self.bias + self.spread + self.tail


@dataclass(frozen=True)
class Tuned:
    """Where SGD is nearest to the posterior on v.

    Attributes
    ----------
    network
        The network.
    temperature
        The temperature T with the least KL(p_SGD || p_Bayes) on v.
    kl
        That divergence, in nats: no learning rate and no batch size removes it.
    parts
        Its causes.
    log_evidence
        Log p(y), so that the evidence lower bound is ``log_evidence - kl``.
    matching_temperature
        Temperature by the Laplace picture: widths equal to first order, Mandt's rule for v alone.
    matching_kl
        The divergence there; inf where SGD has no law at it.
    """

    network: LinearNetwork
    temperature: float
    kl: float
    parts: DivergenceParts
    log_evidence: float
    matching_temperature: float
    matching_kl: float

    @property
    def elbo(self) -> float:
        """Evidence lower bound on v in nats: the largest over all temperatures."""
        return self.log_evidence - self.kl

    @property
    def mandt_temperature(self) -> float:
        """Mandt's scalar rule taken at its word, for all (D+1) d parameters: that many times the matching one."""
        return self.matching_temperature * (self.network.depth + 1) * self.network.width

    def divergence(self, temperature: float) -> float:
        """KL(p_SGD || p_Bayes) on v at another temperature, in nats; inf where SGD has no law."""
        return self._divergence(positive("temperature", temperature))

    @cached_property
    def _divergence(self) -> Callable[[float], float]:
        return _divergence(self.network, line_posterior(self.network))

    def learning_rate(self, batch_size: int, replace: bool = True) -> float:
        """Learning rate of the optimizer with this temperature, for a batch size."""
        return self.network.learning_rate(self.temperature, batch_size, replace)


def tune(network: LinearNetwork) -> Tuned:
    """Find the temperature at which the law of SGD is nearest to the posterior on v.

    Parameters
    ----------
    network
        Network with its data and priors: depth 0 or 1 with any width, or deeper with width 1.

    Returns
    -------
    Tuned
        The temperature, the KL that is left, and its causes.

    Raises
    ------
    InputError
        Where SGD has no law at any temperature, or the posterior is improper or not known.

    Notes
    -----
    The temperature is that of `sgdvi.optimal_temperature`.
    """
    posterior, first = line_posterior(network), matching_temperature(network)
    value = _divergence(network, posterior)
    temperature = _search(network, value)
    matching = value(first) if first < highest_temperature(network) else math.inf
    kl = value(temperature)
    parts = _split(network, temperature, posterior)
    return Tuned(network, temperature, kl, parts, log_evidence(network, posterior), first, matching)


def least_divergence(network: LinearNetwork) -> float:
    """Return the temperature with the least KL(p_SGD || p_Bayes) on v; `sgdvi.optimal_temperature` says more of it.

    Raises
    ------
    InputError
        Where there is no exact posterior, and where no temperature has a finite divergence.
    """
    return _search(network, _divergence(network, line_posterior(network)))


def _search(network: LinearNetwork, value: Callable[[float], float]) -> float:
    top = highest_temperature(network)
    advice = "SGD collapses to v = 0: the weight decay is above |beta2|."
    require(top > 0, "SGD must have a law at some temperature", f"critical temperature {top:g}", advice)
    natural = temperature_grid(network.moments, 16, network.depth, network.width, network.law_decay)
    high = math.log(natural[-1])
    low = min(math.log(natural[0]), high - _DECADES * math.log(10))
    grid = np.linspace(low, high, math.ceil((high - low) / math.log(10) * _PER_DECADE) + 1)
    values = np.array([value(math.exp(point)) for point in grid])
    best = int(np.argmin(values))
    if not np.isfinite(values[best]) or best in (0, len(grid) - 1):
        rule = "some temperature must have a finite KL to the posterior, with larger ones on both sides"
        got = f"the least, {values[best]:.3g}, at T = {math.exp(grid[best]):.3g}, the end of what was searched"
        raise InputError(message(rule, got, "Look for data without noise or without signal."))
    found = scipy.optimize.minimize_scalar(
        lambda point: value(math.exp(point)),
        bounds=(grid[best - 1], grid[best + 1]),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return math.exp(found.x)


def _divergence(network: LinearNetwork, posterior: LinePosterior) -> Callable[[float], float]:
    """The divergence as a function of the temperature; inf where there is no law."""

    def value(temperature: float) -> float:
        with jax.enable_x64(True):
            kl = float(against_posterior(network, posterior, temperature).kl)
        return kl if math.isfinite(kl) else math.inf

    return value


def highest_temperature(network: LinearNetwork) -> float:
    """The temperature below which SGD's law exists and KL is finite: Tc at depth 1, that of the variance at depth 0."""
    if network.depth == 0:
        return infinite_from(network.moments, network.width, network.law_decay)
    sign = side(network)
    return float(critical_temperature(network.moments, network.depth, network.law_decay, sign=sign))


def split(network: LinearNetwork, temperature: float) -> DivergenceParts:
    """Split KL(p_SGD || p_Bayes) on v into its causes, see `DivergenceParts`; arguments as in `divergence`."""
    law_of(network, temperature)  # refuses a temperature without a law
    return _split(network, temperature, line_posterior(network))


def _split(network: LinearNetwork, temperature: float, posterior: LinePosterior) -> DivergenceParts:
    with jax.enable_x64(True):
        found = against_posterior(network, posterior, temperature)
        whole, mean, variance, entropy = (float(number) for number in found)
    covered, center, width = 1.0, posterior.mean, posterior.variance
    if isinstance(posterior, ProductPosterior):
        covered, center, width = posterior.given_side(side(network))
    ratio, shift = variance / width, (mean - center) ** 2 / (2 * width)
    # E_p log p_+ and E_p log G_+, from the divergence and from two moments
    shape = -entropy - whole - math.log(covered)
    normal = -0.5 * math.log(2 * math.pi * width) - 0.5 * ratio - shift
    negentropy = 0.5 * math.log(2 * math.pi * math.e * variance) - entropy
    missing = max(-math.log(covered), 0.0)  # the masses of the panels add up to 1 only to rounding
    return DivergenceParts(missing, shift, 0.5 * (ratio - 1 - math.log(ratio)), negentropy + normal - shape)

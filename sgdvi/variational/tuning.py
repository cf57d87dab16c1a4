"""The temperature at which SGD is nearest to the posterior on v, and the causes of what is left."""

import math
from dataclasses import dataclass

import jax

from sgdvi.diagnostics.optimal import kl_to_posterior, optimal_temperature
from sgdvi.laws import critical_temperature
from sgdvi.laws.temperatures import infinite_from
from sgdvi.linear import LinearNetwork
from sgdvi.samplers.references.exact import LinePosterior, ProductPosterior, line_posterior
from sgdvi.variational.objective import divergence_from, law_of, log_evidence, matching_temperature, side


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
    best = optimal_temperature(network)
    exists = first < highest_temperature(network)
    matching = kl_to_posterior(network, first).forward if exists else math.inf
    parts = split(network, best.value, posterior)
    return Tuned(
        network, best.value, best.divergences.forward, parts, log_evidence(network, posterior), first, matching
    )


def highest_temperature(network: LinearNetwork) -> float:
    """The temperature below which SGD's law exists and KL is finite: Tc at depth 1, that of the variance at depth 0."""
    if network.depth == 0:
        return infinite_from(network.moments, network.width, network.law_decay)
    sign = side(network)
    return float(critical_temperature(network.moments, network.depth, network.law_decay, sign=sign))


def split(network: LinearNetwork, temperature: float, posterior: LinePosterior | None = None) -> DivergenceParts:
    """Split KL(p_SGD || p_Bayes) on v into its causes, see `DivergenceParts`; arguments as in `tune`."""
    posterior = line_posterior(network) if posterior is None else posterior
    with jax.enable_x64(True):
        law = law_of(network, temperature)
        mean, variance = float(law.mean), float(law.variance)
        whole = float(divergence_from(network, posterior)(temperature))
        entropy = float(law.entropy())
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

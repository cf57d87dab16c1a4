"""The temperature and weight decay at which SGD is nearest to the posterior on v, and the causes of what is left."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property, partial

import jax
import numpy as np
import scipy.optimize

from sgdvi._internal.check import InputError, message, require
from sgdvi.laws import critical_temperature
from sgdvi.laws.posterior import LinePosterior, ProductPosterior
from sgdvi.laws.temperatures import infinite_from, temperature_grid
from sgdvi.problem.network import LinearNetwork
from sgdvi.variational.objective import against_posterior, log_evidence, matching_temperature

# The divergence changes over about a power of ten in T: eight points in it find every valley.
_PER_DECADE, _DECADES = 8, 6
# Weight decays that are tried before the search is refined between two of them, besides none.
_DECAYS = 10
DECAY_RULE = "the weight decay can be tuned at depth 0 and 1: deeper, any decay leaves no law"


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
    weight_decay
        Weight decay gamma of SGD: what the prior amounts to (0 at depth 2 and above), or the best one where it was
        tuned as well.
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
    weight_decay: float
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

    def divergence(self, temperature: float | str) -> float:
        """KL(p_SGD || p_Bayes) on v at another temperature and this decay, in nats; inf where SGD has no law."""
        return self._divergence(self.network.as_temperature(temperature), self.weight_decay)

    @cached_property
    def _divergence(self) -> Callable[..., float]:
        return divergence_at(self.network, self.network.posterior)

    def learning_rate(self, batch_size: int, replace: bool = True) -> float:
        """Learning rate of the optimizer with this temperature, for a batch size."""
        return self.network.learning_rate(self.temperature, batch_size, replace)


def tune(network: LinearNetwork, *, weight_decay: bool = False) -> Tuned:
    """Find the temperature, and the weight decay, at which the law of SGD is nearest to the posterior on v.

    Parameters
    ----------
    network
        Network with its data and priors: depth 0 or 1 with any width, or deeper with width 1.
    weight_decay
        Whether the decay that SGD uses is free, at 0 or more: depths 0 and 1 only, as deeper any decay leaves no law.
        The posterior keeps its prior. To run SGD with another decay gamma than the prior's, give its model the prior
        sd ``noise_sd / sqrt(N gamma)``.

    Returns
    -------
    Tuned
        The temperature, the decay, the KL that is left, and its causes.

    Raises
    ------
    InputError
        Where SGD has no law at any temperature, the posterior is improper or not known, or the decay cannot be tuned.

    Notes
    -----
    The temperature, with the decay of the prior, is that of `sgdvi.optimal_temperature`.

    Examples
    --------
    >>> import sgdvi
    >>> network = sgdvi.zoo.load("small-n", depth=0).exact
    >>> fixed, free = sgdvi.variational.tune(network), sgdvi.variational.tune(network, weight_decay=True)
    >>> free.kl <= fixed.kl
    True
    """
    require(network.depth < 2 or not weight_decay, DECAY_RULE, f"depth {network.depth}", "Leave it fixed.")
    posterior, first = network.posterior, matching_temperature(network)
    value = divergence_at(network, posterior)
    temperature, decay = _search(network, value), network.law_decay
    matching = value(first) if first < highest_temperature(network) else math.inf
    if weight_decay:
        temperature, decay = _search_both(network, value, temperature)
    kl = value(temperature, decay)
    parts = _split(network, temperature, posterior, decay)
    return Tuned(network, temperature, decay, kl, parts, log_evidence(network, posterior), first, matching)


def _search(network: LinearNetwork, value: Callable[[float], float]) -> float:
    top = highest_temperature(network)
    advice = "SGD collapses to v = 0: the weight decay is |beta2| or more."
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
    least = scipy.optimize.minimize_scalar(
        lambda point: value(math.exp(point)),
        bounds=(grid[best - 1], grid[best + 1]),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return math.exp(least.x)


def _search_both(network: LinearNetwork, value: Callable[..., float], start: float) -> tuple[float, float]:
    """Return the best temperature and decay, from the best temperature at the decay of the prior.

    The best temperature moves little with the decay, so for each decay it is sought within a factor of 10 of `start`.
    """

    @cache
    def at(decay: float) -> tuple[float, float]:
        top = min(math.log(10 * start), math.log(highest_temperature(network, decay)))
        least = scipy.optimize.minimize_scalar(
            lambda point: value(math.exp(point), decay),
            bounds=(math.log(start / 10), top),
            method="bounded",
            options={"xatol": 1e-6},
        )
        return float(least.fun), math.exp(least.x)

    # At depth 1 a decay of |beta2| or more leaves no law; at depth 0 one of beta1 d halves the slope.
    moments = network.moments
    most = abs(float(moments.beta2)) if network.depth == 1 else float(moments.beta1) * network.width
    tried = np.array([0.0, *most * np.geomspace(1e-3, 0.8, _DECAYS)])
    best = int(np.argmin([at(float(decay))[0] for decay in tried]))
    between = (tried[max(best - 1, 0)], tried[min(best + 1, _DECAYS)])
    inner = scipy.optimize.minimize_scalar(
        lambda decay: at(float(decay))[0], bounds=between, method="bounded", options={"xatol": 1e-5 * most}
    )
    # the search between bounds never reaches them: no decay at all, and the prior's, are tried as they are
    decay = min((float(inner.x), 0.0, network.law_decay), key=lambda one: at(one)[0])
    return at(decay)[1], decay


def divergence_at(network: LinearNetwork, posterior: LinePosterior) -> Callable[..., float]:
    """The divergence as a function of temperature and decay (None: that of the prior); inf where there is no law."""
    highest = cache(partial(highest_temperature, network))

    def value(temperature: float, weight_decay: float | None = None) -> float:
        if not temperature < highest(weight_decay):
            return math.inf
        with jax.enable_x64(True):
            kl = float(against_posterior(network, posterior, temperature, weight_decay).kl)
        return kl if math.isfinite(kl) else math.inf

    return value


def highest_temperature(network: LinearNetwork, weight_decay: float | None = None) -> float:
    """The temperature below which SGD's law exists and KL is finite: Tc at depth 1, that of the variance at depth 0."""
    decay = network.law_decay if weight_decay is None else weight_decay
    if network.depth == 0:
        return infinite_from(network.moments, network.width, decay)
    return float(critical_temperature(network.moments, network.depth, decay, sign=network.side))


def split(network: LinearNetwork, temperature: float) -> DivergenceParts:
    """Split KL(p_SGD || p_Bayes) on v into its causes, see `DivergenceParts`; arguments as in `divergence`."""
    return _split(network, temperature, network.posterior)


def _split(
    network: LinearNetwork, temperature: float, posterior: LinePosterior, weight_decay: float | None = None
) -> DivergenceParts:
    with jax.enable_x64(True):
        terms = against_posterior(network, posterior, temperature, weight_decay)
        whole, mean, variance, entropy = (float(number) for number in terms)
    covered, center, width = 1.0, posterior.mean, posterior.variance
    if isinstance(posterior, ProductPosterior):
        covered, center, width = posterior.given_side(network.side)
    ratio, shift = variance / width, (mean - center) ** 2 / (2 * width)
    # E_p log p_+ and E_p log G_+, from the divergence and from two moments
    shape = -entropy - whole - math.log(covered)
    normal = -0.5 * math.log(2 * math.pi * width) - 0.5 * ratio - shift
    negentropy = 0.5 * math.log(2 * math.pi * math.e * variance) - entropy
    missing = max(0.0, -math.log(covered))  # the masses of the panels add up to 1 only to rounding
    return DivergenceParts(missing, shift, 0.5 * (ratio - 1 - math.log(ratio)), negentropy + normal - shape)

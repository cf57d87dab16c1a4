"""The temperature at which the exact law of SGD on v is closest to the exact posterior."""

from dataclasses import dataclass

from sgdvi._internal.arguments import checked
from sgdvi._internal.check import require
from sgdvi.diagnostics.divergence import Divergences, divergences
from sgdvi.laws.line import LineLaw, as_line_law
from sgdvi.problem.network import LinearNetwork
from sgdvi.variational.tuning import tune

_ASSUMPTIONS = (
    "the model is this linear network: v x with Gaussian noise of known size and Gaussian priors",
    "the learning rate is small: SGD has the law of its stochastic gradient flow",
    "chains have reached the stationary law, from a generic start",
)
_NO_DECAY = "the prior's weight decay is left out of the law of SGD, as it is weak against the data"


@dataclass(frozen=True)
class OptimalTemperature:
    """A temperature and what is expected of it.

    Attributes
    ----------
    value
        Temperature T of the theory; `LinearNetwork.learning_rate` turns it into a learning rate for a batch size.
    divergences
        Divergences between the two laws of v there; ``divergences.forward`` is the KL that is least.
    assumptions
        What must hold for it to be exact.
    """

    value: float
    divergences: Divergences
    assumptions: tuple[str, ...]


@checked
def kl_to_posterior(network: LinearNetwork, temperature: float | str) -> Divergences:
    r"""Return the divergences on v between the exact law of SGD at a temperature and the exact posterior.

    .. math:: KL(p_{SGD} \| p_{Bayes}) = \int p_{SGD}(v) \log \frac{p_{SGD}(v)}{p_{Bayes}(v)} dv

    by quadrature in log v. In the factors both divergences are infinite at depth 1 and above, by construction.

    Parameters
    ----------
    network
        Linear network with its data, noise and prior, of a depth at which `line_posterior` is known.
    temperature
        T in units of the theory, or "0.5Tc": see `LinearNetwork.temperature`.

    Raises
    ------
    InputError
        Where there is no exact posterior, and for a temperature that is not above 0.
    """
    posterior = _posterior(network)
    return _divergences(network, network.as_temperature(temperature), posterior)


@checked
def optimal_temperature(network: LinearNetwork) -> OptimalTemperature:
    """Return the temperature with the least KL(p_SGD || p_Bayes) on v: see `kl_to_posterior`.

    It is searched over the six decades below the temperature where the law ends to exist or to have a variance (depth
    0 and 1), or around the natural scale; the KL is infinite at both ends, where SGD comes to rest at one point.

    Raises
    ------
    InputError
        Where there is no exact posterior, and where no temperature has a finite divergence: data without noise or
        without signal.
    """
    posterior = _posterior(network)
    value = tune(network).temperature
    assumptions = _ASSUMPTIONS if network.depth < 2 else (*_ASSUMPTIONS, _NO_DECAY)
    return OptimalTemperature(value, _divergences(network, value, posterior), assumptions)


def _posterior(network: LinearNetwork) -> tuple[LineLaw, float]:
    got = type(network).__name__
    require(isinstance(network, LinearNetwork), "network must be a LinearNetwork", got, "Take problem.exact.")
    return as_line_law(network.posterior), network.posterior.negative_mass


def _divergences(network: LinearNetwork, temperature: float, posterior: tuple[LineLaw, float]) -> Divergences:
    return divergences(as_line_law(network.law(temperature)), posterior[0], network.covered_side, posterior[1])

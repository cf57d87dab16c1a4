"""SGD as a variational family: a NumPyro guide for the slope v of a linear network."""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax import Array
from numpyro import handlers
from numpyro.distributions import constraints

from sgdvi._internal.arguments import checked
from sgdvi._internal.check import InputError, message, require
from sgdvi.laws import SGDStationary
from sgdvi.laws.prior import NormalProduct
from sgdvi.problem.network import LinearNetwork
from sgdvi.variational.objective import divergence, matching_temperature
from sgdvi.variational.tuning import DECAY_RULE, highest_temperature


def reduced_model(network: LinearNetwork, site: str = "v") -> Callable[..., None]:
    """Return the NumPyro model of (x, y) with the slope v as its only latent site.

    Its prior is what the priors on the factors say of v, `NormalProduct`, so its posterior is that of the whole model
    with the scaling symmetry divided out.

    Raises
    ------
    InputError
        For a flat prior, and at depth 2 and above with more than one unit.
    """
    rule = "the reduced model needs a proper prior"
    require(jnp.isfinite(network.prior_sd), rule, f"prior_sd {network.prior_sd}", "Give prior_sd.")
    prior = NormalProduct(network.depth + 1, float(network.prior_sd), width=network.width)
    noise_sd = float(network.noise_sd)

    def linear(x: Any, y: Any = None) -> None:
        v = numpyro.sample(site, prior)
        with numpyro.plate("data", len(x)):
            numpyro.sample("y", dist.Normal(v * x, noise_sd), obs=y)

    return linear


class SGDGuide:
    """NumPyro guide: the exact law of SGD on v, with the temperature and weight decay as variational parameters.

    Constant SGD solves a variational problem within its own family of laws; this is that family, so that
    ``numpyro.infer.SVI`` finds the learning rate over batch size at which SGD is nearest to the posterior. The
    parameters are constrained to where the law exists.

    Parameters
    ----------
    model
        Model whose only latent site is v, such as `sgdvi.variational.reduced_model`.
    network
        The linear network that SGD runs on: its data set the law.
    site
        Name of the latent site.
    prefix
        Of the parameters: ``<prefix>_temperature``, or ``<prefix>_share`` where there is a highest temperature, and
        ``<prefix>_weight_decay``.
    tune_weight_decay
        Whether the weight decay of SGD is free; else it is what the prior amounts to. At depth 2 and above it is 0.
    temperature
        Where to start; None takes the one at which the widths agree to first order.

    Raises
    ------
    InputError
        When first called, for a model with another latent site, the factors (u, w) above all: the law of SGD on them
        lives on a curve. As a guide it would have to be written with a Delta, whose density NumPyro takes for 1, and
        the finite number that then comes out is not an evidence lower bound, which is -infinity.

    Examples
    --------
    >>> import sgdvi
    >>> network = sgdvi.zoo.load("diabetes").exact
    >>> model = sgdvi.variational.reduced_model(network)
    >>> guide = sgdvi.SGDGuide(model, network)
    """

    @checked
    def __init__(
        self,
        model: Callable[..., Any],
        network: LinearNetwork,
        *,
        site: str = "v",
        prefix: str = "sgd",
        tune_weight_decay: bool = False,
        temperature: float | str | None = None,
    ) -> None:
        require(network.depth < 2 or not tune_weight_decay, DECAY_RULE, f"depth {network.depth}", "Leave it fixed.")
        self.model, self.network, self.site, self.prefix = model, network, site, prefix
        self.tune_weight_decay = tune_weight_decay
        highest = highest_temperature(network)
        start = matching_temperature(network) if temperature is None else network.as_temperature(temperature)
        require(highest > 0, "SGD must have a law at some temperature", f"critical temperature {highest:g}")
        self._bounded = bool(jnp.isfinite(highest))
        self._start = min(start / highest, 0.9) if self._bounded else start
        self._checked = False

    def __call__(self, *args: Any, **kwargs: Any) -> dict[str, Array]:
        """Sample the site from the law of SGD."""
        if not self._checked:
            self._check_sites(*args, **kwargs)
            self._checked = True
        values: dict[str, Array] = {}
        if self.tune_weight_decay:
            # At depth 1 a decay above |beta2| leaves no law; elsewhere it has no bound.
            top = abs(float(self.network.moments.beta2))
            bounds = constraints.interval(0.0, top) if self.network.depth == 1 else constraints.positive
            first = min(max(self.network.law_decay, 1e-6 * top), 0.5 * top)
            name = f"{self.prefix}_weight_decay"
            values[name] = numpyro.param(name, jnp.asarray(first), constraint=bounds)
        name = f"{self.prefix}_{'share' if self._bounded else 'temperature'}"
        limit = constraints.unit_interval if self._bounded else constraints.positive
        values[name] = numpyro.param(name, jnp.asarray(self._start), constraint=limit)
        return {self.site: numpyro.sample(self.site, self.law(values))}

    def temperature(self, params: Mapping[str, Any]) -> Array:
        """Temperature of SGD for parameters as ``SVI.get_params`` returns them."""
        if not self._bounded:
            return params[f"{self.prefix}_temperature"]
        return params[f"{self.prefix}_share"] * self._highest(self.weight_decay(params))

    def weight_decay(self, params: Mapping[str, Any]) -> Any:
        """Weight decay of SGD for these parameters."""
        return params[f"{self.prefix}_weight_decay"] if self.tune_weight_decay else self.network.law_decay

    def law(self, params: Mapping[str, Any]) -> SGDStationary:
        """The law of SGD for these parameters."""
        return self.network.branch_law(self.temperature(params), self.weight_decay(params))

    def divergence(self, params: Mapping[str, Any]) -> Any:
        """KL(p_SGD || p_Bayes) on v by quadrature, in nats: exact where SVI's loss is an average over draws."""
        return divergence(self.network, self.temperature(params), self.weight_decay(params))

    def _highest(self, weight_decay: Any) -> Any:
        moments = self.network.moments
        if self.network.depth == 0:
            width = self.network.width
            return (moments.beta1 + weight_decay / width) / (width * moments.alpha1)
        return (self.network.side * moments.beta2 - weight_decay) / moments.alpha3

    def _check_sites(self, *args: Any, **kwargs: Any) -> None:
        with handlers.block():
            trace = handlers.trace(handlers.seed(self.model, 0)).get_trace(*args, **kwargs)
        latent = [name for name, site in trace.items() if site["type"] == "sample" and not site["is_observed"]]
        latent = [name for name in latent if trace[name]["fn"].__class__.__name__ != "_Subsample"]
        if latent == [self.site]:
            return
        advice = "Take sgdvi.variational.reduced_model(network)."
        rule = f"the only latent site of the model must be {self.site!r}"
        if len(latent) > 1:
            size = self.network.width * (self.network.depth + 1)
            rule += (
                f". On ({', '.join(latent)}) the law of SGD lives on a curve of the {size}-dimensional space, so its "
                "KL divergence from the posterior is infinite; a guide with a Delta hides that behind a finite number"
            )
        raise InputError(message(rule, f"latent sites {', '.join(latent) or 'none'}", advice))

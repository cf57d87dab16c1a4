"""A linear network on one feature: its NumPyro model, its scalings, and what is known of it in closed form."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from sgdvi._internal.arguments import check_fields
from sgdvi._internal.batches import Batching, noise_share
from sgdvi._internal.check import finite_vector, positive, require, whole
from sgdvi.laws import (
    DiscreteLaw,
    DiscreteThreshold,
    SGDStationary,
    StationaryLaw,
    critical_temperature,
    discrete_law,
    discrete_threshold,
    lyapunov_exponent,
    stationary_law,
)
from sgdvi.laws.moments import Moments
from sgdvi.laws.multiples import Multiple, Temperature, resolve
from sgdvi.laws.posterior import GaussianPosterior, LinePosterior, ProductPosterior
from sgdvi.laws.prior import require_known

if TYPE_CHECKING:
    from jax.typing import ArrayLike


@dataclass(frozen=True, eq=False)
class LinearNetwork:
    r"""Diagonal linear network v x with Gaussian noise and Gaussian priors, and its scalings.

    v is the sum over ``width`` units of the product of depth + 1 factors;
    :math:`y_i \sim N(v x_i, \sigma^2)`, every factor :math:`\sim N(0, \tau^2)`.

    Parameters
    ----------
    x, y
        Data, shape (N,).
    depth, width
        Depth D >= 0 (D = 0 is linear regression) and width d >= 1.
    noise_sd
        Standard deviation sigma of y about v x, fixed.
    prior_sd
        Standard deviation tau of every factor; ``inf`` is a flat prior, improper at depth >= 1.

    Notes
    -----
    SGD on the negative log joint divided by N with learning rate eta and batch size S is SGD on
    (v x - y)^2 + gamma |theta|^2 at temperature T = kappa eta / S, where kappa = 1/(2 sigma^2) and
    gamma = sigma^2/(N tau^2).
    """

    x: np.ndarray
    y: np.ndarray
    depth: int = 1
    width: int = 1
    noise_sd: float = 1.0
    prior_sd: float = 1.0

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("x", "y"):
            object.__setattr__(self, name, finite_vector(name, getattr(self, name)))
        object.__setattr__(self, "depth", whole("depth", self.depth))
        object.__setattr__(self, "width", whole("width", self.width, least=1))
        positive("noise_sd", self.noise_sd)
        require(self.prior_sd > 0, "prior_sd must be above 0 (inf for a flat prior)", self.prior_sd)
        self.moments  # noqa: B018  bad data must be refused here, not at first use

    @cached_property
    def moments(self) -> Moments:
        """Empirical moments of the data."""
        return Moments.from_data(self.x, self.y)

    @property
    def num_data(self) -> int:
        """Number of rows N."""
        return len(self.x)

    @property
    def kappa(self) -> float:
        """Curvature of the likelihood, 1/(2 sigma^2): the loss of the model is kappa times the squared error."""
        return 0.5 / self.noise_sd**2

    @property
    def weight_decay(self) -> float:
        """The decay gamma = sigma^2/(N tau^2) that the prior amounts to."""
        return self.noise_sd**2 / (self.num_data * self.prior_sd**2)

    @property
    def proper_posterior(self) -> bool:
        """Whether the Bayesian posterior can be normalised: a flat prior is improper beyond depth 0, width 1."""
        return bool(np.isfinite(self.prior_sd)) or (self.depth == 0 and self.width == 1)

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of the factors in the NumPyro model."""
        return {0: ("u",), 1: ("u", "w")}.get(self.depth, tuple(f"u{k}" for k in range(self.depth + 1)))

    def flow_learning_rate(self, learning_rate: float) -> float:
        """Learning rate in the units of the theory, for the loss (v x - y)^2: kappa times the optimizer's."""
        return self.kappa * positive("learning_rate", learning_rate)

    def temperature(self, learning_rate: float, batch_size: int, replace: bool = True) -> float:
        """Temperature of SGD: kappa learning_rate / batch_size, times (N-S)/(N-1) without replacement."""
        rate = self.flow_learning_rate(learning_rate)
        return rate * noise_share(self.num_data, batch_size, replace)

    def learning_rate(self, temperature: float | str, batch_size: int, replace: bool = True) -> float:
        """Learning rate of the optimizer at which SGD has this temperature: the inverse of `temperature`."""
        share = noise_share(self.num_data, batch_size, replace)
        require(share > 0, "a batch of all the rows without replacement has no noise", f"batch_size {batch_size}")
        # a number of Python's own: it is written into the call that makes the report again
        return float(self.as_temperature(temperature) / (self.kappa * share))

    def as_temperature(self, temperature: float | str) -> float:
        """Return a temperature as a number: itself, or what a text such as "0.5Tc" stands for.

        That of a text keeps its multiple to all digits, for the laws that are made of it.
        """
        heat = resolve(temperature, lambda: self.critical_temperature)
        return heat if isinstance(heat, Multiple) else positive("temperature", heat)

    @property
    def critical_temperature(self) -> float:
        """Temperature at and above which SGD collapses to v = 0; inf where it never does.

        At depth 2 and above without the prior's decay, as in `law`.
        """
        return float(critical_temperature(self.moments, self.depth, self.law_decay))

    def law(self, temperature: Temperature, initial: Any = None) -> StationaryLaw:
        """Exact stationary law of SGD on v at this temperature; from the factors ``initial``, (depth + 1, width).

        Without ``initial`` it is that of a generic start, see `memory`. At depth 2 and above it is the law without
        weight decay: strictly any decay makes zero attract, but the small one that a prior amounts to leaves the bulk
        standing far longer than any run.
        """
        return stationary_law(
            self.moments,
            temperature,
            depth=self.depth,
            width=self.width,
            weight_decay=self.law_decay,
            initial=initial,
        )

    @property
    def law_decay(self) -> float:
        """Weight decay of the exact law: that of the prior, and 0 at depth 2 and above, where any decay leaves none."""
        return self.weight_decay if self.depth < 2 else 0.0

    @property
    def side(self) -> int:
        """Side of v = 0 on which SGD ends, that of beta2: 1 or -1; 1 at depth 0, and for beta2 = 0 as all laws have it.

        At beta2 = 0 and depth 1 or more there is no law on either side, and `branch_law` says so.
        """
        return 1 if self.depth == 0 or float(self.moments.beta2) >= 0 else -1

    @property
    def covered_side(self) -> int | None:
        """The one side of v = 0 that the law of SGD covers; None at depth 0, where it covers both."""
        return None if self.depth == 0 else self.side

    def branch_law(self, temperature: Temperature, weight_decay: "ArrayLike | None" = None) -> SGDStationary:
        """Law of SGD on its nonzero branch; ``weight_decay`` None takes that of the prior, see `law_decay`.

        Raises
        ------
        InputError
            Where there is none at this temperature (concrete arguments).
        """
        return SGDStationary(
            self.moments,
            temperature,
            depth=self.depth,
            width=self.width,
            weight_decay=self.law_decay if weight_decay is None else weight_decay,
            sign=self.side,
        )

    @cached_property
    def posterior(self) -> LinePosterior:
        """Exact posterior of v, see `line_posterior`."""
        require_known(self.depth + 1, self.width)
        require_proper(self)
        mean = float(self.moments.beta2 / self.moments.beta1)
        sd = float((2 * self.kappa * self.num_data * self.moments.beta1) ** -0.5)
        if self.depth == 0:
            return GaussianPosterior(mean, sd, self.width**0.5 * self.prior_sd)
        return ProductPosterior(mean, sd, self.prior_sd, self.width, self.depth + 1)

    @property
    def missed_mass(self) -> float:
        """Posterior mass on the side of v = 0 that SGD never reaches."""
        side = self.covered_side
        return 0.0 if side is None else self.posterior.mass_beyond(side)

    def product(self, draws: Any) -> Any:
        """Return v from draws of the factors by name: their product, summed over the units."""
        value = draws[self.sites[0]]
        for site in self.sites[1:]:
            value = value * draws[site]
        return value if self.width == 1 else value.sum([dim for dim in value.dims if dim not in ("chain", "draw")])

    def discrete_law(self, learning_rate: float, batch_size: int, batching: str = Batching.REPLACEMENT) -> DiscreteLaw:
        """Exact law of SGD as it runs, steps and batches included, from balanced factors; the rate is the optimizer's.

        Raises
        ------
        InputError
            For batches without replacement that are too many to be listed, and rows without noise.
        """
        rate, replace = self.flow_learning_rate(learning_rate), _replaces(batching)
        decay = self.weight_decay
        make = partial(discrete_law, depth=self.depth, width=self.width, replace=replace, tolerance=1e-3)
        return make(self.x, self.y, rate, batch_size, decay)

    def discrete_threshold(self, batch_size: int, batching: str = Batching.REPLACEMENT) -> DiscreteThreshold:
        """Learning rates, ``kappa`` times the optimizer's, at which SGD as it runs collapses at depth 1.

        Raises
        ------
        InputError
            For batches without replacement that are too many to be listed.
        """
        return discrete_threshold(self.x, self.y, batch_size, self.weight_decay, replace=_replaces(batching))

    def growth(self, learning_rate: float, batch_size: int, batching: str = Batching.REPLACEMENT) -> float:
        """Expected change of log|v| per step near v = 0 of SGD as it runs at depth 1: negative where it collapses.

        Raises
        ------
        InputError
            For batches without replacement that are too many to be listed.
        """
        rate, replace = self.flow_learning_rate(learning_rate), _replaces(batching)
        # of v, a product of two factors: twice the exponent of one
        return 2 * lyapunov_exponent(self.x, self.y, rate, batch_size, self.weight_decay, replace=replace)

    @property
    def model(self) -> Callable[..., None]:
        """NumPyro model of (x, y); it can be pickled."""
        shape = () if self.width == 1 else (self.width,)
        return partial(_network, self.sites, shape, float(self.prior_sd), float(self.noise_sd))


def _network(
    sites: tuple[str, ...], shape: tuple[int, ...], prior_sd: float, noise_sd: float, x: Any, y: Any = None
) -> None:
    prior: dist.Distribution
    if np.isfinite(prior_sd):
        prior = dist.Normal(0.0, prior_sd).expand(shape).to_event(len(shape))
    else:
        prior = dist.ImproperUniform(dist.constraints.real_vector if shape else dist.constraints.real, (), shape)
    product: Any = 1.0
    for site in sites:
        product = product * numpyro.sample(site, prior)
    v = jnp.sum(product)
    with numpyro.plate("data", len(x)):
        numpyro.sample("y", dist.Normal(v * x, noise_sd), obs=y)


def line_posterior(network: LinearNetwork) -> LinePosterior:
    r"""Return the exact posterior of v = sum over units of the product of the factors.

    Parameters
    ----------
    network
        Linear network with its data, noise and priors: depth 0 or 1 with any width, or deeper with width 1.

    Returns
    -------
    LinePosterior
        `GaussianPosterior` at depth 0, `ProductPosterior` at depth 1 and above.

    Raises
    ------
    InputError
        At depth 2 or more for width 2 or more (no density of the prior of v is known), or for a flat prior where it
        leaves the posterior improper.

    Notes
    -----
    The likelihood is a Gaussian in v with mean beta2/beta1 and variance 1/(2 kappa N beta1). At depth 0 the prior of v
    is N(0, d tau^2); at depth 1 it is
    :math:`(|v|/2\tau^2)^\nu K_\nu(|v|/\tau^2)/(\sqrt\pi\,\Gamma(d/2)\,\tau^2)` with :math:`\nu = (d-1)/2`, the law of
    a sum of d products of two normals; deeper it is that of a product of D + 1 normals, see `sgdvi.NormalProduct`.
    """
    return network.posterior


def _replaces(batching: str) -> bool:
    return Batching.of(batching) is Batching.REPLACEMENT


def require_proper(network: LinearNetwork) -> None:
    """Raise `InputError` where the posterior is known to be improper."""
    rule = "the prior must be proper: on the scaling orbits u -> a u, w -> w/a a flat one has infinite mass"
    got = f"prior_sd {network.prior_sd} at depth {network.depth}, width {network.width}"
    require(network.proper_posterior, rule, got, "Give prior_sd (a weight decay above 0), or take depth 0, width 1.")

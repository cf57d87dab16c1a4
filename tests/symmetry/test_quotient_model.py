"""NUTS on the quotient: the prior integrated along orbits against exact laws, and invariants against the posterior."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer import MCMC, NUTS
from numpyro.infer.util import log_density
from scipy.integrate import quad
from scipy.special import kve
from scipy.stats import lognorm, norm
from scipy.stats import t as student

import sgdvi
from sgdvi import InputError
from sgdvi.laws.prior import NormalProduct
from sgdvi.quotient.prior import Prior, log_masses
from sgdvi.samplers.references import line_posterior
from sgdvi.symmetry.chart import Component

rng = np.random.default_rng(4)
X = rng.normal(size=40)
Y = 0.3 * X + rng.normal(size=40)


def line(depth: int, prior_sd: float = 0.8) -> sgdvi.Problem:
    return sgdvi.linear_problem("line", X, Y, depth=depth, noise_sd=1.0, prior_sd=prior_sd)


@pytest.fixture(scope="module")
def product() -> Any:
    problem = line(1)
    return problem, sgdvi.quotient_model(problem.model, problem.data)


def density(model: Any, data: Any) -> Any:
    """Compiled log density and its gradient: operation by operation it takes ten times as long.

    The data are arguments: a NumPy array that a program of one precision holds as a constant keeps this precision in
    all of JAX 0.12 as long as the program lives.
    """
    compiled = jax.jit(jax.value_and_grad(lambda at, data: log_density(model, data, {}, at)[0]))
    return lambda at: compiled(at, data)


def log_likelihood(v: float) -> float:
    return float(np.sum(-((v * X - Y) ** 2) / 2) - 20 * np.log(2 * np.pi))


def test_the_prior_on_a_product_is_the_bessel_law(product: Any) -> None:
    problem, model = product
    assert model.sites == {"w": "w_quotient"}
    at, sd = density(model, problem.data), 0.8
    for v in (1e-9, -1e-3, 0.3, 2.0, 400.0):
        with jax.enable_x64(True):
            value, slope = at({"w_quotient": v})
        z = abs(v) / sd**2
        assert float(value) - log_likelihood(v) == pytest.approx(
            np.log(kve(0, z)) - z - np.log(np.pi * sd**2), abs=1e-8
        )
        fit = float(np.sum((Y - v * X) * X))
        wanted = -np.sign(v) * kve(1, z) / kve(0, z) / sd**2
        assert float(slope["w_quotient"]) - fit == pytest.approx(wanted, rel=1e-6)


@pytest.mark.slow
def test_two_symmetries_that_share_a_factor_are_integrated_together() -> None:
    problem = line(2)
    model = sgdvi.quotient_model(problem.model, problem.data)
    (site,) = model.sites.values()
    at = density(model, problem.data)
    for v in (1e-4, -0.5, 3.0):
        with jax.enable_x64(True):
            value, _ = at({site: v})
        exact = float(NormalProduct(3, 0.8).log_prob(jnp.array(v)))
        assert float(value) - log_likelihood(v) == pytest.approx(exact, abs=1e-5)


@pytest.mark.slow
def test_nuts_on_the_quotient_draws_from_the_exact_posterior(product: Any) -> None:
    problem, model = product
    exact = line_posterior(problem.exact)
    mcmc = MCMC(
        NUTS(model), num_warmup=200, num_samples=500, num_chains=4, chain_method="vectorized", progress_bar=False
    )
    mcmc.run(jax.random.key(2), *problem.data, extra_fields=("diverging",))
    draws = {name: np.asarray(leaf) for name, leaf in mcmc.get_samples(group_by_chain=True).items()}
    v = draws["w_quotient"]
    np.testing.assert_array_equal(draws["u"] * draws["w"], v)
    ess = numpyro.diagnostics.effective_sample_size(v)
    assert ess > 600
    u = exact.cdf(v.ravel())
    assert abs(u.mean() - 0.5) < 5 / np.sqrt(12 * ess)
    assert abs((v < 0).mean() - exact.negative_mass) < 5 * np.sqrt(exact.negative_mass / ess)
    assert abs(v.std() - exact.variance**0.5) < 5 * v.std() / np.sqrt(ess)


def network(x: Any, y: Any = None) -> None:
    w = numpyro.sample("w", dist.Normal(0, 0.9).expand([2, 3]).to_event(2))
    b = numpyro.sample("b", dist.Normal(0, 0.9).expand([3]).to_event(1))
    u = numpyro.sample("u", dist.Normal(0, 1.1).expand([3]).to_event(1))
    with numpyro.plate("data", len(x)):
        numpyro.sample("y", dist.Normal(jax.nn.relu(x @ w + b) @ u, 0.5), obs=y)


def joint(x: Any, y: Any = None) -> None:
    w = numpyro.sample("w", dist.MultivariateNormal(jnp.zeros(2), 0.81 * jnp.eye(2)))
    u = numpyro.sample("u", dist.Normal(0, 1.1))
    with numpyro.plate("data", len(x)):
        numpyro.sample("y", dist.Normal(jax.nn.relu(x @ w) * u, 0.5), obs=y)


PLANE = rng.normal(size=(30, 2))
DATA = (PLANE, np.maximum(PLANE[:, 0], 0))


@pytest.mark.slow
def test_the_invariants_of_a_relu_network_have_the_law_that_its_prior_gives_them() -> None:
    """Importance sampling between the prior's own draws, moved to the quotient, and the density there."""
    symmetries = sgdvi.model_symmetries(network, DATA)
    model = sgdvi.quotient_model(network, DATA, symmetries=symmetries)
    assert set(model.sites) == {"w", "b", "u"}
    count, draw = 4000, np.random.default_rng(0)
    prior = {"w": (2, 3), "b": (3,), "u": (3,)}
    theta = {k: {"u": 1.1}.get(k, 0.9) * draw.normal(size=(count, *shape)) for k, shape in prior.items()}
    on = sgdvi.quotient_draws(symmetries, theta)
    np.testing.assert_allclose((on["w"] ** 2).sum(1) + on["b"] ** 2, 1)
    # a guess at the law of the invariants |w| u: Student's, with known density; E[p/q] = 1 only for the right p
    degrees, scale = 4.0, 1.5
    guess = dict(on, u=scale * draw.standard_t(degrees, size=(count, 3)))
    sites = {model.sites[k]: v for k, v in guess.items()}
    fits = np.maximum(PLANE @ guess["w"] + guess["b"][:, None], 0) @ guess["u"][..., None]
    with jax.enable_x64(True):
        total = np.asarray(jax.jit(jax.vmap(lambda at: log_density(model, DATA, {}, at)[0]))(sites))
    likelihood = norm(fits[..., 0], 0.5).logpdf(DATA[1]).sum(-1)
    # the site of a direction is uniform on the sphere, and its length, here 1, log-normal
    radii = 3 * (lognorm(0.1).logpdf(1.0) - np.log(4 * np.pi))
    proposal = student(degrees, scale=scale).logpdf(sites["u_quotient"]).sum(-1)
    weights = np.exp(total - likelihood - radii - proposal)
    error = weights.std() / np.sqrt(count)
    assert error < 0.02
    assert abs(weights.mean() - 1) < 5 * error
    # and the second moment of the invariant: that of the draws of the prior
    second = weights[:, None] * guess["u"] ** 2
    both = np.hypot(second.std(0), (on["u"] ** 2).std(0)) / np.sqrt(count)
    assert np.all(np.abs(second.mean(0) - (on["u"] ** 2).mean(0)) < 5 * both)


@pytest.mark.slow
def test_a_joint_prior_has_the_orbit_as_a_site_with_the_same_law() -> None:
    """The density with the orbit's coordinate, integrated over it here, is the one with independent priors."""
    model = sgdvi.quotient_model(joint, DATA)
    at = {"w_quotient": np.array([0.6, -0.8]), "u_quotient": np.array(0.7)}
    grid = np.linspace(-12, 4, 3201)
    with jax.enable_x64(True):
        along = jax.jit(jax.vmap(lambda t: log_density(model, DATA, {}, {**at, "orbit": t[None]})[0]))
        heights = along(jnp.asarray(grid))
        total = np.log(np.trapezoid(np.exp(np.asarray(heights)), grid))

        def alone(x: Any, y: Any = None) -> None:
            w = numpyro.sample("w", dist.Normal(0, 0.9).expand([2]))
            u = numpyro.sample("u", dist.Normal(0, 1.1))
            with numpyro.plate("data", len(x)):
                numpyro.sample("y", dist.Normal(jax.nn.relu(x @ w) * u, 0.5), obs=y)

        other = float(density(sgdvi.quotient_model(alone, DATA), DATA)(at)[0])
    assert total == pytest.approx(other, abs=1e-6)


def test_far_out_where_a_density_underflows_in_float32_it_still_has_its_integral() -> None:
    """Two neurons with normal priors, given as such and as any other law: -inf far out must stay with its neuron."""
    signs, power = np.ones((1, 3)), np.array([[1.0, 1.0, -1.0]])
    parts = [
        Component(("neuron",), np.array([one, two, out]), power, (np.array([one, two]),), np.eye(1), signs)
        for one, two, out in ((0, 1, 4), (2, 3, 5))
    ]

    def both(y: jax.Array) -> tuple[jax.Array, jax.Array]:
        nothing = jnp.zeros_like(y)
        normal = Prior(nothing - np.log(2 * np.pi) / 2, nothing, y**2 / 2, None)
        other = Prior(nothing, nothing, nothing, dist.Normal(0.0, 1.0).log_prob)
        return log_masses(parts, normal, y), log_masses(parts, other, y)

    one, two = jax.jit(both)(jnp.array([0.6, -0.8, 0.28, 0.96, 1.2, -0.4], jnp.float32))
    # the area of a circle, and the integral over s = e^{2t} of e^{t - s/2 - u^2/(2 s)} with ds = 2 s dt
    exact = sum(
        np.log(quad(lambda s, u=u: np.exp(-s / 2 - u**2 / (2 * s)) / (2 * np.sqrt(s)), 0, np.inf)[0])
        + np.log(2 * np.pi) - 1.5 * np.log(2 * np.pi)
        for u in (1.2, -0.4)
    )  # fmt: skip
    assert float(one) == pytest.approx(exact, abs=1e-5)
    assert float(two) == pytest.approx(exact, abs=1e-5)


PAIR, NEURON = np.array([[1.0, 1.0], [-1.0, -1.0]]), np.ones((1, 3))
PARTS = [
    Component(("product",), np.array([0, 1]), np.array([[-1.0, 1.0]]), (np.array([0]),), -np.eye(1), PAIR),
    Component(("neuron",), np.array([2, 3, 4]), np.array([[1, 1, -1.0]]), (np.array([2, 3]),), np.eye(1), NEURON),
]
POINT = np.array([1.0, 0.7, 0.6, 0.8, 1.2])


@jax.jit
def product_and_neuron(mean: Any) -> tuple[jax.Array, jax.Array]:
    """Log masses by both forms of the prior; operation by operation they take ten times as long."""
    y, nothing = jnp.asarray(POINT), jnp.zeros(5)
    law = dist.Normal(mean * jnp.array([1.0, 1.0, 0.0, 0.0, 0.0]), 1.0)
    normal = Prior(-(law.loc**2 + np.log(2 * np.pi)) / 2, law.loc * y, y**2 / 2, None)
    return log_masses(PARTS, normal, y), log_masses(PARTS, Prior(nothing, nothing, nothing, law.log_prob), y)


@jax.jit
def product_and_neuron_centred() -> jax.Array:
    y = jnp.asarray(POINT)
    return log_masses(PARTS, Prior(jnp.full(5, -np.log(2 * np.pi) / 2), None, y**2 / 2, None), y)


@pytest.mark.parametrize("mean", [pytest.param(0.0, marks=pytest.mark.slow), 0.4])
def test_signs_are_counted_only_where_they_are_equally_probable(x64: None, mean: float) -> None:
    """A product, whose two signs count, beside a neuron that has one: priors known to be centred, and not known."""

    def density(u: float) -> float:
        return np.exp(-((u - mean) ** 2) / 2 - (0.7 / u - mean) ** 2 / 2) / (2 * np.pi * abs(u))

    product = quad(density, 0, np.inf)[0] + quad(density, -np.inf, 0)[0]
    other = quad(lambda s: np.exp(-s / 2 - 1.44 / (2 * s)) / (2 * np.sqrt(s)), 0, np.inf)[0] / np.sqrt(2 * np.pi)
    masses = list(product_and_neuron(mean)) + ([product_and_neuron_centred()] if mean == 0 else [])
    assert [float(mass) for mass in masses] == pytest.approx([np.log(product * other)] * len(masses), abs=1e-8)


def test_quotient_draws_are_invariants(product: Any) -> None:
    symmetries = product[1].symmetries
    u, w = rng.normal(size=(2, 3, 5))
    got = sgdvi.quotient_draws(symmetries, {"u": u, "w": w})
    np.testing.assert_array_equal(got["u"], 1)  # exactly: `compare` takes it for no coordinate
    np.testing.assert_allclose(got["w"], u * w)
    with pytest.raises(InputError, match="1 draws where it is zero"):
        sgdvi.quotient_draws(symmetries, {"u": np.array([0.0, 1.0]), "w": np.ones(2)})


def half(x: Any, y: Any = None) -> None:
    u, w = numpyro.sample("u", dist.HalfNormal(1.0)), numpyro.sample("w", dist.Normal(0, 1))
    with numpyro.plate("data", len(x)):
        numpyro.sample("y", dist.Normal(u * w * x, 1.0), obs=y)


def one_neuron(x: Any, y: Any = None) -> None:
    u, w = numpyro.sample("u", dist.Normal(0, 1)), numpyro.sample("w", dist.Normal(0, 1))
    with numpyro.plate("data", len(x)):
        numpyro.sample("y", dist.Normal(jax.nn.relu(w * x) * u, 1.0), obs=y)


def flat(x: Any, y: Any = None) -> None:
    u, w = (
        numpyro.sample("u", dist.Normal(0, 1)),
        numpyro.sample("w", dist.ImproperUniform(dist.constraints.real, (), ())),
    )
    with numpyro.plate("data", len(x)):
        numpyro.sample("y", dist.Normal(u * w * x, 1.0), obs=y)


def no_symmetry(x: Any, y: Any = None) -> None:
    w = numpyro.sample("w", dist.Normal(0, 1))
    with numpyro.plate("data", len(x)):
        numpyro.sample("y", dist.Normal(w * x, 1.0), obs=y)


def traced(model: Any, *data: Any) -> None:
    """Go through a model without computing anything: what is refused is refused there."""
    jax.eval_shape(lambda at: log_density(model, data, {}, at)[0], {"w_quotient": 0.5})


def test_bad_input(product: Any) -> None:
    symmetries = product[1].symmetries
    with pytest.raises(InputError, match="must have a scaling symmetry"):
        sgdvi.quotient_model(no_symmetry, (X, Y))
    with pytest.raises(InputError, match="one parameter whose sign the loss tells apart"):
        sgdvi.quotient_model(one_neuron, (X, Y))
    with pytest.raises(InputError, match="data must be given to find the symmetries"):
        sgdvi.quotient_model(no_symmetry)
    with pytest.raises(InputError, match="model must be a NumPyro model"):
        sgdvi.model_symmetries(sgdvi.Loss(lambda p, b: b[0] * p, 1.0), (X, Y))
    for other, text in (
        (half, "must be latent and real, with a proper prior; got HalfNormal"),
        (flat, "ImproperUniform"),
    ):
        model = sgdvi.quotient_model(other, symmetries=symmetries)
        with pytest.raises(InputError, match=text):
            traced(model, X, Y)
    with pytest.raises(InputError, match="no u, w"):
        traced(sgdvi.quotient_model(lambda: None, symmetries=symmetries))

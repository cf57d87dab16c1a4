"""SGD's own variational problem: divergence, its minimum, its causes, and the guide."""

import math
from typing import Any

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer import SVI, Trace_ELBO

import sgdvi
from sgdvi import InputError, LinearNetwork, SGDGuide, zoo
from sgdvi.diagnostics.divergence import kl_divergence
from sgdvi.laws import expectations
from sgdvi.laws._engine import batch
from sgdvi.laws.line import as_line_law
from sgdvi.samplers.references import line_posterior
from sgdvi.variational import divergence, matching_temperature, parameter_divergence, reduced_model, split, tune
from sgdvi.variational.objective import _log_posterior_mean, log_evidence
from sgdvi.variational.tuning import Tuned


def network(name: str, **options: int) -> LinearNetwork:
    exact = zoo.load(name, **options).exact
    assert exact is not None
    return exact


def mirrored(of: LinearNetwork) -> LinearNetwork:
    return LinearNetwork(of.x, -of.y, of.depth, of.width, of.noise_sd, of.prior_sd)


@pytest.fixture(scope="module")
def tuned() -> Tuned:
    return tune(network("small-n"))


@pytest.mark.parametrize(
    ("depth", "width", "share"),
    [
        (0, 1, 0.5),
        (1, 1, 0.5),
        (1, 3, 1.0),
        (2, 1, 0.7),
        (4, 1, 1.0),
    ],
)
@pytest.mark.slow
def test_divergence_is_that_of_quadrature_between_the_laws(depth: int, width: int, share: float, x64: None) -> None:
    net = network("small-n", depth=depth, width=width)
    temperature = share * matching_temperature(net)
    found = divergence(net, temperature)
    truth = kl_divergence(as_line_law(net.branch_law(temperature)), as_line_law(line_posterior(net)))
    assert float(found) == pytest.approx(truth, rel=1e-8)


@pytest.mark.slow
def test_divergence_near_the_critical_temperature(x64: None) -> None:
    """Most of it lies where v underflows: quadrature in log v down to e^-300, and the power law below it exactly."""
    net = network("small-n", depth=1, width=3)
    temperature = 2.0 * matching_temperature(net)
    p, q = net.branch_law(temperature).log_prob, line_posterior(net).log_prob
    nodes, weights = np.polynomial.legendre.leggauss(20)
    edges = np.linspace(-300.0, 60.0, 3001)
    y = (edges[1:] + edges[:-1])[:, None] / 2 + np.diff(edges)[:, None] / 2 * nodes
    log_p, log_q = (np.asarray(f(np.exp(y.ravel()))).reshape(y.shape) for f in (p, q))
    terms = np.where(log_p > -np.inf, np.exp(log_p + y) * (log_p - log_q), 0.0)
    bulk = (terms * weights * np.diff(edges)[:, None] / 2).sum()
    low = float(p(np.exp(-300.0)))
    power = (float(p(np.exp(-250.0))) - low) / 50 + 1
    ratio = low - float(q(np.exp(-300.0)))
    tail = np.exp(low - 300.0) * (ratio / power - (power - 1) / power**2)
    assert tail > 0.1
    assert float(divergence(net, temperature)) == pytest.approx(bulk + tail, rel=1e-9)


@pytest.mark.slow
def test_divergence_is_differentiable_and_knows_the_side(x64: None) -> None:
    net = network("small-n")
    value = jax.jit(jax.value_and_grad(lambda t, g: divergence(net, t, g), (0, 1)))
    at, (by_heat, by_decay) = value(0.05, 0.03)
    step = 1e-5
    slope = (value(0.05 + step, 0.03)[0] - value(0.05 - step, 0.03)[0]) / (2 * step)
    assert float(by_heat) == pytest.approx(float(slope), rel=1e-6)
    slope = (value(0.05, 0.03 + step)[0] - value(0.05, 0.03 - step)[0]) / (2 * step)
    assert float(by_decay) == pytest.approx(float(slope), rel=1e-6)
    assert float(divergence(mirrored(net), 0.05, 0.03)) == pytest.approx(float(at), rel=1e-10)


def test_the_best_temperature_is_a_minimum_and_its_parts_add_up(tuned: Tuned, x64: None) -> None:
    net, parts = tuned.network, tuned.parts
    posterior, law = line_posterior(net), net.branch_law(tuned.temperature)
    whole = kl_divergence(as_line_law(law), as_line_law(posterior))
    assert tuned.kl == pytest.approx(whole, rel=1e-8)
    assert tuned.kl < min(float(divergence(net, tuned.temperature * f)) for f in (0.97, 1.03))
    assert tuned.kl < tuned.matching_kl
    assert tuned.learning_rate(4) == pytest.approx(tuned.temperature * 4 / net.kappa)
    # every part by itself, on a plain grid
    v = np.exp(np.linspace(-40, 8, 400_001))
    weight = v * 48 / 400_000
    log_p, log_b = np.asarray(law.log_prob(v)), posterior.log_prob(v)
    p, b = np.exp(log_p) * weight, np.exp(log_b) * weight
    covered = b.sum()
    assert parts.missing_sign == pytest.approx(-math.log(1 - posterior.negative_mass), rel=1e-6)
    m, center = p @ v, b @ v / covered
    var, width = p @ (v - m) ** 2, b @ (v - center) ** 2 / covered
    assert parts.bias == pytest.approx((m - center) ** 2 / (2 * width), rel=1e-3)
    assert parts.spread == pytest.approx(0.5 * (var / width - 1 - math.log(var / width)), rel=1e-3)
    log_gp = -0.5 * np.log(2 * np.pi * var) - (v - m) ** 2 / (2 * var)
    log_gb = -0.5 * np.log(2 * np.pi * width) - (v - center) ** 2 / (2 * width)
    tail = p @ (log_p - log_gp) + p @ (log_gb - log_b + np.log(covered))
    assert parts.tail == pytest.approx(tail, abs=1e-3)
    assert parts.missing_sign + parts.bias + parts.spread + parts.tail == pytest.approx(whole, rel=1e-8)
    # on these data the sign is the largest of them
    assert parts.missing_sign > max(parts.bias, parts.spread, parts.tail)


@pytest.mark.slow
def test_the_decay_is_tuned_as_well(tuned: Tuned) -> None:
    net = tuned.network
    assert tuned.weight_decay == pytest.approx(net.weight_decay)
    both = tune(net, weight_decay=True)
    # without a decay of its own SGD is less biased towards 0: the posterior is shrunk by its prior, SGD by its noise
    assert 0 <= both.weight_decay < tuned.weight_decay
    assert both.kl < tuned.kl - 1e-3
    assert both.parts.total == pytest.approx(both.kl, abs=1e-9)
    assert both.divergence(both.temperature) == pytest.approx(both.kl, rel=1e-9)
    with jax.enable_x64(True):
        for heat, decay in ((0.8, 0.0), (1.25, 0.0), (1.0, 0.01), (0.8, 0.01), (1.25, 0.03)):
            assert float(divergence(net, heat * both.temperature, both.weight_decay + decay)) > both.kl
    with pytest.raises(InputError, match="tuned at depth 0 and 1: deeper, any decay leaves no law; got depth 2"):
        tune(network("small-n", depth=2), weight_decay=True)


def test_networks_of_one_depth_share_a_program(tuned: Tuned) -> None:
    def made() -> list[int]:
        return [program._cache_size() for program in (batch.prepare.program, expectations._panels, _log_posterior_mean)]

    programs = made()
    assert tuned.divergence(tuned.temperature) == tuned.kl
    assert tuned.divergence(tuned.matching_temperature) == tuned.matching_kl
    assert tuned.divergence(1e3) == math.inf  # beyond Tc
    assert tune(network("diabetes")).temperature < tuned.temperature  # 442 rows against 12
    split(network("weak-signal"), 0.001)
    assert made() == programs


def test_networks_from_depth_2_on_share_what_takes_longest_to_compile() -> None:
    def made() -> list[int]:
        return [program._cache_size() for program in (batch.prepare.program, expectations._panels)]

    split(network("small-n", depth=2), 0.2)
    programs = made()
    split(network("small-n", depth=3), 0.3)
    assert made() == programs


def test_the_evidence_is_that_of_the_whole_model(x64: None) -> None:
    net = network("small-n", depth=0)
    cov = net.noise_sd**2 * np.eye(net.num_data) + np.outer(net.x, net.x)
    truth = float(dist.MultivariateNormal(np.zeros(net.num_data), cov).log_prob(net.y))
    assert log_evidence(net, line_posterior(net)) == pytest.approx(truth, rel=1e-10)
    deep = network("small-n")
    factors = np.random.default_rng(0).standard_normal((400_000, 2)).prod(axis=1)
    logs = -0.5 * ((net.y - factors[:, None] * net.x) ** 2).sum(axis=1) / net.noise_sd**2
    logs -= net.num_data * np.log(np.sqrt(2 * np.pi) * net.noise_sd)
    weights = np.exp(logs - logs.max())
    error = weights.std() / weights.mean() / len(weights) ** 0.5
    assert log_evidence(deep, line_posterior(deep)) == pytest.approx(
        logs.max() + np.log(weights.mean()), abs=5 * float(error)
    )


def test_depth_0_is_tuned_into_the_posterior_but_for_its_tail(x64: None) -> None:
    found = tune(network("diabetes", depth=0))
    assert found.parts.missing_sign == 0
    assert found.kl < 1e-4
    assert found.temperature == pytest.approx(found.matching_temperature, rel=0.02)
    assert found.mandt_temperature == found.matching_temperature


@pytest.mark.slow
def test_svi_finds_the_best_temperature(tuned: Tuned, key: jax.Array, x64: None) -> None:
    net = tuned.network
    model = reduced_model(net)
    guide = SGDGuide(model, net)
    svi = SVI(model, guide, numpyro.optim.Adam(0.02), Trace_ELBO(num_particles=16))
    fit = svi.run(key, 400, net.x, net.y, progress_bar=False)
    kl = float(guide.divergence(fit.params))
    assert kl == pytest.approx(tuned.kl, abs=0.01)
    assert float(guide.temperature(fit.params)) == pytest.approx(tuned.temperature, rel=0.15)
    # its loss is minus the evidence lower bound, up to Monte Carlo error (the tail makes it heavy)
    losses = np.asarray(fit.losses[-100:])
    assert -losses.mean() == pytest.approx(tuned.elbo, abs=5 * float(losses.std() / 10) + 0.02)


def test_the_parameters_stay_where_the_law_exists(x64: None) -> None:
    for depth in (0, 1):
        net = network("small-n", depth=depth)
        model = reduced_model(net)
        guide = SGDGuide(model, net, tune_weight_decay=True)
        with numpyro.handlers.seed(rng_seed=0), numpyro.handlers.trace() as trace:
            guide(net.x, net.y)
        params = {name: site["value"] for name, site in trace.items() if site["type"] == "param"}
        assert set(params) == {"sgd_share", "sgd_weight_decay"}
        assert float(guide.temperature(params)) == pytest.approx(min(matching_temperature(net), 1e9), rel=0.5)
        assert np.isfinite(guide.divergence(params))
        for share in (0.01, 0.99):
            for decay in (1e-3, 0.9 * abs(float(net.moments.beta2))):
                moved = {"sgd_share": share, "sgd_weight_decay": decay}
                assert np.isfinite(guide.law(moved).mean)
    deep = SGDGuide(model, network("small-n", depth=2))
    assert deep.weight_decay({}) == 0
    assert deep.temperature({"sgd_temperature": 0.3}) == 0.3
    with pytest.raises(InputError, match="tuned at depth 0 and 1"):
        SGDGuide(model, network("small-n", depth=2), tune_weight_decay=True)


def test_a_guide_on_the_factors_is_refused(key: jax.Array) -> None:
    problem = zoo.load("small-n")
    assert problem.exact is not None
    guide = SGDGuide(problem.model, problem.exact)
    svi = SVI(problem.model, guide, numpyro.optim.Adam(0.01), Trace_ELBO())
    with pytest.raises(InputError, match=r"On \(u, w\) the law of SGD lives on a curve.*Delta.*reduced_model"):
        svi.init(key, *problem.data)

    def other(x: Any, y: Any = None) -> None:
        numpyro.sample("slope", dist.Normal(0, 1))

    with pytest.raises(InputError, match="only latent site of the model must be 'v'; got latent sites slope"):
        SGDGuide(other, problem.exact)(*problem.data)


def test_in_parameter_space_the_divergence_is_infinite() -> None:
    deep = parameter_divergence(network("small-n", depth=2))
    assert math.isinf(deep.value)
    assert (deep.dimension, deep.ambient) == (1, 3)
    assert "|u0| = |u1| = |u2|" in deep.reason
    assert math.isnan(parameter_divergence(network("small-n", depth=0)).value)
    assert math.isinf(parameter_divergence(network("small-n", depth=0, width=2)).value)


def test_what_has_no_answer_says_so() -> None:
    net = network("small-n")
    with pytest.raises(InputError, match="SGD must have a law at some temperature.*collapses"):
        tune(LinearNetwork(net.x, net.y, prior_sd=0.1, noise_sd=net.noise_sd))
    with pytest.raises(InputError, match="prior must be proper"):
        tune(LinearNetwork(net.x, net.y, prior_sd=math.inf))
    with pytest.raises(InputError, match="for one unit"):
        sgdvi.variational.tune(network("small-n", depth=2, width=2))
    with pytest.raises(InputError, match="temperature must be below the critical"):
        split(net, 10.0)

"""The exact law of discrete SGD at every depth and width: reference laws, its own chain, tails, and where none is."""

import json
import logging
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pytest
from balanced_chains import kolmogorov, rows_on_a_grid, simulate
from numpyro.infer import MCMC, NUTS
from sizes import FULL

from sgdvi import InputError, LinearNetwork, Moments, SGDStationary, discrete_law

pytestmark = pytest.mark.usefixtures("optimised")

LOG = logging.getLogger(__name__)
MILLIONS = 10 if FULL else 2  # of draws, where a law is held against most of them
ROWS = rows_on_a_grid()
FILES = [folder / "shared" / "discrete-laws.json" for folder in Path(__file__).resolve().parents]
CASES = next((json.loads(path.read_text(encoding="utf-8"))["cases"] for path in FILES if path.exists()), [])


@pytest.mark.skipif(not CASES, reason="the reference laws are kept beside the repository")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_reference_laws(case):
    settings = {"depth": case["depth"], "width": case["width"], "weight_decay": case["gamma"]}
    law = discrete_law(case["x"], case["y"], learning_rate=case["eta"], batch_size=case["S"], **settings)
    error = np.abs(law.cdf(case["quantiles"]) - np.array(case["levels"]))
    assert error[0] < (1e-3 if case["id"] == "D1-near" else 1e-4)
    assert error[1:].max() < 1e-4
    assert law.mean == pytest.approx(case["mean"], abs=2e-5)
    assert law.variance**0.5 == pytest.approx(case["sd"], abs=2e-5)


# Quantiles of 2e7 draws of the chain at the levels 0.05, 0.5, 0.95, with their standard errors.
LEVELS = np.array([0.05, 0.5, 0.95])


@pytest.mark.parametrize(
    ("depth", "width", "rate", "size", "decay"),
    [
        (0, 2, 0.05, 3, 0.1),
        (2, 3, 0.04, 1, 0.0),
        pytest.param(3, 1, 0.03, 2, 0.0, marks=pytest.mark.slow),
        pytest.param(1, 2, 0.08, 5, 0.1, marks=pytest.mark.slow),
        pytest.param(2, 1, 0.03, 4, 0.05, marks=pytest.mark.slow),
        pytest.param(3, 2, 0.03, 1, 0.0, marks=pytest.mark.slow),
        pytest.param(4, 1, 0.02, 8, 0.0, marks=pytest.mark.slow),
        pytest.param(5, 3, 0.02, 2, 0.02, marks=pytest.mark.slow),
    ],
)
def test_the_chain_follows_the_law(depth, width, rate, size, decay, request):
    chains = 400_000 if request.node.get_closest_marker("slow") else 100_000
    law = discrete_law(*ROWS, rate, size, decay, depth=depth, width=width)
    draws = simulate(*ROWS, rate, size, decay, depth=depth, width=width, chains=chains, steps=400, seed=depth)
    assert law.status == "proper"
    # counts below the law's quantiles, within five binomial standard errors
    below = np.mean(draws[:, None] <= law.icdf(LEVELS), axis=0)
    assert np.all(np.abs(below - LEVELS) < 5 * np.sqrt(LEVELS * (1 - LEVELS) / chains) + 1e-4)
    assert kolmogorov(law.cdf, draws) < np.sqrt(np.log(2e6) / (2 * chains)) + 1e-4
    assert abs(draws.mean() - law.mean) < 5 * np.sqrt(law.variance / chains)
    wrong = SGDStationary(Moments.from_data(*ROWS), rate / size, depth=depth, width=width)
    # every hundredth quantile, of which nothing is compiled: their steps are 1e-3 or less
    assert kolmogorov(wrong.cdf, np.sort(draws[:100_000])[::100]) > np.sqrt(np.log(2e6) / 2e5) + 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("depth", "width", "rate", "size", "decay"),
    [
        (0, 2, 0.05, 3, 0.1),
        (1, 2, 0.08, 2, 0.1),
        (2, 1, 0.05, 1, 0.0),
        (3, 3, 0.03, 1, 0.0),
        (3, 1, 0.03, 2, 0.01),
        (5, 2, 0.02, 1, 0.0),
    ],
)
def test_millions_of_draws_within_three_standard_errors(depth, width, rate, size, decay):
    settings = {"depth": depth, "width": width, "chains": 1_000_000}
    law, levels = discrete_law(*ROWS, rate, size, decay, depth=depth, width=width), np.linspace(0.05, 0.95, 10)
    edges, below, draws = law.icdf(levels), np.zeros(len(levels)), None
    for seed in range(MILLIONS):
        # ten relaxations at least between two draws of a chain
        steps = 60 if seed else 120
        draws = simulate(*ROWS, rate, size, decay, **settings, steps=steps, seed=seed, start=draws)
        below += np.searchsorted(np.sort(draws), edges, side="right") / (MILLIONS * 1e6)
    off = np.abs(below - levels) / np.sqrt(levels * (1 - levels) / (MILLIONS * 1e6))
    LOG.info("depth %d, width %d, S = %d, decay %g: %.2f standard errors", depth, width, size, decay, off.max())
    assert off.max() < 3.3  # of ten levels: once in a hundred times


def test_depth_zero_is_linear_regression_to_the_last_digit():
    """Mean beta2/(beta1 + gamma/d) and Var = T d g/(b - eta d b^2 - T d alpha1) of the steps, from the grid, too."""
    data, rate, size, width = Moments.from_data(*ROWS), 0.05, 2, 2
    law = discrete_law(*ROWS, rate, size, depth=0, width=width)
    heat = width * rate / size
    stiff = data.beta1
    want = heat * data.noise(data.minimizer) / (stiff - width * rate * stiff**2 - heat * data.alpha1)
    assert law.mean == pytest.approx(float(data.minimizer), rel=1e-12)
    assert law.variance == pytest.approx(float(want), rel=1e-12)
    middle = law.icdf((np.arange(100_000) + 0.5) / 100_000)
    assert middle.mean() == pytest.approx(law.mean, rel=1e-5)
    assert middle.var() == pytest.approx(law.variance, rel=1e-3)
    assert law.tail_exponent == np.inf


def test_depth_zero_has_the_tail_of_a_kesten_recursion():
    """x ~ N(0, 1), eta = 0.3: E|1 - 2 eta x^2|^k = 1 at k = 2.30, where the flow has 2.67."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=300)
    y = x + rng.normal(size=300)
    law = discrete_law(x, y, 0.3, depth=0)
    k = law.tail_exponent - 1
    assert np.mean(np.abs(1 - 0.6 * x**2) ** k) == pytest.approx(1, abs=1e-9)
    far = law.icdf(np.array([1 - 1e-5, 1 - 1e-7]))
    assert np.log(1e2) / np.log(far[1] / far[0]) == pytest.approx(k, rel=0.1)
    assert law.cdf(law.icdf(1 - 1e-9)) == pytest.approx(1 - 1e-9, abs=1e-14)
    assert np.isinf(law.variance) == (k <= 2)
    with pytest.raises(InputError, match="log_icdf needs a law on one side"):
        law.log_icdf(0.5)
    assert discrete_law(x, y, 2.0, depth=0).status == "no law: overflows"
    assert np.isnan(discrete_law(x, y, 0.6, depth=0).mean) == (np.mean(np.abs(1 - 1.2 * x**2)) >= 1)


def test_left_tails():
    """Depth 1: E F^(-2e) = 1, less where F can vanish; depth 3: E exp(-4 eta theta x y) = 1, and the cdf follows."""
    x, y = rows_on_a_grid(0.3, 0.5)
    law = discrete_law(x, y, 0.05)
    assert np.mean(np.abs(1 + 0.1 * x * y) ** (-2 * law.left_tail)) == pytest.approx(1, abs=1e-9)
    deep = discrete_law(x, y, 0.05, depth=3)
    assert np.mean(np.exp(-2 * 0.05 * 2 * deep.left_tail * x * y)) == pytest.approx(1, abs=1e-9)
    # the slope of log P in v^(-1/2) gets there slowly, from below
    low, high = np.exp(deep.log_icdf(np.array([1e-5, 1e-3]))) ** -0.5
    assert 0.5 * deep.left_tail < np.log(1e2) / (low - high) < deep.left_tail


def test_both_sides_and_the_wrong_one():
    x, y = ROWS
    for depth in (2, 3):
        law, mirror = discrete_law(x, y, 0.03, depth=depth), discrete_law(x, -y, 0.03, depth=depth)
        np.testing.assert_allclose(mirror.icdf([0.1, 0.7]), -law.icdf([0.9, 0.3]), rtol=1e-12)
        assert (mirror.mean, mirror.sign) == (-law.mean, -1)
        wrong = discrete_law(x, y, 0.03, depth=depth, sign=-1)
        assert (wrong.status, wrong.growth) == ("collapsed to zero", 0.0)


def test_where_a_step_can_hit_zero_there_is_no_law():
    law = discrete_law(*rows_on_a_grid(0.5, 0.8), 0.25, depth=3)
    assert law.status == "no law: leaks to zero"
    with pytest.raises(InputError, match="must have a density; got no law: leaks to zero"):
        law.cdf(1.0)


def test_decay_leaves_a_bulk_for_a_time():
    """At depth 2 chains fall behind the barrier at the stated rate; too much decay leaves nothing."""
    x, y = rows_on_a_grid(0.5, 1.0)
    rate, decay = 0.05, 0.12
    law = discrete_law(x, y, rate, 1, decay, depth=2)
    assert law.status == "quasi-stationary"
    chains, first, last = 25_000, 1_200, 1_500
    after = [
        np.mean(simulate(x, y, rate, 1, decay, depth=2, chains=chains, steps=steps, seed=2) > law.grid[0])
        for steps in (first, last)
    ]
    want = law.survival_rate ** (last - first)
    assert after[1] / after[0] == pytest.approx(want, abs=6 * np.sqrt(want * (1 - want) / (chains * after[0])))
    assert discrete_law(x, y, rate, 1, 1.0, depth=2).status == "collapsed to zero"


def test_the_law_works_where_numpyro_wants_a_distribution():
    law = discrete_law(*ROWS, 0.02, 2)
    value = np.array([0.9, 1.1])
    for function in (law.log_prob, law.cdf):
        want = function(value)
        np.testing.assert_allclose(jax.jit(function)(value), want, rtol=1e-5)
    np.testing.assert_allclose(jax.lax.map(law.log_prob, jnp.asarray(value)), law.log_prob(value), rtol=1e-5)
    np.testing.assert_allclose(jax.jit(lambda law: law.log_prob(value))(law), law.log_prob(value), rtol=1e-5)
    np.testing.assert_allclose(jax.jit(law.icdf)(0.3), law.icdf(0.3), rtol=1e-6)
    np.testing.assert_allclose(law.expand([2]).to_event(1).log_prob(value), law.log_prob(value).sum(), rtol=1e-6)
    assert not law.has_rsample
    with pytest.raises(NotImplementedError):
        law.rsample(jax.random.key(0))


@pytest.mark.slow
def test_nuts_draws_from_the_law():
    law = discrete_law(*ROWS, 0.02, 2)
    mcmc = MCMC(NUTS(lambda: numpyro.sample("v", law)), num_warmup=200, num_samples=2_000, progress_bar=False)
    mcmc.run(jax.random.key(1))
    draws = np.asarray(mcmc.get_samples()["v"], dtype=float)
    size = float(numpyro.diagnostics.effective_sample_size(draws[None]))
    assert abs(draws.mean() - law.mean) < 5 * np.sqrt(law.variance / size)


def test_the_network_knows_its_law_at_every_depth():
    x, y = ROWS
    for depth in (0, 2):
        network = LinearNetwork(x, y, depth=depth, noise_sd=0.5**0.5, prior_sd=3.0)
        law = network.discrete_law(0.03, 2)
        want = discrete_law(x, y, network.flow_learning_rate(0.03), 2, network.weight_decay, depth=depth)
        assert law.distance_to(want) < 2e-3
        assert law.depth == depth


def test_bad_depths():
    for options, words in (
        ({"depth": -1}, "depth must be a whole number of at least 0"),
        ({"width": 0}, "width must be a whole number of at least 1"),
        ({"depth": 0, "sign": -1}, "sign must be left out at depth 0"),
    ):
        with pytest.raises(InputError, match=words):
            discrete_law(*ROWS, 0.01, **options)
    x = np.arange(1.0, 6.0)
    for depth in (0, 2):
        with pytest.raises(InputError, match="must disagree on the best v; got v = 2 for all"):
            discrete_law(x, 2 * x, 1e-3, depth=depth)

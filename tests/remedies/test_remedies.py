"""Each remedy: what it corrects, what it cannot, and which is recommended."""

from functools import cache

import jax
import numpy as np
import pytest
from scipy import stats

from sgdvi import InputError, LinearNetwork, Problem, zoo
from sgdvi.experiment.plan import make_plan
from sgdvi.experiment.result import Result
from sgdvi.laws import discrete_law
from sgdvi.remedies import remedies, restore_signs, reweight
from sgdvi.samplers.references import line_posterior
from sgdvi.variational import matching_temperature


@cache
def network(name: str, depth: int = 1) -> LinearNetwork:
    exact = zoo.load(name, depth=depth).exact
    assert exact is not None
    return exact


def draws_at(net: LinearNetwork, temperature: float, key: jax.Array, count: int) -> np.ndarray:
    with jax.enable_x64(True):
        return np.asarray(net.branch_law(temperature).sample(key, (count,)))


@pytest.mark.parametrize("sign", [1, pytest.param(-1, marks=pytest.mark.slow)])
def test_weights_turn_sgd_into_the_posterior_given_its_sign(sign: int, key: jax.Array) -> None:
    small = network("small-n")
    net = LinearNetwork(small.x, sign * small.y, noise_sd=small.noise_sd)
    heat = net.critical_temperature / 3
    draws = draws_at(net, heat, key, 20_000)
    found = reweight(net, draws, heat)
    exact = line_posterior(net)
    mass, mean, variance = exact.given_side(sign)
    assert found.reliable
    assert found.missed == pytest.approx(1 - mass, rel=1e-9)
    error = np.sqrt(np.sum(found.weights**2 * (found.values - found.mean) ** 2))
    assert abs(found.mean - mean) < 5 * error
    error = np.sqrt(np.sum(found.weights**2 * ((found.values - found.mean) ** 2 - found.variance) ** 2))
    assert abs(found.variance - variance) < 5 * error
    at = sign * np.array([0.05, 0.2, 0.5])
    below = (exact.cdf(at) - (exact.negative_mass if sign > 0 else 0.0)) / mass
    np.testing.assert_allclose(found.cdf(at), below, atol=5 * 0.5 / found.effective_draws**0.5)
    resampled = found.sample(key, 400)
    grid = np.sort(resampled)
    truth = (exact.cdf(grid) - (exact.negative_mass if sign > 0 else 0.0)) / mass
    assert stats.kstest(truth, "uniform").pvalue > 1e-3
    # without weights the same draws are not
    assert abs(draws.mean() - mean) > 10 * error


def test_weights_know_when_they_fail(key: jax.Array) -> None:
    net = network("small-n")
    cold = 0.02 * net.critical_temperature
    found = reweight(net, draws_at(net, cold, key, 4000), cold)
    assert not found.reliable
    assert found.khat > 0.7


@pytest.mark.slow
def test_weights_of_the_discrete_steps(key: jax.Array) -> None:
    net = network("small-n")
    rate = 0.3 * net.critical_temperature / net.kappa
    law = discrete_law(net.x, net.y, net.flow_learning_rate(rate), 1, net.weight_decay, tolerance=1e-3)
    draws = law.sample(key, (20_000,))
    posterior = line_posterior(net)
    exact = reweight(net, draws, learning_rate=rate, batch_size=1)
    flow = reweight(net, draws, net.temperature(rate, 1))
    assert (exact.law, flow.law) == ("discrete", "flow")
    v = np.linspace(0.02, 1, 40)
    truth = (posterior.cdf(v) - posterior.negative_mass) / (1 - posterior.negative_mass)
    error = 0.5 / exact.effective_draws**0.5
    assert np.abs(exact.cdf(v) - truth).max() < 5 * error
    # at this rate the flow is not the law of the steps: weights from it are wrong, and the gap says so
    assert np.abs(flow.cdf(v) - truth).max() > 8 * error
    assert exact.gap > 0.05
    assert np.isnan(flow.gap)


def test_what_cannot_be_weighted_is_refused(key: jax.Array) -> None:
    net = network("small-n")
    good = np.full(30, 0.3)
    with pytest.raises(InputError, match="must be given once"):
        reweight(net, good)
    with pytest.raises(InputError, match="must be given once"):
        reweight(net, good, 0.1, learning_rate=0.1, batch_size=2)
    with pytest.raises(InputError, match="on the side of sign 1; got 1 that are not"):
        reweight(net, np.append(good, -0.1), 0.1)
    with pytest.raises(InputError, match="at least 25 finite"):
        reweight(net, np.append(good, np.nan), 0.1)


def test_signs_of_the_factors_come_back_and_products_stay(key: jax.Array) -> None:
    rng = np.random.default_rng(0)
    draws = {name: np.abs(rng.standard_normal((4, 2000))) for name in ("u0", "u1", "u2", "other")}
    found = restore_signs(draws, ("u0", "u1", "u2"), key)
    np.testing.assert_allclose(found["u0"] * found["u1"] * found["u2"], draws["u0"] * draws["u1"] * draws["u2"])
    np.testing.assert_array_equal(found["other"], draws["other"])
    patterns = np.stack([found[name] > 0 for name in ("u0", "u1", "u2")]).reshape(3, -1)
    counts = np.unique(patterns, axis=1, return_counts=True)[1]
    assert len(counts) == 4
    assert stats.chisquare(counts).pvalue > 1e-3
    with pytest.raises(InputError, match="two factors or more"):
        restore_signs(draws, ("u0",), key)
    with pytest.raises(InputError, match="all factors must be there"):
        restore_signs(draws, ("u0", "w"), key)


@pytest.mark.slow
def test_tuning_is_enough_at_depth_0() -> None:
    net = network("diabetes", 0)
    found = remedies(net, 3 * matching_temperature(net))
    assert [one.name for one in found.each] == ["none", "tune the temperature", "reweight", "NUTS"]
    none, tuned, weighted, _ = found.each
    assert none.ks > 0.1
    assert none.ks > 20 * tuned.ks
    assert found.recommended is tuned
    assert weighted.ks < 1e-3
    assert "Recommended: tune the temperature" in str(found)


@pytest.mark.slow
def test_a_missing_sign_calls_for_nuts() -> None:
    net = network("small-n")
    found = remedies(net, 0.2 * net.critical_temperature)
    assert found.recommended.name == "NUTS"
    by_name = {one.name: one for one in found.each}
    missed = line_posterior(net).negative_mass
    # what no remedy on SGD's own draws can undo
    assert by_name["reweight"].ks == pytest.approx(missed, abs=1e-3)
    assert by_name["tune the temperature"].ks > by_name["reweight"].ks
    collapsed = remedies(net, 2 * net.critical_temperature)
    assert "collapses" in collapsed.each[0].meaning


def result_of(problem: Problem) -> Result:
    """A result without runs: the remedies need the problem and the plan alone."""
    return Result(problem, make_plan(problem), {}, None, None)  # type: ignore[arg-type]


def test_a_result_without_exact_laws_has_no_remedies() -> None:
    flat = zoo.load("small-n", prior_sd=np.inf)
    assert result_of(flat).remedies is None
    assert result_of(zoo.load("small-n", depth=2, width=2)).remedies is None


@pytest.mark.slow
def test_a_result_knows_its_remedies() -> None:
    found = result_of(zoo.load("small-n")).remedies
    assert found is not None
    assert found.recommended.name == "NUTS"

"""Stationarity, memory and what Hamiltonian samplers report: each check in both directions."""

import numpy as np
import pytest
from scipy import stats

from sgdvi.comparison import Known
from sgdvi.diagnostics import Status, Thresholds, hmc, memory, mixing, stationarity
from sgdvi.diagnostics.facts import Facts
from sgdvi.diagnostics.fresh import fresh_step
from sgdvi.laws import SGDStationary
from sgdvi.laws.line import as_line_law
from sgdvi.laws.moments import Moments
from sgdvi.problem.network import LinearNetwork

LIMITS = Thresholds()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def network(depth: int, width: int = 1, slope: float = 0.8) -> LinearNetwork:
    rng = np.random.default_rng(0)
    x = rng.normal(size=300)
    return LinearNetwork(x, slope * x + 0.8 * rng.normal(size=300), depth, width, noise_sd=0.8, prior_sd=1.0)


# --- trend ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chains", [2, 8])
def test_trend(rng: np.random.Generator, chains: int) -> None:
    still = rng.normal(size=(chains, 1000))
    assert stationarity.trend("SGD", "v", still, 0.01, LIMITS).status is Status.PASS
    moving = stationarity.trend("SGD", "v", still + np.linspace(0, 1.5, 1000), 0.01, LIMITS)
    assert moving.status is Status.FAIL
    assert "v moves by" in moving.meaning
    assert stationarity.trend("SGD", "v", rng.standard_cauchy((chains, 1000)), 0.01, LIMITS).status is Status.PASS
    assert stationarity.trend("SGD", "v", np.zeros((chains, 1000)), 0.01, LIMITS).status is Status.UNKNOWN


def test_trend_keeps_its_level(rng: np.random.Generator) -> None:
    runs = np.cumsum(rng.normal(size=(200, 4, 500)), axis=-1)  # a random walk is anything but stationary in 500 steps
    walks = [stationarity.trend("SGD", "v", run, 0.01, LIMITS) for run in runs[:20]]
    assert sum(found.status is not Status.PASS for found in walks) < 10
    smooth = rng.normal(size=(200, 4, 500))
    smooth = sum(np.roll(smooth, k, axis=-1) for k in range(10))
    found = [stationarity.trend("SGD", "v", run, 0.01, LIMITS).details["p_value"] for run in smooth]
    assert sum(p < 0.01 for p in found) <= stats.binom.ppf(0.999, 200, 0.01)
    assert stats.kstest(found, "uniform").pvalue > 1e-3


# --- identities -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("depth", "width", "share"), [(0, 1, 0.05), (0, 1, 0.7), (1, 1, 0.2), (1, 3, 0.2), (2, 1, 0.1)]
)
@pytest.mark.parametrize("decay", [0.0, 0.05])
def test_bias_terms_have_mean_zero_under_the_exact_law(
    rng: np.random.Generator, depth: int, width: int, share: float, decay: float
) -> None:
    if depth == 2:
        decay = 0.0  # there is no law
    moments = Moments.linear(0.8, 0.6)
    heat = share * float(moments.beta1 / moments.alpha1) if depth == 0 else share
    law = SGDStationary(moments, heat, depth=depth, width=width, weight_decay=decay)
    levels = (np.arange(200_000) + 0.5) / 200_000
    v = as_line_law(law).icdf(levels)
    for tail in (0.0, np.inf):  # bounded by the window, and the identity itself
        terms = stationarity.bias_terms(v, law, tail)
        if tail == 0 or depth == 0:
            assert abs(terms.mean()) < 2e-3 * terms.std(), tail
        assert np.isfinite(terms).all()
    if depth > 0:
        hotter = SGDStationary(moments, 1.5 * heat, depth=depth, width=width, weight_decay=decay)
        wrong = stationarity.bias_terms(v, hotter, 0.0)
        assert abs(wrong.mean()) > 0.01 * terms.std()


def test_the_bias_identity_finds_a_shift(rng: np.random.Generator) -> None:
    net = network(1)
    facts = Known(net, net.learning_rate(0.02 * net.critical_temperature, 4), 4)
    law = as_line_law(net.law(facts.temperature))
    known = Facts(facts)
    v = law.icdf(rng.uniform(size=8000)).reshape(8, 1000)
    assert stationarity.bias("SGD", "v", v, known, "", LIMITS).status is Status.PASS
    moved = stationarity.bias("SGD", "v", v + 0.3 * v.std(), known, "", LIMITS)
    assert moved.status is Status.WARN
    assert abs(moved.value or 0) == pytest.approx(0.3, rel=0.5)
    assert stationarity.bias("SGD", "v", None, Facts(), "No law.", LIMITS).status is Status.NOT_APPLICABLE


def simulate(net: LinearNetwork, facts: Known, rng: np.random.Generator, start: float, warmup: int) -> dict:
    """Discrete SGD, plainly: 8 chains, 2000 draws, every tenth step."""
    rate, decay = net.flow_learning_rate(facts.learning_rate), net.weight_decay
    theta = np.full((net.depth + 1, 8), start)
    kept = []
    for step in range(warmup + 20_000):
        rows = rng.integers(net.num_data, size=(8, facts.batch_size))
        push = 2 * (theta.prod(axis=0)[:, None] * net.x[rows] ** 2 - net.x[rows] * net.y[rows]).mean(axis=1)
        others = np.stack([np.delete(theta, k, axis=0).prod(axis=0) for k in range(len(theta))])
        theta = theta * (1 - 2 * rate * decay) - rate * push * others
        if step >= warmup and step % 10 == 0:
            kept.append(theta)
    draws = np.stack(kept, axis=-1)
    return {name: draws[k] for k, name in enumerate(net.sites)}


@pytest.mark.parametrize("depth", [0, 1])
def test_one_fresh_step_shows_whether_discrete_sgd_is_stationary(rng: np.random.Generator, depth: int) -> None:
    net = network(depth)
    facts = Known(net, 0.05 / net.kappa, 4)  # a large step: the law of the flow is off, this identity is exact
    tail = 6.0 if depth == 0 else 2.5
    sites = simulate(net, facts, rng, 0.9, 2000)
    step = fresh_step(facts, sites, tail)
    assert step.second_moments == (depth == 0)
    assert stationarity.identity("SGD", step, "", LIMITS).status is Status.PASS
    early = {name: values[:, :3] * np.ones((8, 3)) for name, values in simulate_early(net, facts, rng).items()}
    moving = stationarity.identity("SGD", fresh_step(facts, early, tail), "", LIMITS)
    assert moving.status in (Status.WARN, Status.FAIL)
    assert "still grows" in moving.meaning
    wrong = Known(net, facts.learning_rate * 3, 4)  # another rate than the one that made the draws
    assert stationarity.identity("SGD", fresh_step(wrong, sites, tail), "", LIMITS).status is not Status.PASS


def simulate_early(net: LinearNetwork, facts: Known, rng: np.random.Generator) -> dict:
    """Draws near 0.3, far below the fit: SGD has just begun."""
    return {name: 0.3 + 0.01 * rng.normal(size=(8, 3)) for name in net.sites}


def test_no_step_says_why() -> None:
    found = stationarity.identity("SGD", None, "Needs a fresh step.", LIMITS)
    assert (found.status, found.meaning) == (Status.NOT_APPLICABLE, "Needs a fresh step.")


# --- memory -----------------------------------------------------------------------------------------------------


def test_memory_of_named_starts(rng: np.random.Generator) -> None:
    starts = memory.groups(["a", "b"] * 4)
    draws = rng.normal(size=(8, 400))
    apart = draws + np.where(starts == 0, 0.0, 1.0)[:, None]
    for values, status in ((draws, Status.PASS), (apart, Status.FAIL)):
        assert memory.nested_rhat("SGD", "v", values, starts, LIMITS).status is status
        assert memory.of_start("SGD", "v", values, starts, 0.01, LIMITS).status is status
    share = memory.of_start("SGD", "v", apart, starts, 0.01, LIMITS).value
    assert share == pytest.approx(0.5 / 1.25, rel=0.3)  # between two starts 1 apart: variance 0.5 with ddof 1
    chainwise = draws + rng.normal(size=(8, 1))  # chains apart, but not by their starts
    assert memory.of_start("SGD", "v", chainwise, starts, 0.01, LIMITS).status is Status.PASS
    for bad in (None, ["a"] * 8, ["a", "b"], ["a", "a", "b", "b", "b"]):
        assert memory.groups(bad) is None
    assert memory.nested_rhat("SGD", "v", draws, None, LIMITS).status is Status.NOT_APPLICABLE
    assert memory.nested_rhat("SGD", "v", np.zeros((8, 400)), starts, LIMITS).status is Status.UNKNOWN


def test_memory_in_parameters_that_the_functional_hides(rng: np.random.Generator) -> None:
    u = np.where(np.arange(4) % 2, 1.0, -1.0)[:, None] * np.exp(0.1 * rng.normal(size=(4, 500)))
    v = rng.normal(size=(4, 500))
    functionals = [mixing.measure(v)]
    locked = memory.of_parameters("SGD", {"u": mixing.measure(u), "w": mixing.measure(v)}, functionals, LIMITS)
    assert locked.status is Status.WARN
    assert "worst: u" in locked.meaning
    assert "not in the functionals" in locked.meaning
    assert memory.of_parameters("SGD", {"w": mixing.measure(v)}, functionals, LIMITS).status is Status.PASS
    constant = memory.of_parameters("SGD", {"c": mixing.measure(np.ones((4, 500)))}, functionals, LIMITS)
    assert constant.status is Status.WARN
    assert memory.of_parameters("VI", {}, functionals, LIMITS).status is Status.NOT_APPLICABLE


# --- standard errors, Hamiltonian Monte Carlo -------------------------------------------------------------------


def test_standard_error_of_the_mean(rng: np.random.Generator) -> None:
    draws = rng.normal(3.0, 2.0, size=(4, 1000))
    found = mixing.mcse("NUTS", "v", mixing.measure(draws), 2.0, False, LIMITS)
    assert found.status is Status.PASS
    assert found.details["error"] == pytest.approx(2 / np.sqrt(4000), rel=0.15)
    slow = np.cumsum(rng.normal(size=(4, 1000)), axis=1)
    assert mixing.mcse("NUTS", "v", mixing.measure(slow), 1.0, False, LIMITS).status is Status.WARN
    assert mixing.mcse("NUTS", "v", mixing.measure(draws), 2.0, True, LIMITS).status is Status.NOT_APPLICABLE
    assert mixing.mcse("NUTS", "v", mixing.measure(draws * 0), 0.0, False, LIMITS).status is Status.FAIL


def test_statistics_of_hamiltonian_monte_carlo(rng: np.random.Generator) -> None:
    good = {
        "diverging": np.zeros((4, 500), bool),
        "energy": rng.normal(size=(4, 500)),
        "reached_max_treedepth": np.zeros((4, 500), bool),
    }
    assert [each.status for each in hmc.findings("NUTS", good, LIMITS)] == [Status.PASS] * 3
    few, many = good["diverging"].copy(), good["diverging"].copy()
    few[0, 3], many[:, :20] = True, True
    walk = np.cumsum(rng.normal(size=(4, 500)), axis=1)
    bad = {"diverging": many, "energy": walk, "reached_max_treedepth": many}
    assert [each.status for each in hmc.findings("NUTS", bad, LIMITS)] == [Status.FAIL, Status.WARN, Status.WARN]
    one = hmc.findings("NUTS", {"diverging": few}, LIMITS)
    assert [each.status for each in one] == [Status.WARN, Status.NOT_APPLICABLE, Status.NOT_APPLICABLE]
    assert "1 divergence " in one[0].meaning
    dead = hmc.findings("NUTS", {"energy": np.full((4, 500), np.nan)}, LIMITS)
    assert dead[1].status is Status.UNKNOWN

"""Stationarity, memory and what Hamiltonian samplers report: each check in both directions."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from check_cases import case_of, run_of
from scipy import stats

from sgdvi.comparison import Known
from sgdvi.diagnostics import Finding, Status, hmc, memory, mixing, stationarity
from sgdvi.diagnostics.facts import Facts
from sgdvi.diagnostics.stationarity import FreshStep
from sgdvi.laws import SGDStationary
from sgdvi.laws.line import as_line_law
from sgdvi.laws.moments import Moments
from sgdvi.problem.network import LinearNetwork
from sgdvi.samplers import SGD
from sgdvi.samplers.fresh import fresh_norms


def trend(values: np.ndarray) -> Finding:
    return stationarity.trend(case_of({"v": values}))


def balanced(v: np.ndarray) -> dict[str, np.ndarray]:
    return {"u": np.sqrt(v), "w": np.sqrt(v)}


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
    assert trend(still).status is Status.PASS
    moving = trend(still + np.linspace(0, 1.5, 1000))
    assert moving.status is Status.FAIL
    assert "v moves by" in moving.meaning
    assert trend(rng.standard_cauchy((chains, 1000))).status is Status.PASS
    assert trend(np.zeros((chains, 1000))).status is Status.UNKNOWN


def test_a_trend_too_small_to_matter_passes_however_certain_it_is(rng: np.random.Generator) -> None:
    drifting = trend(rng.normal(size=(8, 20_000)) + np.linspace(0, 0.12, 20_000))
    assert drifting.details["p_value"] < 1e-4
    assert drifting.status is Status.PASS


def test_trend_keeps_its_level(rng: np.random.Generator) -> None:
    runs = np.cumsum(rng.normal(size=(200, 4, 500)), axis=-1)  # a random walk is anything but stationary in 500 steps
    walks = [trend(run) for run in runs[:20]]
    assert sum(found.status is not Status.PASS for found in walks) < 10
    smooth = rng.normal(size=(200, 4, 500))
    smooth = sum(np.roll(smooth, k, axis=-1) for k in range(10))
    found = [trend(run).details["p_value"] for run in smooth]
    assert sum(p < 0.01 for p in found) <= stats.binom.ppf(0.999, 200, 0.01)
    assert stats.kstest(found, "uniform").pvalue > 1e-3


# --- identities -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("depth", "width", "share", "decay"),
    [(0, 1, 0.05, 0.0), (0, 1, 0.7, 0.05), (1, 1, 0.2, 0.0), (1, 3, 0.2, 0.05), (2, 1, 0.1, 0.0)],  # no law of 2 decays
)
def test_bias_terms_have_mean_zero_under_the_exact_law(
    rng: np.random.Generator, depth: int, width: int, share: float, decay: float
) -> None:
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

    def bias(v: np.ndarray) -> Finding:
        return stationarity.bias(case_of(balanced(v), known, values={"v": v}))

    v = law.icdf(rng.uniform(size=8000)).reshape(8, 1000)
    assert bias(v).status is Status.PASS
    moved = bias(v + 0.3 * v.std())
    assert moved.status is Status.WARN
    assert abs(moved.value or 0) == pytest.approx(0.3, rel=0.5)
    assert stationarity.bias(case_of(balanced(v))).status is Status.NOT_APPLICABLE


def simulate(net: LinearNetwork, facts: Known, rng: np.random.Generator, start: float, warmup: int) -> dict:
    """Discrete SGD, plainly: 64 chains, 250 draws, every tenth step."""
    rate, decay = net.flow_learning_rate(facts.learning_rate), net.weight_decay
    theta = np.full((net.depth + 1, 64), start)
    kept = []
    for step in range(warmup + 2500):
        rows = rng.integers(net.num_data, size=(64, facts.batch_size))
        push = 2 * (theta.prod(axis=0)[:, None] * net.x[rows] ** 2 - net.x[rows] * net.y[rows]).mean(axis=1)
        others = np.stack([np.delete(theta, k, axis=0).prod(axis=0) for k in range(len(theta))])
        theta = theta * (1 - 2 * rate * decay) - rate * push * others
        if step >= warmup and step % 10 == 0:
            kept.append(theta)
    draws = np.stack(kept, axis=-1)
    return {name: draws[k] for k, name in enumerate(net.sites)}


@pytest.mark.parametrize("depth", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_one_fresh_step_shows_whether_discrete_sgd_is_stationary(rng: np.random.Generator, depth: int) -> None:
    net = network(depth)
    facts = Known(net, 0.05 / net.kappa, 4)  # a large step: the law of the flow is off, this identity is exact
    sites = simulate(net, facts, rng, 0.9, 1000)

    def identity(facts: Known, sites: dict) -> Finding:
        sgd = SGD(net.model, learning_rate=facts.learning_rate, batch_size=facts.batch_size)
        step = FreshStep(*fresh_norms(sgd, (net.x, net.y), sites, jax.random.key(0)))
        return stationarity.identity(replace(case_of(sites, Facts(facts)), fresh=lambda case: step))

    right = identity(facts, sites)
    assert ("bounded function" in right.meaning) == (depth == 1)
    assert right.status is Status.PASS
    # near 0.3, far below the fit: SGD has just begun; as many draws as above, for the same program
    early = {name: 0.3 + 0.01 * rng.normal(size=values.shape) for name, values in sites.items()}
    moving = identity(facts, early)
    assert moving.status in (Status.WARN, Status.FAIL)
    assert "still grows" in moving.meaning
    if depth == 0:
        wrong = Known(net, facts.learning_rate * 3, 4)  # another rate than the one that made the draws
        assert identity(wrong, sites).status is not Status.PASS


def test_no_step_says_why() -> None:
    found = stationarity.identity(case_of({"u": np.zeros((4, 9))}))
    assert found.status is Status.NOT_APPLICABLE
    assert "give the sampler and its data" in found.meaning


# --- memory -----------------------------------------------------------------------------------------------------


def test_memory_of_named_starts(rng: np.random.Generator) -> None:
    names = np.array(["a", "b"] * 4)
    starts = memory.starts(case_of({"v": np.zeros((8, 4))}, starts=names))

    def both(values: np.ndarray, starts: np.ndarray | None = names) -> list[Finding]:
        case = case_of({"v": values}, starts=starts)
        return [memory.nested(case), memory.start(case)]

    draws = rng.normal(size=(8, 400))
    apart = draws + np.where(starts == 0, 0.0, 1.0)[:, None]
    for values, status in ((draws, Status.PASS), (apart, Status.FAIL)):
        assert [found.status for found in both(values)] == [status, status]
    share = both(apart)[1].value
    assert share == pytest.approx(0.5 / 1.25, rel=0.3)  # between two starts 1 apart: variance 0.5 with ddof 1
    chainwise = draws + rng.normal(size=(8, 1))  # chains apart, but not by their starts
    assert both(chainwise)[1].status is Status.PASS
    for bad in ("aaaaaaaa", "abcdefgh", "aabbbbbb"):
        assert both(draws, np.array(list(bad)))[0].status is Status.NOT_APPLICABLE
    assert both(draws, None)[0].status is Status.NOT_APPLICABLE
    assert both(np.zeros((8, 400)))[0].status is Status.UNKNOWN


def test_memory_in_parameters_that_the_functional_hides(rng: np.random.Generator) -> None:
    u = np.where(np.arange(4) % 2, 1.0, -1.0)[:, None] * np.exp(0.1 * rng.normal(size=(4, 500)))
    v = rng.normal(size=(4, 500))

    def parameters(**sites: np.ndarray) -> Finding:
        return memory.parameters(case_of(sites, values={"v": v}))

    locked = parameters(u=u, w=v)
    assert locked.status is Status.WARN
    assert "worst: u" in locked.meaning
    assert "not in the functionals" in locked.meaning
    assert parameters(w=v).status is Status.PASS
    # a constant is a start that was kept where a reference moves; of one run alone it may be a constant of the model
    held = {"c": np.ones((4, 500))}
    reference = run_of({"c": rng.normal(size=(4, 500))})
    assert memory.parameters(case_of(held, reference=reference)).status is Status.WARN
    assert memory.parameters(case_of(held)).status is Status.NOT_APPLICABLE
    assert memory.parameters(case_of({"w": v}, independent=True)).status is Status.NOT_APPLICABLE


# --- standard errors, Hamiltonian Monte Carlo -------------------------------------------------------------------


def test_standard_error_of_the_mean(rng: np.random.Generator) -> None:
    draws = rng.normal(3.0, 2.0, size=(4, 1000))

    def mcse(draws: np.ndarray) -> Finding:
        return mixing.mcse(case_of({"v": draws}))

    assert mcse(draws).status is Status.PASS
    assert mcse(draws).details["error"] == pytest.approx(2 / np.sqrt(4000), rel=0.15)
    assert mcse(np.cumsum(rng.normal(size=(4, 1000)), axis=1)).status is Status.WARN
    assert mcse(rng.standard_cauchy((4, 1000))).status is Status.NOT_APPLICABLE
    assert mcse(draws * 0).status is Status.FAIL


def test_statistics_of_hamiltonian_monte_carlo(rng: np.random.Generator) -> None:
    def findings(stats: dict[str, np.ndarray]) -> list[Finding]:
        case = case_of({"v": rng.normal(size=(4, 500))}, stats=stats)
        return [hmc.divergences(case), hmc.energy(case), hmc.depth(case)]

    good = {
        "diverging": np.zeros((4, 500), bool),
        "energy": rng.normal(size=(4, 500)),
        "reached_max_treedepth": np.zeros((4, 500), bool),
    }
    assert [each.status for each in findings(good)] == [Status.PASS] * 3
    few, many = good["diverging"].copy(), good["diverging"].copy()
    few[0, 3], many[:, :20] = True, True
    walk = np.cumsum(rng.normal(size=(4, 500)), axis=1)
    bad = {"diverging": many, "energy": walk, "reached_max_treedepth": many}
    assert [each.status for each in findings(bad)] == [Status.FAIL, Status.WARN, Status.WARN]
    one = findings({"diverging": few})
    assert [each.status for each in one] == [Status.WARN, Status.NOT_APPLICABLE, Status.NOT_APPLICABLE]
    assert "1 divergence " in one[0].meaning
    assert findings({"energy": np.full((4, 500), np.nan)})[1].status is Status.UNKNOWN

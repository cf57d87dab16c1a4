"""Classifier, predictions and variational calibration: each check in both directions."""

import arviz as az
import numpy as np
import pytest
from check_cases import case_of, run_of
from scipy import stats

from sgdvi import compare
from sgdvi._internal.check import InputError
from sgdvi._internal.pareto import pareto_shape
from sgdvi.diagnostics import Finding, Status, Thresholds, c2st, importance, predictive, vsbc
from sgdvi.draws import make_tree

LIMITS = Thresholds()
ANY = {"u": np.random.default_rng(0).normal(size=(4, 250))}


def loo(mine: np.ndarray | None, other: np.ndarray) -> Finding:
    return predictive.loo(case_of(ANY, reference=run_of(ANY, name="NUTS", log_likelihood=other), log_likelihood=mine))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(8)


def test_a_classifier_tells_other_laws_and_only_those(rng: np.random.Generator) -> None:
    pytest.importorskip("sklearn")
    reference = rng.normal(size=(500, 2))
    for run, status in (
        (rng.normal(size=(500, 2)), Status.PASS),
        (rng.normal(size=(500, 2)) + 0.5, Status.FAIL),
        (rng.normal(size=(500, 1)) * [1, 1], Status.FAIL),  # the line u = w
        (rng.normal(size=(40, 2)), Status.UNKNOWN),
    ):
        assert c2st.guessed("SGD", *c2st.accuracy(run, reference), "NUTS", LIMITS).status is status


def test_the_classifier_is_made_on_request(rng: np.random.Generator) -> None:
    pytest.importorskip("sklearn")
    runs = {name: make_tree({"u": rng.normal(size=(4, 150))}, kind=name.lower()) for name in ("SGD", "NUTS")}
    found = {finding.check: finding for finding in compare(runs, classifier=True).findings if finding.run == "SGD"}
    assert found["distance.c2st"].status is Status.PASS
    assert found["distance.c2st"].details["null_level"] > 0.5


def likelihood(rng: np.random.Generator, y: np.ndarray, shift: float, scale: float = 1.0) -> np.ndarray:
    """Log likelihoods of y ~ N(mu, 1) at draws of mu about its posterior, moved by `shift`."""
    mu = y.mean() + shift + scale * rng.normal(size=(800, 1)) / np.sqrt(y.size)
    return stats.norm.logpdf(y, mu, 1.0)


def test_leave_one_out_agrees_with_arviz_and_finds_a_shift(rng: np.random.Generator) -> None:
    y = rng.normal(size=120)
    posterior, same, off = likelihood(rng, y, 0.0), likelihood(rng, y, 0.0), likelihood(rng, y, 0.8)
    values, _ = predictive.leave_one_out(posterior)
    tree = az.from_dict({"posterior": {"mu": rng.normal(size=(1, 800))}, "log_likelihood": {"y": posterior[None]}})
    assert values.sum() == pytest.approx(float(az.loo(tree).elpd), abs=0.02)
    assert loo(same, posterior).status is Status.PASS
    worse = loo(off, posterior)
    assert worse.status is Status.WARN
    assert worse.value == pytest.approx(-0.5 * 120 * 0.8**2, rel=0.3)
    assert "nats lower" in worse.meaning
    assert loo(None, posterior).status is Status.NOT_APPLICABLE
    assert loo(same * np.nan, posterior).status is Status.UNKNOWN


@pytest.mark.parametrize(("scale", "status"), [(1.0, Status.PASS), (0.5, Status.WARN), (2.0, Status.WARN)])
def test_coverage_of_predictive_intervals(rng: np.random.Generator, scale: float, status: Status) -> None:
    drawn, observed = scale * rng.normal(size=(2000, 400)), rng.normal(size=400)
    assert predictive.coverage(case_of(ANY, predicted=drawn, observed=observed)).status is status
    assert predictive.coverage(case_of(ANY)).status is Status.NOT_APPLICABLE


def test_predictions_are_read_from_the_groups_of_a_tree(rng: np.random.Generator) -> None:
    y = rng.normal(size=60)
    groups = {
        "posterior": {"mu": rng.normal(size=(4, 500))},
        "log_likelihood": {"y": likelihood(rng, y, 0.0)[None].reshape(4, 200, 60)[:, :]},
        "posterior_predictive": {"y": rng.normal(size=(4, 500, 60))},
        "observed_data": {"y": y},
    }
    groups["log_likelihood"]["y"] = np.concatenate([groups["log_likelihood"]["y"]] * 3, axis=1)[:, :500]
    runs = {"SGD": az.from_dict(groups), "NUTS": az.from_dict(groups)}
    found = {finding.check: finding for finding in compare(runs).findings if finding.run == "SGD"}
    assert found["predictive.loo"].status is Status.PASS
    assert found["predictive.coverage"].status is Status.PASS


def test_variational_calibration_keeps_its_level_and_finds_a_bias(rng: np.random.Generator) -> None:
    fair = [vsbc("VI", "v", rng.uniform(size=200)).value for _ in range(300)]
    for level in (0.01, 0.1):
        assert sum(p < level for p in fair) <= stats.binom.ppf(0.999, 300, level)
    wide = stats.norm.cdf(0.5 * rng.normal(size=200))  # too wide, but centred: not what this test is for
    assert vsbc("VI", "v", wide).status is Status.PASS
    places = stats.norm.cdf(rng.normal(0.4, 1.0, size=200))
    biased = vsbc("VI", "v", places)
    assert vsbc("VI", "v", np.sort(places)).value == biased.value  # the order of the simulations says nothing
    assert biased.status is Status.FAIL
    assert "too small" in biased.meaning
    assert vsbc("VI", "v", rng.uniform(size=20)).status is Status.UNKNOWN
    for bad in ([[0.5]], [1.5], [np.nan]):
        with pytest.raises(InputError, match="probabilities"):
            vsbc("VI", "v", bad)


@pytest.mark.parametrize("spread", [0.0, 1e-13, 1e-9])
def test_equal_weights_are_the_best_case(spread: float) -> None:
    logs = -41.0 + spread * np.random.default_rng(0).normal(size=400)
    assert pareto_shape(logs) == -np.inf
    finding = importance.khat(case_of(ANY, kind="vi", log_weights=logs))
    assert (finding.status, finding.value) == (Status.PASS, -np.inf)
    assert "100 % of their number" in finding.meaning


def test_weights_say_how_many_draws_they_leave() -> None:
    logs = np.log(np.repeat([1.0, 3.0], [100, 300]))  # (100 + 900)^2 / (400 (100 + 2700)) = 25/28
    assert importance.efficiency(logs - 50) == pytest.approx(25 / 28)
    finding = importance.khat(case_of(ANY, kind="vi", log_weights=logs))
    assert finding.status is Status.PASS
    assert "worth 89 % of their number" in finding.meaning
    missed = importance.with_missed(importance.reweighted("SGD", logs, LIMITS), 0.2)
    assert "No weight reaches the 20 % of the posterior" in missed.meaning
    assert finding.details["efficiency"] == pytest.approx(25 / 28)
    heavy = importance.reweighted("SGD", 2 * np.random.default_rng(0).exponential(size=4000), LIMITS)
    assert heavy.status is Status.WARN
    assert heavy.value == pytest.approx(2, abs=0.3)  # the weights have a Pareto tail of index 1/2

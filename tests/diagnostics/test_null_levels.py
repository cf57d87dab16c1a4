"""Null levels are the quantiles that they say, and effects too small to matter are no failures."""

import numpy as np
import pytest
from check_cases import case_of, found, judge, run_of
from scipy import stats

from sgdvi.diagnostics import Status, distances, joint, stationarity, stein, use
from sgdvi.laws.line import Points


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(2)


def test_the_null_level_of_many_functionals_is_extrapolated_rightly(rng: np.random.Generator) -> None:
    law = Points(stats.norm.ppf((np.arange(4000) + 0.5) / 4000), np.inf)
    apart = np.concatenate(
        [np.abs(np.diff(np.sort(rng.normal(size=(2, 2000, 100)), axis=-1), axis=0)[0]).mean(axis=-1) for _ in range(20)]
    )
    for quantile in (0.99, 0.9999):  # one functional, and 100 of them
        exact = np.quantile(apart, quantile)
        assert distances.null_level(law, 100, 100, quantile)[0] == pytest.approx(exact, rel=0.12)


def test_the_level_is_that_of_all_functionals_together(rng: np.random.Generator) -> None:
    def null(size: int) -> float:
        draws = {f"b{k}": rng.normal(size=(4, 200)) for k in range(size)}
        reference = run_of({name: rng.normal(size=(4, 200)) for name in draws}, "NUTS", "nuts")
        return distances.from_reference(case_of(draws, reference=reference), "b0").ks_null

    # kstwobign: 1.63 at 0.99, 1.95 at 0.999
    assert null(10) / null(1) == pytest.approx(stats.kstwobign.ppf(0.999) / stats.kstwobign.ppf(0.99), rel=0.15)


def test_a_trend_that_is_certain_and_too_small_to_matter_passes(rng: np.random.Generator) -> None:
    values = rng.normal(size=(8, 20_000)) + np.where(np.arange(20_000) < 10_000, 0.0, 0.05)
    finding = stationarity.trend(case_of({"v": values}))
    assert finding.details["p_value"] < 1e-3  # ty: ignore
    assert finding.status is Status.PASS
    assert "too little to matter" in finding.meaning


def test_joint_distances_of_one_law_are_debiased_and_find_another(rng: np.random.Generator) -> None:
    same = [joint.measure(*rng.normal(size=(2, 300, 3)), seed=k) for k in range(8)]
    for name in ("mmd", "energy"):
        assert np.median([gaps[name].value for gaps in same]) < 0.5 * np.median([gaps[name].null for gaps in same])
    other = joint.measure(rng.normal(size=(500, 3)) + 0.5, rng.normal(size=(500, 3)))
    for name in ("mmd", "energy", "sliced"):
        assert other[name].value > 1.5 * other[name].null
        assert other[name].p_value < 0.01


def test_the_stein_discrepancy_has_the_null_level_that_it_says(rng: np.random.Generator) -> None:
    law = Points(stats.norm.ppf((np.arange(4000) + 0.5) / 4000), np.inf)
    sums = stein.null_sums(law, stats.norm.logpdf)
    gaps = [stein.on_line(rng.normal(size=200), law, stats.norm.logpdf, sums, 0.9) for _ in range(200)]
    beyond = sum(gap.value > gap.null for gap in gaps)
    assert stats.binom.ppf(1e-3, 200, 0.1) <= beyond <= stats.binom.ppf(0.999, 200, 0.1)
    assert np.median([gap.value for gap in gaps]) < 0.5 * gaps[0].null  # debiased
    moved = stein.on_line(rng.normal(size=200) + 0.5, law, stats.norm.logpdf, sums, 0.99)
    assert moved.value > moved.null


@pytest.mark.parametrize("side", [-1, 1])
def test_a_tail_on_either_side_counts(rng: np.random.Generator, side: int) -> None:
    reference = rng.normal(size=(4, 3000))
    reference = np.where(rng.uniform(size=reference.shape) < 0.03, 5 * side, 0) + reference
    case = case_of({"v": rng.normal(size=(4, 3000))}, reference=run_of({"v": reference}, "NUTS", "nuts"))
    finding = use.tails(case)
    assert finding.status is Status.FAIL
    assert "lies 4" in finding.meaning or "lies 3." in finding.meaning


# --- the verdict ------------------------------------------------------------------------------------------------


def test_near_a_limit_the_sentence_is_soft(rng: np.random.Generator) -> None:
    soft = hard = 0
    for shift in np.linspace(0.05, 0.6, 12):
        sentence = judge({"v": rng.normal(size=(4, 150)) + shift}, {"v": rng.normal(size=(4, 150))}).verdict.sentence
        soft += "just beyond chance" in sentence and sentence.startswith("Probably not")
        hard += sentence.startswith("No: on v")
    assert hard >= 5
    assert soft <= 4
    clear = judge({"v": rng.normal(size=(4, 1000)) + 1}, {"v": rng.normal(size=(4, 1000))}).verdict
    assert clear.sentence.startswith("No: on v")


def test_reasons_are_said_once_and_advice_is_something_to_do(rng: np.random.Generator) -> None:
    result = judge({"b": rng.normal(size=(4, 500, 9)) + 0.5}, {"b": rng.normal(size=(4, 500, 9))})
    reasons = result.verdict.reasons
    assert len(set(reasons)) == len(reasons)
    assert not [reason for reason in reasons if "This is the worst of" in reason]
    of_first = [reason for reason in reasons if found(result)["distance.w1"].functional in reason.split(",")[0]]
    assert len([reason for reason in of_first if "W1" in reason or "KS" in reason or "W2" in reason]) == 1
    weights = [f.status.severity for reason in reasons for f in result.findings if f.meaning.startswith(reason)]
    assert weights == sorted(weights, reverse=True)
    assert not [change for change in result.verdict.changes if change.startswith(("Look", "Where", "Intervals", "If"))]

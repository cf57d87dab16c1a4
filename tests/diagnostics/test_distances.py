"""Distances on the line and their null levels: calibrated in both directions."""

import math

import numpy as np
import pytest
from check_cases import case_of, run_of
from scipy import stats
from scipy.signal import lfilter

from sgdvi._internal.check import InputError
from sgdvi.diagnostics import Status, Thresholds, distances
from sgdvi.diagnostics.declare import grade
from sgdvi.laws.line import Points

LIMITS = Thresholds()


def chains(rng: np.random.Generator, draws: int, rho: float = 0.0) -> np.ndarray:
    """Four stationary Gaussian AR(1) chains with unit variance."""
    noise = rng.normal(size=(4, draws)) * np.sqrt(1 - rho**2)
    noise[:, 0] = rng.normal(size=4)
    return lfilter([1.0], [1.0, -rho], noise, axis=1)


def statuses(draws: np.ndarray, reference: np.ndarray) -> list[Status]:
    case = case_of({"v": draws}, reference=run_of({"v": reference}, name="NUTS"))
    return [distances.w1(case).status, distances.ks(case).status]


@pytest.mark.parametrize(("draws", "rho", "seeds"), [(1000, 0.0, 10), (5000, 0.9, 5), (20_000, 0.97, 3)])
def test_same_law_passes_and_others_fail(draws: int, rho: float, seeds: int) -> None:
    same, wide, shifted = [], [], []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        reference, sample = chains(rng, 1000, 0.3), chains(rng, draws, rho)
        same += statuses(sample, reference)
        wide.append(statuses(1.25 * sample, reference)[0])
        shifted += statuses(sample + 0.3, reference)
    assert same.count(Status.PASS) >= 2 * seeds - 1
    assert wide == [Status.FAIL] * seeds
    assert shifted == [Status.FAIL] * 2 * seeds


def test_against_a_known_law() -> None:
    levels = (np.arange(4000) + 0.5) / 4000
    law = Points(stats.norm.ppf(levels), np.inf)
    rng = np.random.default_rng(0)
    good, bad = (
        distances.measure(Points.from_draws(scale * rng.normal(size=(4, 1000)), 4000), law) for scale in (1.0, 1.25)
    )
    assert good.w1 < 0.05
    assert bad.widening == pytest.approx(1.25, rel=0.05)


def test_too_few_draws_are_unknown_and_not_a_pass() -> None:
    rng = np.random.default_rng(3)
    assert statuses(*rng.normal(size=(2, 1, 30))) == [Status.UNKNOWN] * 2


def test_distances_agree_with_closed_forms() -> None:
    levels = (np.arange(4000) + 0.5) / 4000
    a, b = Points(stats.norm.ppf(levels), np.inf), Points(2 + stats.norm.ppf(levels), np.inf)
    distance = distances.measure(a, b)
    assert distance.w1 * distance.unit == pytest.approx(2.0)
    assert distance.ks == pytest.approx(2 * stats.norm.cdf(1) - 1, abs=1e-3)
    assert (distance.w1_null, distance.ks_null) == (0.0, 0.0)
    assert distance.shift == pytest.approx(-2.0, rel=0.01)


def test_null_level_is_the_quantile_that_it_says() -> None:
    rng = np.random.default_rng(5)
    reference = Points.from_draws(rng.normal(size=(1, 20_000)), 20_000)
    w1_null, ks_null = distances.null_level(reference, 400, 800)
    a, b = np.sort(rng.normal(size=(300, 400))), np.sort(rng.normal(size=(300, 800)))
    w1 = np.array([stats.wasserstein_distance(x, y) for x, y in zip(a, b, strict=True)])
    ks = np.array([distances.kolmogorov(x, y) for x, y in zip(a, b, strict=True)])
    assert (w1 > w1_null).mean() < 0.04
    assert (ks > ks_null).mean() < 0.04
    assert w1_null < 1.3 * np.quantile(w1, 0.99)
    assert ks_null < 1.3 * np.quantile(ks, 0.99)


@pytest.mark.parametrize(("law", "factor"), [("normal", 1.25), ("heavy", 1.5)])
def test_the_level_of_the_second_order_holds_with_heavy_tails(law: str, factor: float) -> None:
    beyond, wide, seeds = 0, 0, 30
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        draws = rng.normal(size=(2, 1, 4000)) if law == "normal" else rng.standard_t(5, size=(2, 1, 4000))
        run, reference = (Points.from_draws(each, 4000) for each in draws)
        value, null = distances.second_order(run, reference, 0.99)
        beyond += value > null
        value, null = distances.second_order(Points.from_draws(factor * draws[0], 4000), reference, 0.99)
        wide += value > null
    assert beyond <= 3  # binomial(30, 0.01) is at most 3 with probability 0.9998
    assert wide >= 0.95 * seeds


def test_ties_and_different_sizes() -> None:
    a, b = np.array([0.0, 0.0, 0.0, 1.0]), np.array([0.0, 1.0])
    assert distances.kolmogorov(a, b) == pytest.approx(0.25)


def test_nan_is_refused_and_never_passes() -> None:
    with pytest.raises(InputError, match="finite"):
        Points.from_draws(np.array([[0.0, np.nan]]), 2)
    assert grade(np.nan, 0.1, 0.05, 0.1, 0.2) is Status.UNKNOWN
    assert grade(0.01, np.nan, 0.05, 0.1, 0.2) is Status.UNKNOWN


@pytest.mark.parametrize(
    ("w1", "ks", "null", "status"),
    [(0.0, 0.0, 0.0, Status.PASS), (0.0, 0.3, 0.0, Status.FAIL), (2.0, 0.0, 0.0, Status.FAIL)]
    + [(0.04, 0.02, 0.05, Status.PASS), (math.nan, math.nan, 0.0, Status.UNKNOWN)],
)
def test_both_distances_count(w1: float, ks: float, null: float, status: Status) -> None:
    assert distances.grade_both(w1, ks, null, null, LIMITS) is status

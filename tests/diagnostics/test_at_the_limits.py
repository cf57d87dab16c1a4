"""Statuses just within a limit and just beyond it, from plain numbers."""

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from check_cases import case_of, facts_of
from scipy import stats

from sgdvi import compare
from sgdvi.diagnostics import Status, Thresholds, charges, joint, laws, modes, predictive, tail
from sgdvi.laws.line import Points

LIMITS = Thresholds()
NORMAL = stats.norm.ppf((np.arange(4000) + 0.5) / 4000)


@pytest.mark.parametrize(
    ("z", "momentum", "status"),
    [(4.9, False, Status.PASS), (5.1, False, Status.FAIL), (-5.1, True, Status.WARN), (np.nan, False, Status.UNKNOWN)],
)
def test_the_drift_of_charges(z: float, momentum: bool, status: Status) -> None:
    assert charges.drift.on("SGD", ["one", "two"], np.array([np.nan, z]), LIMITS, momentum=momentum).status is status


@pytest.mark.parametrize(("apart", "status"), [(0.09, Status.PASS), (0.11, Status.WARN), (np.nan, Status.UNKNOWN)])
def test_the_balance_of_noise(apart: float, status: Status) -> None:
    finding = charges.noise.on("SGD", ["one"], np.array([[1 - apart], [1 + apart]]), LIMITS, of="SGD", note="Unknown.")
    assert finding.status is status


@pytest.mark.parametrize(("hidden", "status"), [(0, Status.PASS), (1, Status.WARN)])
def test_directions_without_noise(hidden: int, status: Status) -> None:
    assert charges.directions.on("SGD", hidden, 3).status is status


@pytest.mark.parametrize("kind", ["sgd", "nuts"])
def test_the_gap_to_the_exact_law_is_that_of_the_run(kind: str) -> None:
    draws = np.random.default_rng(0).normal(size=(4, 1000))
    own, other = Points(NORMAL, math.inf), Points(NORMAL + 3, math.inf)
    sgd, nuts = (own, other) if kind == "sgd" else (other, own)
    facts = facts_of(functional="v", stationary_points=sgd, posterior_points=nuts, collapsed=False, discrete_law=None)

    def status(shift: float, draws: np.ndarray = draws) -> Status:
        return laws.gap(case_of({"v": draws + shift}, facts, kind=kind)).status

    # by chance up to KS = 0.026; shifts of 0.1 and 0.2 sd are 0.04 and 0.08 away, limits are 0.03 and 0.05
    assert [status(shift) for shift in (0.0, 0.1, 0.2)] == [Status.PASS, Status.WARN, Status.FAIL]
    assert status(0.1, draws[:, :100]) is Status.PASS  # of a tenth of the draws chance makes as much


@pytest.mark.parametrize(
    ("reference", "run", "effective", "status"),
    [
        (0.02, 0.0, 1000, Status.FAIL),
        (0.02, 0.0, 100, Status.UNKNOWN),  # two draws of it were to be expected
        (0.02, 0.005, 1000, Status.PASS),  # too few, and met
        (0.005, 0.0, 2000, Status.WARN),
    ],
)
def test_a_mode_that_is_missed(reference: float, run: float, effective: float, status: Status) -> None:
    masses = [np.array([1 - share, share]) for share in (reference, run)]
    coverage = modes.Coverage(("below 0", "above 0"), *masses, expected=effective * masses[0])
    assert modes.met("SGD", coverage, "NUTS", LIMITS, "mode", "").status is status


@pytest.mark.parametrize("law", [stats.t(2), stats.gamma(0.5)])
def test_a_long_tail_has_no_modes_of_its_own(law: Any) -> None:
    for seed in range(10):
        draws = law.rvs(size=(1, 200), random_state=seed)
        assert not modes.valleys(Points.from_draws(draws, 200)).size


def test_what_all_runs_hold_at_one_value_has_no_tail() -> None:
    case = case_of({"v": np.full((4, 500), 2.0)}, still=frozenset({"v"}))
    assert tail.index(case).status is Status.NOT_APPLICABLE


def test_what_is_beyond_the_level_of_permutations_has_that_p_value() -> None:
    for labels in (400, 1000):
        values = np.arange(labels - 1.0)
        beyond = values[values > joint._level(values, 0.99)]
        assert len(beyond) + 1 == 0.01 * labels


@pytest.mark.parametrize(("error", "status"), [(0.019, Status.PASS), (0.021, Status.WARN)])
def test_the_calibration_of_predictions(error: float, status: Status) -> None:
    numbers = {"calibration_error": error, "calibration_null": 0.02, "calibration_bias": 0.1, "coverage": 0.9}
    case = replace(case_of({"v": np.zeros((2, 9))}), predictions=SimpleNamespace(numbers=numbers))
    assert predictive.calibrated(case).status is status


def test_chains_that_disagree_are_a_no_without_a_reference() -> None:
    apart = np.random.default_rng(0).normal(size=(4, 500)) + np.arange(4)[:, None]
    verdict = compare({"SGD": {"v": apart}}, reference=None).verdict
    assert verdict.status is Status.FAIL
    assert verdict.sentence.startswith("No: ")

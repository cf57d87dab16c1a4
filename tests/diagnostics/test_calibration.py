"""Simulation-based calibration: false alarms at the level, power against a wrong spread and place, bad input."""

import numpy as np
import pytest
from scipy import stats

import sgdvi
from sgdvi.diagnostics.calibration import sbc

DRAWS, SIMULATIONS = 99, 200


def ranks(seed: int, scale: float = 1.0, shift: float = 0.0, size: int = SIMULATIONS) -> np.ndarray:
    generator = np.random.default_rng(seed)
    # theta ~ N(0, 1), y ~ N(theta, 1): the posterior is N(y/2, 1/2)
    theta = generator.normal(size=size)
    y = theta + generator.normal(size=size)
    spread = np.sqrt(0.5)
    draws = y[:, None] / 2 + spread * (scale * generator.normal(size=(size, DRAWS)) + shift)
    return (draws < theta[:, None]).sum(axis=1)


def alarms(seeds: range, **change: float) -> int:
    return sum(sbc("run", "theta", ranks(seed, **change), DRAWS).status is sgdvi.Status.FAIL for seed in seeds)


def test_false_alarms_are_at_the_level() -> None:
    assert alarms(range(200)) <= stats.binom.ppf(0.999, 200, 0.01)


def test_one_draw_per_simulation_is_calibrated_too() -> None:
    generator = np.random.default_rng(5)
    found = [sbc("run", "theta", generator.integers(0, 2, 200), 1).status for _ in range(200)]
    assert found.count(sgdvi.Status.FAIL) <= stats.binom.ppf(0.999, 200, 0.01)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scale": 1.5}, "too wide"),
        ({"scale": 0.65}, "too narrow"),
        ({"shift": 0.4}, "too large"),
        ({"shift": -0.4}, "too small"),
    ],
)
def test_wrong_draws_fail_with_the_right_words(change: dict[str, float], words: str) -> None:
    finding = sbc("run", "theta", ranks(1, **change), DRAWS)
    assert finding.status is sgdvi.Status.FAIL
    assert words in finding.meaning
    assert finding.advice


@pytest.mark.parametrize(("change", "least"), [({"scale": 1.25}, 0.6), ({"shift": 0.3}, 0.8)])
def test_power(change: dict[str, float], least: float) -> None:
    power = alarms(range(200), **change) / 200
    assert power > least


def test_p_value_of_one_draw_is_that_of_the_binomial_share() -> None:
    z = (70 - 100) / np.sqrt(50)
    finding = sbc("run", "theta", np.repeat([0, 1], [130, 70]), 1)
    assert finding.value == pytest.approx(2 * stats.norm.sf(abs(z)), rel=1e-12)


def test_mean_and_variance_of_the_ranks_give_location_and_spread() -> None:
    sample = ranks(3)
    finding = sbc("run", "theta", sample, DRAWS)
    center = (sample - DRAWS / 2) / np.sqrt(((DRAWS + 1) ** 2 - 1) / 12)
    grid = (np.arange(DRAWS + 1) - DRAWS / 2) / np.sqrt(((DRAWS + 1) ** 2 - 1) / 12)
    root = np.sqrt(SIMULATIONS)
    assert finding.details["location"] == pytest.approx(root * center.mean())
    assert finding.details["spread"] == pytest.approx(root * (center**2 - 1).mean() / (grid**2 - 1).std())


def test_few_simulations_are_unknown() -> None:
    finding = sbc("run", "theta", np.zeros(49), DRAWS)
    assert finding.status is sgdvi.Status.UNKNOWN
    assert finding.value is None


@pytest.mark.parametrize("bad", [[0.5] * 60, [-1] * 60, [100] * 60, [np.nan] * 60, np.zeros((60, 2))])
def test_bad_ranks_are_refused(bad: object) -> None:
    with pytest.raises(sgdvi.InputError, match="ranks must be"):
        sbc("run", "theta", bad, DRAWS)

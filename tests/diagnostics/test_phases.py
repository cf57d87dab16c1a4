"""Temperature and collapse: judged by the trend of log|v| and the exact threshold, never by the size of v."""

import math

import numpy as np
import pytest
from check_cases import case_of, facts_of

from sgdvi.diagnostics import Finding, Outcome, Status, Thresholds, phases
from sgdvi.diagnostics.facts import Facts, Known
from sgdvi.problem.network import LinearNetwork

LIMITS = Thresholds()


def heat(
    temperature: float,
    critical: float,
    phase: str = "",
    lowest: float = math.nan,
    highest: float = math.nan,
    growth: float = math.nan,
    *further: tuple[float, float],
) -> Facts:
    """Facts of a run at this temperature, with what the exact threshold of its steps says."""
    network = LinearNetwork(np.arange(1.0, 4.0), np.arange(1.0, 4.0))
    known = Known(network, temperature, 1)
    return facts_of(
        known=known,
        temperature=temperature,
        critical=critical,
        phase=phase,
        thresholds=() if math.isnan(lowest) else ((lowest, highest), *further),
        growth=growth,
    )


def temperature(facts: Facts) -> Finding:
    return phases.temperature(case_of({"v": np.ones((4, 9))}, facts))


def collapse(logs: np.ndarray, facts: Facts | None = None, thinning: int = 1) -> Outcome:
    return phases.fallen(phases.measure_fall(logs, thinning), len(logs), facts or Facts(), LIMITS)


ABOVE = heat(1.2, 1.0, "Ia", 0.95, 2.0, -0.01)
BELOW = heat(0.5, 1.0, "IIa", 0.95, 2.0, 0.01)


def walk(rng: np.random.Generator, drift: float, pull: float = 0.0, steps: int = 3000, chains: int = 8) -> np.ndarray:
    """log|v| as a random walk with drift, pulled back to 0 with strength `pull`."""
    logs = np.zeros((chains, steps))
    for step in range(1, steps):
        before = logs[:, step - 1]
        logs[:, step] = before + drift - pull * before + 0.1 * rng.normal(size=chains)
    return logs


@pytest.mark.parametrize(
    ("setting", "status"),
    [
        (heat(0.2, 1.0, "IIIb", 0.95, 2.0, 0.1), Status.PASS),
        (BELOW, Status.WARN),
        (ABOVE, Status.FAIL),
        (heat(0.97, 1.0, "IIa", 0.95, 2.0, -0.001), Status.FAIL),
        (heat(0.2, math.inf), Status.NOT_APPLICABLE),
        (heat(0.2, 0.0, "Ia"), Status.FAIL),
    ],
)
def test_temperature(setting: Facts, status: Status) -> None:
    assert temperature(setting).status is status


def test_both_thresholds_are_shown() -> None:
    found = temperature(ABOVE)
    assert "0.95" in found.meaning
    assert "Tc = 1" in found.meaning
    assert "collapses at learning rates between 0.95 and 2; this one" in found.meaning
    union = temperature(heat(1.2, 1.0, "Ia", 0.5, 0.7, -0.01, (0.9, 1.1), (2.3, 2.4)))
    assert "between 0.5 and 0.7, and in 2 further intervals up to 2.4; this one" in union.meaning
    assert union.details["discrete_threshold_intervals"] == 3
    never = temperature(heat(1.2, 1.0, "Ia", math.nan, math.nan, 0.2))
    assert "collapses at no learning rate" in never.meaning


def test_collapse_needs_a_fall_and_the_threshold() -> None:
    rng = np.random.default_rng(0)
    falling, resting = walk(rng, -0.02), walk(rng, -0.02, pull=0.05)
    assert collapse(falling, ABOVE).status is Status.FAIL
    assert collapse(falling, BELOW).status is Status.WARN
    assert collapse(falling).status is Status.WARN
    assert collapse(resting, BELOW).status is Status.PASS
    assert collapse(resting, ABOVE).status is Status.WARN


def test_the_size_of_v_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    tiny = walk(rng, 0.0, pull=0.05) - 300
    assert collapse(tiny, BELOW).status is Status.PASS
    found = collapse(walk(rng, -0.02) + 300, ABOVE, thinning=10)
    assert found.status is Status.FAIL
    assert found.details["slope_per_step"] == pytest.approx(-0.002, rel=0.3)


def test_a_fall_that_chains_do_not_share_is_no_collapse() -> None:
    falls = np.array([60.0, -40.0, 50.0, -30.0])[:, None] * np.linspace(0, 1, 500)
    found = collapse(-falls)
    assert found.value == pytest.approx(10)  # far beyond the limit, within its error between chains
    assert found.details["falling"] is False
    assert collapse(-np.abs(falls)).details["falling"] is True


def test_walks_without_drift_rarely_look_like_collapse() -> None:
    alarms = 0
    for seed in range(40):
        logs = np.cumsum(0.1 * np.random.default_rng(seed).normal(size=(8, 2000)), axis=1)
        alarms += bool(collapse(logs).details["falling"])
    assert alarms <= 2


def test_exact_zeros_and_underflow() -> None:
    u = np.full((4, 50), 1e-200)
    np.testing.assert_allclose(phases.log_magnitude(u * u, [u, u]), 2 * np.log(1e-200))
    units = np.full((4, 50, 3), 1e-200)
    np.testing.assert_allclose(phases.log_magnitude(u, [units, units]), 2 * np.log(1e-200) + np.log(3))
    zeros = np.full((4, 50), -np.inf)
    found = collapse(zeros, ABOVE)
    assert found.status is Status.FAIL
    assert found.details["chains_at_zero"] == 4

"""Finite, moving, overflowed, mixed: each check in both directions."""

import numpy as np
import pytest

from sgdvi.diagnostics import Status, Thresholds, finite, mixing

LIMITS = Thresholds()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def test_good_draws_pass_everything(rng: np.random.Generator) -> None:
    draws = rng.normal(size=(4, 500))
    found = [
        finite.finite_draws("run", {"u": draws}),
        finite.distinct_draws("run", {"u": draws}, LIMITS),
        finite.overflowed_chains("run", [False] * 4, [-1] * 4, LIMITS),
        mixing.rhat("run", "u", mixing.measure(draws), LIMITS),
        mixing.ess("run", "u", mixing.measure(draws), LIMITS),
    ]
    assert [finding.status for finding in found] == [Status.PASS] * 5


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_bad_draw_fails(rng: np.random.Generator, bad: float) -> None:
    draws = rng.normal(size=(4, 500))
    draws[2, 7] = bad
    assert finite.finite_draws("run", {"u": draws}).status is Status.FAIL
    measured = mixing.measure(draws)
    assert mixing.rhat("run", "u", measured, LIMITS).status is Status.FAIL
    assert mixing.ess("run", "u", measured, LIMITS).status is Status.FAIL
    np.testing.assert_array_equal(finite.finite_chains(draws), [True, True, False, True])


def test_point_mass_fails_although_rhat_and_ess_see_nothing() -> None:
    draws = np.zeros((4, 500))
    found = finite.distinct_draws("run", {"u": draws}, LIMITS)
    assert found.status is Status.FAIL
    assert "point mass" in found.meaning
    measured = mixing.measure(draws)
    assert np.isnan(measured.rhat)
    assert np.isnan(measured.ess)
    assert mixing.rhat("run", "u", measured, LIMITS).status is Status.FAIL
    assert mixing.ess("run", "u", measured, LIMITS).status is Status.FAIL


def test_one_stuck_chain_fails(rng: np.random.Generator) -> None:
    draws = rng.normal(size=(4, 500))
    draws[3] = 0.1
    assert finite.distinct_draws("run", {"u": draws}, LIMITS).status is Status.FAIL
    assert mixing.rhat("run", "u", mixing.measure(draws), LIMITS).status is Status.FAIL


def test_float32_rounding_of_a_large_mean_fails(rng: np.random.Generator) -> None:
    draws = rng.normal(size=(4, 1000))
    good = finite.distinct_draws("run", {"u": draws.astype(np.float32)}, LIMITS)
    rounded = (1e4 + 1e-3 * draws).astype(np.float32).astype(np.float64)
    bad = finite.distinct_draws("run", {"u": rounded}, LIMITS)
    assert (good.status, bad.status) == (Status.PASS, Status.FAIL)
    assert "float32" in bad.advice
    assert mixing.rhat("run", "u", mixing.measure(rounded), LIMITS).status is Status.PASS  # why the check is needed


def test_repeated_draws_of_a_metropolis_chain_pass(rng: np.random.Generator) -> None:
    draws = np.repeat(rng.normal(size=(4, 250)), 4, axis=1)
    assert finite.distinct_draws("run", {"u": draws}, LIMITS).status is Status.PASS


@pytest.mark.parametrize(("lost", "status"), [(0, Status.PASS), (1, Status.WARN), (10, Status.FAIL)])
def test_overflows_are_counted(lost: int, status: Status) -> None:
    overflowed = [True] * lost + [False] * (100 - lost)
    steps = [300 + k for k in range(lost)] + [-1] * (100 - lost)
    found = finite.overflowed_chains("run", overflowed, steps, LIMITS)
    assert found.status is status
    assert found.value == lost / 100
    assert found.details["first_step"] == (300 if lost else None)


def test_a_single_chain_does_not_pass_rhat(rng: np.random.Generator) -> None:
    measured = mixing.measure(rng.normal(size=(1, 1000)))
    assert mixing.rhat("run", "u", measured, LIMITS).status is Status.UNKNOWN
    assert mixing.ess("run", "u", measured, LIMITS).status is Status.PASS


def test_independent_draws_need_no_rhat(rng: np.random.Generator) -> None:
    measured = mixing.measure(rng.normal(size=(1, 1000)), independent=True)
    assert measured.ess == 1000
    assert mixing.rhat("run", "u", measured, LIMITS).status is Status.NOT_APPLICABLE


def test_chains_that_disagree_fail(rng: np.random.Generator) -> None:
    draws = rng.normal(size=(4, 500)) + np.array([0.0, 0.0, 3.0, 3.0])[:, None]
    found = mixing.rhat("run", "u", mixing.measure(draws), LIMITS)
    assert found.status is Status.FAIL
    assert found.value is not None
    assert found.value > 1.3


def test_few_effective_draws_are_seen(rng: np.random.Generator) -> None:
    walk = np.cumsum(rng.normal(size=(4, 500)), axis=1)
    assert mixing.ess("run", "u", mixing.measure(walk), LIMITS).status is Status.FAIL
    assert mixing.ess("run", "u", mixing.measure(rng.normal(size=(4, 50))), LIMITS).status is Status.WARN
    assert mixing.ess("run", "u", mixing.measure(rng.normal(size=(4, 5))), LIMITS).status is Status.UNKNOWN

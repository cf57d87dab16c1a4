"""Finite, moving, overflowed, mixed: each check in both directions."""

import numpy as np
import pytest
from check_cases import case_of, run_of

from sgdvi.diagnostics import Case, Status, finite, mixing
from sgdvi.diagnostics.measures import finite_chains, mixing_of


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def test_good_draws_pass_everything(rng: np.random.Generator) -> None:
    draws = rng.normal(size=(4, 500))
    found = [
        check(case_of({"u": draws}, overflowed=np.zeros(4, bool), steps=np.full(4, -1)))
        for check in (finite.finite, finite.distinct, finite.overflow, mixing.rhat, mixing.ess)
    ]
    assert [finding.status for finding in found] == [Status.PASS] * 5


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_bad_draw_fails(rng: np.random.Generator, bad: float) -> None:
    draws = rng.normal(size=(4, 500))
    draws[2, 7] = bad
    case = case_of({"u": draws})
    assert finite.finite(case).status is Status.FAIL
    assert mixing.rhat(case).status is Status.WARN
    assert "From 3 of 4 chains" in mixing.ess(case).meaning
    np.testing.assert_array_equal(finite_chains(draws), [True, True, False, True])
    draws[:, 7] = bad
    assert {check(case_of({"u": draws})).status for check in (mixing.rhat, mixing.ess)} == {Status.FAIL}


def test_point_mass_fails_although_rhat_and_ess_see_nothing() -> None:
    draws = np.zeros((4, 500))
    case = case_of({"u": draws})
    assert finite.distinct(case).status is Status.FAIL
    assert "point mass" in finite.distinct(case).meaning
    assert np.isnan(mixing_of(draws).rhat)
    assert np.isnan(mixing_of(draws).ess)
    assert mixing.rhat(case).status is mixing.ess(case).status is Status.FAIL


def test_one_stuck_chain_fails(rng: np.random.Generator) -> None:
    draws = rng.normal(size=(4, 500))
    draws[3] = 0.1
    assert finite.distinct(case_of({"u": draws})).status is Status.FAIL
    assert mixing.rhat(case_of({"u": draws})).status is Status.FAIL


def test_float32_rounding_of_a_large_mean_fails(rng: np.random.Generator) -> None:
    draws = rng.normal(size=(4, 1000))
    good = finite.distinct(case_of({"u": draws.astype(np.float32)}))
    rounded = (1e4 + 1e-3 * draws).astype(np.float32).astype(np.float64)
    bad = finite.distinct(case_of({"u": rounded}))
    assert (good.status, bad.status) == (Status.PASS, Status.FAIL)
    assert "float32" in bad.advice
    assert mixing.rhat(case_of({"u": rounded})).status is Status.PASS  # why the check is needed


def test_repeated_draws_of_a_metropolis_chain_pass(rng: np.random.Generator) -> None:
    draws = np.repeat(rng.normal(size=(4, 250)), 4, axis=1)
    assert finite.distinct(case_of({"u": draws})).status is Status.PASS


@pytest.mark.parametrize(("lost", "status"), [(0, Status.PASS), (1, Status.WARN), (10, Status.FAIL)])
def test_overflows_are_counted(lost: int, status: Status) -> None:
    overflowed = [True] * lost + [False] * (100 - lost)
    steps = [300 + k for k in range(lost)] + [-1] * (100 - lost)
    run = run_of({"u": np.zeros((100, 3))}, overflowed=np.array(overflowed), steps=np.array(steps))
    found = finite.overflow(Case(run))
    assert found.status is status
    assert found.value == lost / 100
    assert found.details["first_step"] == (300 if lost else None)


def test_a_single_chain_does_not_pass_rhat(rng: np.random.Generator) -> None:
    case = case_of({"u": rng.normal(size=(1, 1000))})
    assert mixing.rhat(case).status is Status.UNKNOWN
    assert mixing.ess(case).status is Status.PASS


def test_independent_draws_need_no_rhat(rng: np.random.Generator) -> None:
    case = case_of({"u": rng.normal(size=(1, 1000))}, independent=True)
    assert case.draws.mixing["u"].ess == 1000
    assert mixing.rhat(case).status is Status.NOT_APPLICABLE


def test_chains_that_disagree_fail(rng: np.random.Generator) -> None:
    draws = rng.normal(size=(4, 500)) + np.array([0.0, 0.0, 3.0, 3.0])[:, None]
    found = mixing.rhat(case_of({"u": draws}))
    assert found.status is Status.FAIL
    assert found.value is not None
    assert found.value > 1.3


def test_few_effective_draws_are_seen(rng: np.random.Generator) -> None:
    walk = np.cumsum(rng.normal(size=(4, 500)), axis=1)
    assert mixing.ess(case_of({"u": walk})).status is Status.FAIL
    assert mixing.ess(case_of({"u": rng.normal(size=(4, 50))})).status is Status.WARN
    assert mixing.ess(case_of({"u": rng.normal(size=(4, 5))})).status is Status.UNKNOWN

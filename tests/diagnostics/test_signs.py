"""Signs of the factors, and posterior mass at a sign that is never covered."""

import numpy as np
import pytest
from check_cases import case_of, facts_of, run_of

from sgdvi.diagnostics import Case, Finding, Status, signs
from sgdvi.diagnostics.run import Run


def factor_signs(u: np.ndarray, w: np.ndarray) -> Finding:
    return signs.factors(case_of({"u": u, "w": w}, facts_of(factors=("u", "w"))))


def test_factor_signs() -> None:
    rng = np.random.default_rng(0)
    size = np.abs(rng.normal(size=(4, 300)))
    per_chain = np.array([1, 1, -1, -1])[:, None]
    locked = factor_signs(size * per_chain, size * per_chain)
    one_side = factor_signs(size, size)
    free = rng.choice([-1, 1], size.shape)
    mixing = factor_signs(size * free, size * free)
    assert [f.status for f in (locked, one_side, mixing)] == [Status.WARN, Status.FAIL, Status.PASS]
    assert locked.details["locked"] == 4
    assert "half of the posterior" in one_side.meaning


def test_factor_signs_with_units() -> None:
    rng = np.random.default_rng(0)
    u = np.abs(rng.normal(size=(4, 300, 2))) * np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])[:, None]
    assert factor_signs(u, u).status is Status.WARN
    assert factor_signs(np.abs(u), np.abs(u)).status is Status.FAIL


@pytest.mark.parametrize(("mass", "status"), [(1e-9, Status.PASS), (5e-3, Status.WARN), (0.07, Status.FAIL)])
@pytest.mark.parametrize("side", [1, -1])
def test_missing_mass(mass: float, status: Status, side: int) -> None:
    draws = side * np.abs(np.random.default_rng(0).normal(size=(4, 300)))
    facts = facts_of(functional="v", side=side, posterior_negative=mass if side > 0 else 1 - mass)
    found = signs.functional(case_of({"v": draws}, facts))
    assert found.status is status
    assert found.value == pytest.approx(mass)
    assert ("too little to matter" in found.meaning) == (status is Status.PASS)


def below(share: float, name: str) -> Run:
    """A run of 1000 independent draws, this share of them below 0."""
    draws = np.random.default_rng(0).permutation(np.where(np.arange(1000) < 1000 * share, -1.0, 1.0))
    return run_of({"v": (draws * np.linspace(1, 2, 1000))[None]}, name=name, kind="vi", independent=True)


def test_without_a_law_the_draws_decide() -> None:
    cases = [(0.06, 0.07), (0.0, 0.07), (0.0, 0.002)]
    found = [signs.functional(Case(below(run, "VI"), reference=below(other, "NUTS"))) for run, other in cases]
    assert [f.status for f in found] == [Status.PASS, Status.FAIL, Status.PASS]
    lost = case_of({"v": np.full((4, 100), np.nan)}, reference=below(0.1, "NUTS"))
    assert signs.functional(lost).status is Status.UNKNOWN

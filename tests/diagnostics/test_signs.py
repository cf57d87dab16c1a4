"""Signs of the factors, and posterior mass at a sign that is never covered."""

import numpy as np
import pytest

from sgdvi.diagnostics import Status, Thresholds, signs

LIMITS = Thresholds()


def test_factor_signs() -> None:
    rng = np.random.default_rng(0)
    size = np.abs(rng.normal(size=(4, 300)))
    per_chain = np.array([1, 1, -1, -1])[:, None]
    names = ("u", "w")
    locked = signs.factor_signs("SGD", [size * per_chain, size * per_chain], names)
    one_side = signs.factor_signs("SGD", [size, size], names)
    free = rng.choice([-1, 1], size.shape)
    mixing = signs.factor_signs("NUTS", [size * free, size * free], names)
    assert [f.status for f in (locked, one_side, mixing)] == [Status.WARN, Status.FAIL, Status.PASS]
    assert locked.details["locked"] == 4
    assert "half of the posterior" in one_side.meaning


def test_factor_signs_with_units() -> None:
    rng = np.random.default_rng(0)
    u = np.abs(rng.normal(size=(4, 300, 2))) * np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])[:, None]
    assert signs.factor_signs("SGD", [u, u], ("u", "w")).status is Status.WARN
    assert signs.factor_signs("SGD", [np.abs(u), np.abs(u)], ("u", "w")).status is Status.FAIL


@pytest.mark.parametrize(("mass", "status"), [(1e-9, Status.PASS), (5e-3, Status.WARN), (0.07, Status.FAIL)])
@pytest.mark.parametrize("side", [1, -1])
def test_missing_mass(mass: float, status: Status, side: int) -> None:
    negative = mass if side > 0 else 1 - mass
    found = signs.missing_sign("SGD", "v", float(side < 0), negative, "the posterior", LIMITS, side)
    assert found.status is status
    assert found.value == pytest.approx(mass)
    assert ("too little to matter" in found.meaning) == (status is Status.PASS)


def test_without_a_law_the_draws_decide() -> None:
    both = signs.missing_sign("VI", "v", 0.06, 0.07, "NUTS", LIMITS)
    missed = signs.missing_sign("VI", "v", 0.0, 0.07, "NUTS", LIMITS, effective=1000)
    rare = signs.missing_sign("VI", "v", 0.0, 0.002, "NUTS", LIMITS, effective=1000)
    assert [f.status for f in (both, missed, rare)] == [Status.PASS, Status.FAIL, Status.PASS]
    assert signs.missing_sign("VI", "v", np.nan, 0.1, "NUTS", LIMITS).status is Status.UNKNOWN

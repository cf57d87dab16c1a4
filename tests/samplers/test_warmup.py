"""The suggested warmup follows the balance time and the fit time."""

import pytest

import sgdvi
from sgdvi.samplers.warmup import BALANCE_TIMES, FIT_TIMES, balance_rate, fit_rate, suggest_warmup

MOMENTS = sgdvi.Moments.linear(0.1, 1.0)  # alpha = (2, 0.2, 1.02), beta = (1, 0.1), Delta = 2


def test_rates_of_the_theory() -> None:
    assert balance_rate(MOMENTS, 0.02) == pytest.approx(4 * 0.02)
    assert balance_rate(MOMENTS, 0.02, 0.001) == pytest.approx(4 * 0.021)
    assert balance_rate(sgdvi.Moments(0.0, 0.0, 3.0, 1.0, 0.5), 0.02) == pytest.approx(4 * 0.02 * 3)
    assert fit_rate(MOMENTS, 0.02, depth=0, width=3, weight_decay=0.1) == pytest.approx(6.2)
    assert fit_rate(MOMENTS, 0.02) == pytest.approx(2 * (0.1 - 0.0204))
    assert fit_rate(MOMENTS, 1.0) == pytest.approx(2 * 0.92)
    assert fit_rate(MOMENTS, 0.1 / 1.02) == pytest.approx(0.02)
    assert fit_rate(MOMENTS, 0.02, depth=2) == pytest.approx(6 * 0.1 ** (4 / 3))


def test_steps() -> None:
    steps = suggest_warmup(MOMENTS, learning_rate=0.02, temperature=0.02)
    assert steps == pytest.approx((BALANCE_TIMES / 0.08 + FIT_TIMES / 0.1592) / 0.02, abs=2)
    assert suggest_warmup(MOMENTS, learning_rate=0.01, temperature=0.02) == pytest.approx(2 * steps, abs=2)
    assert suggest_warmup(MOMENTS, learning_rate=0.02, temperature=0.02, depth=0) == pytest.approx(250, abs=1)


def test_what_takes_for_ever_is_left_out() -> None:
    interpolated = sgdvi.Moments(2.0, 4.0, 8.0, 1.0, 2.0)
    assert suggest_warmup(interpolated, learning_rate=0.01, temperature=0.01) == pytest.approx(10 / 3.84 / 0.01, abs=1)


@pytest.mark.parametrize(
    "change", [{"learning_rate": 0.0}, {"temperature": float("nan")}, {"weight_decay": -1.0}, {"depth": -1}]
)
def test_bad_numbers(change: dict[str, float]) -> None:
    with pytest.raises(sgdvi.InputError):
        suggest_warmup(MOMENTS, **({"learning_rate": 0.1, "temperature": 0.1} | change))

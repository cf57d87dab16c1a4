"""Thresholds, words, and findings that cannot pass with NaN."""

import math

import pytest

from sgdvi._internal.check import InputError
from sgdvi._internal.text import count, number, percent
from sgdvi.diagnostics import Finding, Status, Thresholds
from sgdvi.diagnostics.declare import worst


def test_thresholds_can_be_changed_one_by_one() -> None:
    assert Thresholds.make({"rhat_warn": 1.05}).rhat_warn == 1.05
    assert Thresholds.make(None) == Thresholds.make(Thresholds()) == Thresholds()
    for bad in ({"rhat": 1.0}, {"rhat_warn": math.nan}, {"rhat_warn": -1.0}, 3):
        with pytest.raises(InputError):
            Thresholds.make(bad)  # type: ignore[arg-type]


def test_words() -> None:
    assert [number(x) for x in (0.12345, 1234.5, 1e-5, math.inf, math.nan, 0.0)] == [
        "0.123",
        "1,234",
        "1.00e-05",
        "infinity",
        "not a number",
        "0",
    ]
    assert [percent(x) for x in (0.0, 1e-9, 0.0231, 0.5, 1.0)] == [
        "0 %",
        "less than 0.0001 %",
        "2.3 %",
        "50 %",
        "100 %",
    ]
    assert [count(1, "chain"), count(4, "chain")] == ["1 chain", "4 chains"]


def test_nan_never_passes_and_the_worst_functional_is_named() -> None:
    def finding(name: str, value: float, status: Status) -> Finding:
        return Finding("distance.w1", "SGD", value, 0.1, status, f"{name}.", functional=name)

    assert finding("a", math.nan, Status.PASS).status is Status.UNKNOWN
    chosen = worst([finding("a", 0.3, Status.PASS), finding("b", 0.2, Status.FAIL), finding("c", 0.25, Status.FAIL)])
    assert chosen.functional == "c"
    assert "worst of 3 functionals" in chosen.meaning
    assert chosen.details["value of a"] == 0.3

"""The exact laws against references with 30 digits (make_references.py), which share no code with the package."""

import json
from pathlib import Path

import numpy as np
import pytest

from sgdvi import Moments, SGDStationary

CASES = [
    (f"{path.stem.removeprefix('references-')}-{number}", case)
    for path in sorted(Path(__file__).parent.glob("references-*.json"))
    for number, case in enumerate(json.loads(path.read_text()))
]
POINTS = max(len(case["v"]) for _, case in CASES)


def law_of(case):
    moments = Moments(*case["alpha"], *case["beta"])
    options = {name: case[name] for name in ("depth", "width", "weight_decay", "sign") if name in case}
    return SGDStationary(moments, case["temperature"], **options)


def padded(values):
    """Values in one shape, so that every law of a kind shares what is compiled."""
    return np.array([*values, *values[-1:] * (POINTS - len(values))])


def known(case, name):
    return padded([np.nan if value is None else value for value in case[name]])


class Gaps:
    """Collects what is beyond its bound, so that one run shows all of it."""

    def __init__(self):
        self.found = []

    def check(self, name, got, want, bound):
        got, want = np.atleast_1d(np.asarray(got, float)), np.atleast_1d(np.asarray(want, float))
        ratio = np.abs(got - want) / bound
        if not np.all(ratio <= 1):
            i = int(np.argmax(np.where(np.isnan(ratio), np.inf, ratio)))
            self.found.append(f"{name}[{i}]: got {got[i]!r}, want {want[i]!r}, {ratio[i]:.3g} times the bound")


FINITE = [(name, case) for name, case in CASES if case["kind"] == "law"]


@pytest.mark.parametrize("case", [case for _, case in FINITE], ids=[name for name, _ in FINITE])
def test_density_and_cdf(case):
    law, gaps = law_of(case), Gaps()
    v, log_prob, log_cdf = known(case, "v"), known(case, "log_prob"), known(case, "log_cdf")
    gaps.check("log_prob", law.log_prob(v), log_prob, 1e-10 * np.maximum(1, np.abs(log_prob)))
    gaps.check("cdf", law.cdf(v), np.exp(log_cdf), 1e-10)
    if case["depth"] > 0:
        logs = np.array(case["log_quantiles"])
        gaps.check("log_icdf", law.log_icdf(np.array(case["q"])), logs, 1e-9 * np.maximum(1, np.abs(logs)))
    spread = np.sqrt(case["variance"] or 0.0)
    gaps.check("mean", law.mean, case["mean"], 1e-10 * max(abs(case["mean"]), spread))
    if case["variance"] is None:
        assert not np.isfinite(law.variance)
    else:
        gaps.check("variance", law.variance, case["variance"], 1e-9 * case["variance"])
    assert not gaps.found, "\n".join(gaps.found)


INFINITE = [case for _, case in CASES if case["kind"] == "infinite" and case["ratio"] == 1.0]


@pytest.mark.parametrize("case", INFINITE, ids=lambda case: f"T{case['temperature']:.3g}")
def test_finite_depth_approaches_infinite_depth(case):
    """Like log(D)/D: the drift holds d^(1-2/n)/n = (d/n) (1 - 2 log(d)/n + ...), n = D + 1, so D gap = a + b log D."""
    moments, v = Moments(*case["alpha"], *case["beta"]), known(case, "v")
    scaled = []
    for depth in (100, 200, 400):
        law = SGDStationary(moments, case["temperature"], depth=depth, width=depth)
        scaled.append(depth * np.max(np.abs(law.cdf(v) - np.exp(known(case, "log_cdf")))))
    first, second = np.diff(scaled)
    assert 0 < first < 0.2 * scaled[0]
    assert second == pytest.approx(first, rel=0.02)

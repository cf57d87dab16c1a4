"""Variance of a run of SGD with momentum, held against the one that its rate, momentum and batches give it."""

import jax
import numpy as np
import optax
import pytest
from check_cases import found, run_of

import sgdvi
from sgdvi.diagnostics import Case, Status
from sgdvi.diagnostics.momentum import spread

SETTINGS = {"momentum": 0.9, "nesterov": False}


def judged(factor: float, *, near: object = lambda case: {"v": 1.0}) -> sgdvi.Finding:
    draws = factor * np.random.default_rng(0).normal(size=(8, 500))
    return spread(Case(run_of({"v": draws}, settings=SETTINGS), near=near))


@pytest.mark.parametrize(
    ("factor", "status"), [(1.0, Status.PASS), (1.06, Status.PASS), (1.2, Status.WARN), (0.5, Status.FAIL)]
)
def test_variances_are_held_against_the_predicted_one(factor: float, status: Status) -> None:
    finding = judged(factor)
    assert finding.status is status
    assert finding.value == pytest.approx(max(factor, 1 / factor), rel=0.02)
    assert ("no more than chance" in finding.meaning) == (factor == 1)


def test_without_what_made_the_run_it_says_so() -> None:
    assert judged(1.0, near=None).status is Status.NOT_APPLICABLE
    assert judged(1.0, near=lambda case: {"v": 0.0}).status is Status.UNKNOWN


@pytest.mark.parametrize("nesterov", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_run_with_momentum_has_its_variance_in_a_comparison(nesterov: bool) -> None:
    """Where eta times the curvature is as large as 1 - mu the law of the temperature alone is off by far."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=40)
    y = x + rng.normal(size=40)
    loss = sgdvi.Loss(lambda p, batch: (p["v"] * batch[0] - batch[1]) ** 2, {"v": 0.0})
    sampler = sgdvi.SGD(loss, optax.sgd(0.05, momentum=0.8, nesterov=nesterov), batch_size=4)
    key, given = jax.random.key(0), {"reference": None, "samplers": {"SGD": (sampler, (x, y))}}
    run = sgdvi.sample(sampler, (x, y), key=key, num_steps=3_000, num_warmup=100, num_chains=8, thinning=5)
    findings = found(sgdvi.compare({"SGD": run}, **given))
    finding, moments = findings["law.momentum"], sgdvi.Moments.from_data(x, y)
    assert finding.status is Status.PASS, finding.meaning
    want = sgdvi.laws.momentum_variance(moments, 0.05, 4, momentum=0.8, nesterov=nesterov)
    assert finding.details["predicted_sd"] == pytest.approx(want**0.5, rel=1e-2)
    assert finding.value < 1.1
    assert "velocities of momentum" in findings["stationarity.identity"].meaning

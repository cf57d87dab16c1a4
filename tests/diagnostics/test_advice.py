"""Advice is tried: what a failure says to do is done as it stands, and the new verdict has lost that failure."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pytest

import sgdvi
from sgdvi.diagnostics import Finding, Status
from sgdvi.diagnostics.record import Record
from sgdvi.report import read_record
from sgdvi.report.actions import actions

pytestmark = pytest.mark.slow

MOST_TRIES = 3


def failing(record: Record, check: str) -> bool:
    return any(finding.check == check and finding.status is Status.FAIL for finding in record.findings)


@pytest.mark.parametrize(
    ("check", "model", "options", "suffix"),
    [
        ("chains.overflow", "small-n", {"learning_rate": 3.0, "num_steps": 2000, "references": ()}, "smaller-step"),
        ("phase.collapse", "weak-signal", {"temperature": "1.2Tc", "batch_size": 1, "num_steps": 20_000}, "cooler"),
        ("mixing.ess", "small-n", {"num_steps": 300, "references": ()}, "longer"),
        ("mixing.ess", "small-n", {"num_steps": 20_000, "references": ("NUTS",), "nuts_draws": 30}, "more-draws"),
    ],
)
def test_the_command_beside_a_failure_removes_it(
    check: str, model: str, options: dict[str, Any], suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = sgdvi.run(model, **{"references": (), "num_chains": 4, **options})
    record, context = result.comparison, result.context
    assert failing(record, check), result
    for attempt in range(MOST_TRIES):
        chosen = [action for action in actions(record, context) if action.command.endswith(f"-{suffix}')")]
        assert chosen, [action.command for action in actions(record, context)]
        folder = tmp_path / str(attempt)
        folder.mkdir()
        monkeypatch.chdir(folder)
        exec(chosen[0].command, {})
        record, context = read_record(next(folder.iterdir()))
        if not failing(record, check):
            break
    assert not failing(record, check)


def finding_of(comparison: sgdvi.Comparison, check: str, run: str = "SGD") -> Finding:
    return next(f for f in comparison.findings if f.check == check and f.run == run)


def test_a_constant_learning_rate_makes_the_spread_stay() -> None:
    problem = sgdvi.zoo.load("small-n")
    nuts = sgdvi.samplers.references.nuts(problem, key=jax.random.key(1), num_warmup=500, num_samples=1000)

    def verdict(rate: Any) -> sgdvi.Comparison:
        sampler = sgdvi.SGD(problem.model, optax.sgd(rate), batch_size=4)
        steps = {"num_steps": 20_000, "num_warmup": 2_000, "num_chains": 8, "thinning": 20, "progress": False}
        run = sgdvi.sample(sampler, problem.data, key=jax.random.key(0), **steps)
        return sgdvi.compare({"SGD": run, "NUTS": nuts}, functionals=problem.functionals)

    falling = verdict(optax.exponential_decay(0.1, 20_000, 0.01))
    assert falling.verdict.status is Status.FAIL
    assert "Its optimizer has a schedule" in falling.verdict.sentence
    assert "optax.sgd with a number" in finding_of(falling, "stationarity.spread").advice
    assert finding_of(verdict(0.02), "stationarity.spread").status is Status.PASS


def test_keys_of_their_own_end_copies() -> None:
    draws = np.random.default_rng(0).normal(size=(2, 4, 500))
    shared = sgdvi.compare({"SGD": {"b": draws[0]}, "NUTS": {"b": draws[0]}})
    assert finding_of(shared, "draws.reference").advice == "Run SGD and NUTS apart, from keys of their own."
    apart = sgdvi.compare({"SGD": {"b": draws[0]}, "NUTS": {"b": draws[1]}})
    assert apart.verdict.status is Status.PASS

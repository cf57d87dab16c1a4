"""Advice is tried: what a failure says to do is done as it stands, and the new verdict has lost that failure."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import optax
import pytest
from check_cases import judge

import sgdvi
from sgdvi.diagnostics import Finding, Status
from sgdvi.diagnostics.record import Record
from sgdvi.report import read_record
from sgdvi.report.actions import actions

pytestmark = pytest.mark.slow

MOST_TRIES = 3


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


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


# two parameters whose posterior is correlated: the law of plain SGD is not
CORRELATED = """
import numpy as np, numpyro, numpyro.distributions as dist, sgdvi

rng = np.random.default_rng(0)
x = rng.normal(size=100)
x = np.stack([x, x + 0.5 * rng.normal(size=100)], axis=1)
y = x.sum(axis=1) + rng.normal(size=100)

def model(x, y):
    b = numpyro.sample("b", dist.Normal(0, 10).expand([2]).to_event(1))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(x @ b, 1.0), obs=y)

def problem():
    return sgdvi.Problem(name="correlated", model=model, data=(x, y), functionals={"b": lambda draws: draws.b})
"""


def test_chains_at_a_minor_mode_arrive_from_the_mode() -> None:
    rng = np.random.default_rng(0)
    y = np.concatenate([rng.normal(4.0, 0.05, 60), rng.normal(0.5, 0.05, 140)])

    def model(y: np.ndarray) -> None:
        m = numpyro.sample("m", dist.Normal(0, 3))
        with numpyro.plate("rows", len(y)):
            numpyro.sample("y", dist.StudentT(1.0, m, 0.05), obs=y)

    problem = sgdvi.Problem(name="modes", model=model, data=(y,), functionals={"m": lambda draws: draws.m})
    nuts = sgdvi.samplers.references.nuts(problem, key=jax.random.key(1), num_warmup=500, num_samples=1000)

    def arrival(start: Any) -> Finding:
        sampler = sgdvi.SGD(model, learning_rate=0.001, batch_size=20)
        steps = {"num_steps": 5_000, "num_warmup": 500, "num_chains": 4, "thinning": 5, "progress": False}
        run = sgdvi.sample(sampler, (y,), key=jax.random.key(0), init=start, **steps)
        return finding_of(sgdvi.compare({"SGD": run, "NUTS": nuts}), "arrival.posterior")

    minor = arrival({"m": 4.0})
    assert minor.details["cause"] == "plateau", minor.meaning
    assert "sgdvi.find_mode" in minor.advice
    assert arrival(sgdvi.find_mode(model, (y,)).point).status is Status.PASS


def test_a_wrong_dependence_is_mended_by_the_flavour_that_is_recommended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "correlated.py"
    file.write_text(CORRELATED)
    steps = {"learning_rate": 0.1, "batch_size": 10, "num_steps": 20_000, "num_chains": 4}
    result = sgdvi.run(str(file), references=("NUTS",), **steps)
    assert failing(result.comparison, "distance.dependence"), result
    assert failing(result.comparison, "distance.w2")
    chosen = actions(result.comparison, result.context)[0]
    assert chosen.text.startswith("Recommended: ")
    folder = tmp_path / "again"
    folder.mkdir()
    monkeypatch.chdir(folder)
    exec(chosen.command, {})
    record, _ = read_record(next(folder.iterdir()))
    for check in ("distance.dependence", "distance.w1", "distance.w2", "use.tails"):
        assert not failing(record, check)
    assert record.verdict.status in (Status.PASS, Status.WARN), record.verdict.sentence


def test_a_longer_fit_converges() -> None:
    problem = sgdvi.zoo.load("small-n")
    nuts = sgdvi.samplers.references.nuts(problem, key=jax.random.key(1), num_warmup=500, num_samples=1000)
    fit = sgdvi.samplers.references.variational(problem, key=jax.random.key(0), family="low-rank", num_steps=100)
    for _ in range(MOST_TRIES):
        comparison = sgdvi.compare({"VI": fit, "NUTS": nuts}, functionals=problem.functionals)
        finding = finding_of(comparison, "fit.convergence", "VI")
        if finding.status is Status.PASS:
            break
        assert comparison.verdict.status is Status.UNKNOWN
        call = finding.advice.partition(": ")[2].removesuffix(".")
        fit = eval(call, {"sgdvi": sgdvi, "jax": jax, "problem": problem})
    assert finding.status is Status.PASS
    assert finding.details["last_bound"] is not None


def test_a_mode_that_is_missed_is_restored_by_the_symmetry(rng: np.random.Generator) -> None:
    def chains(sign: Any) -> dict[str, np.ndarray]:
        return {"z": sign * (2 + 0.3 * rng.normal(size=(4, 1000)))}

    posterior, one = chains(rng.choice([-1, 1], (4, 1000))), chains(1)
    missed = judge(one, posterior)
    assert finding_of(missed, "coverage.modes").status is Status.FAIL
    assert "a symmetry of the model" in finding_of(missed, "coverage.modes").advice
    restored = judge({"z": one["z"] * rng.choice([-1, 1], (4, 1000))}, posterior)
    assert restored.verdict.status is Status.PASS, restored.verdict.sentence


def test_of_a_wrong_dependence_single_functionals_can_be_used(rng: np.random.Generator) -> None:
    def draws(rho: float) -> dict[str, np.ndarray]:
        b = rng.normal(size=(4, 1000, 2))
        b[..., 1] = rho * b[..., 0] + np.sqrt(1 - rho**2) * b[..., 1]
        return {"b": b}

    run, posterior = draws(0.0), draws(0.8)
    advice = finding_of(judge(run, posterior), "distance.dependence").advice
    assert advice.startswith("Means and intervals of single functionals can be used, those of sums")
    each, total = {"b[1]": lambda draws: draws.b[..., 1]}, {"sum": lambda draws: draws.b.sum("b_dim_0")}
    assert judge(run, posterior, functionals=each).verdict.uses["intervals"] is Status.PASS
    assert judge(run, posterior, functionals=total).verdict.uses["intervals"] is Status.FAIL


def test_keys_of_their_own_end_copies() -> None:
    draws = np.random.default_rng(0).normal(size=(2, 4, 500))
    shared = sgdvi.compare({"SGD": {"b": draws[0]}, "NUTS": {"b": draws[0]}})
    assert finding_of(shared, "draws.reference").advice == "Run SGD and NUTS apart, from keys of their own."
    apart = sgdvi.compare({"SGD": {"b": draws[0]}, "NUTS": {"b": draws[1]}})
    assert apart.verdict.status is Status.PASS

"""What is tried first, what is kept when a later stage fails, and rows that were integrated out in a comparison."""

import json
from typing import Any

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

import sgdvi
from sgdvi.cli import main
from sgdvi.draws import load
from sgdvi.experiment import conduct, flavours, stages, tried, written
from sgdvi.problem.integrate import IntegratedRows
from sgdvi.samplers.references import Stopped

FILE = """
import numpy as np, numpyro, numpyro.distributions as dist, sgdvi

def problem():
    y = np.random.default_rng(0).normal(1.0, 1.0, 60)
    def model(y=None):
        mu = numpyro.sample("mu", dist.Normal(0, 10))
        with numpyro.plate("data", len(y)):
            numpyro.deterministic("fit", mu)
            numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)
    return sgdvi.Problem("mean", model, (y,), {"mu": lambda ds: FUNCTIONAL})
"""
QUICK = ["--steps", "200", "--chains", "2", "--learning-rate", "0.01", "--no-cache", "--nuts-draws", "20"]


@pytest.fixture
def never_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    for place, name in [(stages, "descend"), (conduct, "make_plan")]:
        monkeypatch.setattr(place, name, lambda *a, **k: pytest.fail("something ran"))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("ds['nu']", "'mu' must be computable from the sites"),
        ("ds['fit'].sum('fit_dim_0')", "'mu' must be computable from the sites"),  # of the data plate
        ("ds['mu'].sel(chain=9)", "'mu' must be computable"),
        ("3.0", "must return one number per draw"),
        ("ds['mu'].mean('draw')", "must return one number per draw"),
    ],
)
def test_functionals_are_tried_first(code: str, words: str, tmp_path: Any, capsys: Any, never_runs: None) -> None:
    path = tmp_path / "mean.py"
    path.write_text(FILE.replace("FUNCTIONAL", code))
    assert main(["compare", str(path), *QUICK, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_files_are_read_first(tmp_path: Any, capsys: Any, never_runs: None) -> None:
    path = tmp_path / "mean.py"
    path.write_text(FILE.replace("FUNCTIONAL", "ds['mu']"))
    assert main(["compare", str(path), *QUICK, "--against", "none.nc", "--out", str(tmp_path / "out")]) == 2
    assert "must exist" in capsys.readouterr().err


def test_what_was_run_is_kept(tmp_path: Any, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path, out = tmp_path / "mean.py", tmp_path / "out"
    path.write_text(FILE.replace("FUNCTIONAL", "ds['mu']"))

    def fails(*args: Any, **kwargs: Any) -> None:
        raise ZeroDivisionError("in the middle")

    monkeypatch.setattr(stages, "nuts", fails)
    assert main(["compare", str(path), *QUICK, "--out", str(out)]) == 1
    error = capsys.readouterr().err
    assert (
        "NUTS failed: ZeroDivisionError: in the middle; the draws of SGD, completed SGD and failure.json are in"
        in error
    )
    assert str(out) in error
    assert load(out)["SGD"]["posterior"]["mu"].shape == (2, 200)
    record = json.loads((out / "failure.json").read_text())
    assert any("ZeroDivisionError" in line for line in record["traceback"])
    assert not (out / "report.html").exists()


# Where each stage is called from, and what has been run by then.
STAGES = {
    "completed SGD": (flavours, "sample", ["SGD"]),
    "NUTS": (stages, "nuts", ["SGD", "completed SGD"]),
    "mean-field VI": (stages, "variational", ["SGD", "completed SGD", "NUTS"]),
    "balance": (conduct, "findings_of_balance", ["SGD", "completed SGD", "NUTS", "mean-field VI", "full-rank VI"]),
    "checks": (conduct, "compare", ["SGD", "completed SGD", "NUTS", "mean-field VI", "full-rank VI"]),
    "the report": (written, "write_html", ["SGD", "completed SGD", "NUTS", "mean-field VI", "full-rank VI"]),
}

QUICKEST = {"completed SGD", "NUTS", "checks"}


def drawn(*args: Any, kind: str = "nuts", **kwargs: Any) -> Any:
    draws = np.random.default_rng(0).normal(1.0, 0.13, (4, 50))
    return sgdvi.draws.make_tree({"mu": draws}, kind=kind)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> list[str]:
    """Stand in for all runs by draws that cost nothing; return the command line."""
    for place, name, kind in [
        (stages, "descend", "sgd"), (flavours, "sample", "completed-sgd"), (stages, "nuts", "nuts"),
        (stages, "variational", "vi"),
    ]:  # fmt: skip
        monkeypatch.setattr(place, name, lambda *a, kind=kind, **k: drawn(kind=kind))
    monkeypatch.setattr(conduct, "findings_of_balance", lambda *a, **k: ())
    path = tmp_path / "mean.py"
    path.write_text(FILE.replace("FUNCTIONAL", "ds['mu']"))
    return ["compare", str(path), *QUICK, "--out", str(tmp_path / "out")]


@pytest.mark.parametrize(
    "stage", [stage if stage in QUICKEST else pytest.param(stage, marks=pytest.mark.slow) for stage in STAGES]
)
def test_whichever_stage_fails_the_others_are_kept(
    stage: str, quick: list[str], tmp_path: Any, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: Any, **kwargs: Any) -> None:
        raise ZeroDivisionError("in the middle")

    place, name, kept = STAGES[stage]
    monkeypatch.setattr(place, name, fails)
    assert main(quick) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"sgdvi: {stage} failed: ZeroDivisionError: in the middle; the draws of {', '.join(kept)}")
    assert line.endswith(str(tmp_path / "out"))
    assert sorted(load(tmp_path / "out")) == sorted(kept)
    assert "ZeroDivisionError" in (tmp_path / "out" / "failure.json").read_text()
    assert not (tmp_path / "out" / "report.html").exists()


def test_ctrl_c_in_nuts_keeps_its_draws_too(
    quick: list[str], tmp_path: Any, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*args: Any, **kwargs: Any) -> None:
        raise Stopped(drawn())

    monkeypatch.setattr(stages, "nuts", stopped)
    assert main(quick) == 130
    assert "the draws of SGD, completed SGD, NUTS are in" in capsys.readouterr().err
    assert load(tmp_path / "out")["NUTS"]["posterior"]["mu"].shape == (4, 50)


def rows(y: Any = None) -> None:
    mu = numpyro.sample("mu", dist.Normal(0, 10))
    with numpyro.plate("rows", len(y)):
        b = numpyro.sample("b", dist.Normal(mu, 1.0))
        numpyro.sample("y", dist.Normal(b, 1.0), obs=y)


def test_rows_are_completed_for_the_functionals(key: jax.Array, x64: None) -> None:
    y = np.array([3.0, 5.0, 4.0])
    model = sgdvi.integrate_rows(rows, ["b"])
    problem = sgdvi.Problem("rows", model, (y,), {"b0": lambda ds: ds["b"][..., 0]})
    tried.try_functionals(problem)
    run = sgdvi.draws.make_tree({"mu": np.full((2, 4000), 4.0)}, kind="nuts")
    completed = tried.with_row_values(problem, {"NUTS": run, "law": dist.Normal(0, 1)}, key)
    assert list(completed) == ["NUTS"]
    draws = problem.functionals["b0"](completed["NUTS"]["posterior"]).values
    assert draws.shape == (2, 4000)
    assert draws.mean() == pytest.approx(3.5, abs=4 * np.sqrt(0.5 / 8000))
    assert tried.with_row_values(problem, completed, key) == {}


@pytest.mark.slow
def test_a_value_per_row_is_integrated_out_where_it_stands(x64: None) -> None:
    y = np.array([3.0, 5.0, 4.0])
    problem = sgdvi.Problem("rows", rows, (y,), {"mu": lambda ds: ds["mu"], "b0": lambda ds: ds["b"][..., 0]})
    tried_problem = tried.try_functionals(problem)
    assert isinstance(tried_problem.model, IntegratedRows)
    assert tried_problem.model is tried.try_functionals(problem).model  # what is compiled for it is found again
    foreseen = sgdvi.forecast(problem)
    assert str(foreseen).splitlines()[1].startswith("b, a value per row, is integrated out")
    precision = 3 / 2 + 1 / 100  # of mu: y_i is N(mu, 2)
    assert foreseen.posterior["mu"]["mean"] == pytest.approx(6 / precision, abs=1e-3)
    assert foreseen.posterior["mu"]["sd"] == pytest.approx(precision**-0.5, rel=0.01)
    assert foreseen.posterior["b0"]["mean"] == pytest.approx((3 + 6 / precision) / 2, abs=0.05)


def test_two_values_per_row_are_refused_as_before(x64: None) -> None:
    def two(y: Any = None) -> None:
        mu = numpyro.sample("mu", dist.Normal(0, 10))
        with numpyro.plate("rows", len(y)):
            b, c = numpyro.sample("b", dist.Normal(mu, 1.0)), numpyro.sample("c", dist.Normal(0, 1.0))
            numpyro.sample("y", dist.Normal(b + c, 1.0), obs=y)

    problem = sgdvi.Problem("rows", two, (np.arange(5.0),), {"mu": lambda ds: ds["mu"]})
    for call in (tried.try_functionals, sgdvi.forecast):
        with pytest.raises(sgdvi.InputError, match="must not have one value per row"):
            call(problem)

"""The flavours of SGD in an experiment: what runs by default, what is explained instead, what the verdict names."""

import math
from functools import cache
from pathlib import Path

import jax
import numpy as np
import pytest
from raw_regression import X, Y, problem

import sgdvi
from sgdvi.experiment.descent import plain
from sgdvi.experiment.flavours import default_flavours, named_flavours
from sgdvi.experiment.plan import Plan, make_plan

RAW = problem()
STANDARD = problem((X - X.mean()) / X.std(), (Y - Y.mean()) / Y.std())


@cache
def standard_plan() -> Plan:
    return make_plan(STANDARD)


def test_plain_sgd_that_shows_nothing_is_explained_and_completed_sgd_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # no figures: they take long to draw, and tests of the report have them
    monkeypatch.setattr("sgdvi._internal.style.figure._svg", lambda figure: "<svg/>")
    said: list[str] = []
    result = sgdvi.run(
        RAW, references=["full-rank"], reference="full-rank VI", on_stage=lambda name, text: said.append(name)
    )
    assert said[:3] == ["forecast", "SGD", "completed SGD"]
    assert set(result.runs) == {"completed SGD", "full-rank VI"}
    sentence = result.verdict.sentence
    assert sentence.startswith("No: plain SGD needs")
    assert "its slowest direction is beta[0]" in sentence
    assert "Within every limit on all functionals: completed SGD (W1 = 0.0" in sentence
    assert result.verdict.changes[0] == "Recommended: completed SGD, which is within every limit."
    assert result.verdict.changes[1].startswith("Centre and standardise x and y")
    assert "learning_rate" not in result.context.call
    assert any(setting.name == "foreseen of plain SGD" for setting in result.context.settings)
    assert set(result.verdict.answers) == {"arrive", "same", "use"}
    assert result.verdict.answers["same"].sentence.startswith("No, as foreseen: W1 = 0.6 sd")
    assert set(result.verdict.uses) == {"means", "intervals", "tails", "predictions"}
    rows = {(row.run, row.functional): row for row in result.foreseen}
    assert rows["SGD", "slope"].observed_w1 is None
    completed = rows["completed SGD", "slope"]
    assert completed.observed_w1 is not None
    assert abs(completed.observed_w1 - completed.w1) < 0.1
    page = result.save(tmp_path / "report").read_text(encoding="utf-8")
    assert "plain SGD needs" in page
    assert "Foreseen and observed" in page


@pytest.mark.slow
def test_flavours_and_warmup_as_asked() -> None:
    result = sgdvi.run(
        STANDARD, algorithms=["sgld", "plain", "mandt"], num_steps=3000, num_warmup=5, references=["full-rank"],
        reference="full-rank VI",
    )  # fmt: skip
    assert list(result.runs) == ["SGD", "Mandt SGD", "preconditioned SGLD", "full-rank VI"]
    assert result.plan.num_warmup == 5


def test_the_plan_of_a_reliable_forecast_needs_no_warmup() -> None:
    plan = standard_plan()
    assert plan.num_warmup == 0
    assert plan.forecast is not None
    assert plan.learning_rate == plan.forecast["plain"].learning_rate
    assert plan.batch_size == 16
    assert default_flavours(plan.forecast) == ("plain", "completed")
    assert default_flavours(None) == ("plain",)


def test_plain_sgd_starts_in_the_law_that_it_has() -> None:
    """Its mean is not the mode, and its spread not the posterior's: without either a run would need a warmup."""
    plan = standard_plan()
    assert plan.forecast is not None
    near = plan.forecast.near
    assert near is not None
    law = near.law(near.recipe("plain", batch_size=plan.batch_size, learning_rate=plan.learning_rate))
    begin = plain(STANDARD, plan).begin
    assert begin is not None
    starts = jax.vmap(begin)(jax.random.split(jax.random.key(0), 20_000))
    z = np.column_stack([starts["beta"], starts["sigma"]])
    white = np.linalg.solve(np.linalg.cholesky(law.covariance), (z - law.mean).T)
    np.testing.assert_allclose(white.mean(1), 0, atol=5 / 20_000**0.5)
    np.testing.assert_allclose(np.cov(white), np.eye(3), atol=0.06)
    # the test can tell: another law, and the mode in the place of the mean
    assert np.abs(law.covariance / near.laplace.covariance - 1).max() > 0.12
    assert np.abs(law.shift / law.sd).max() > 0.03


def test_slow_plain_sgd_takes_the_steps_of_its_slowest_direction() -> None:
    plan = make_plan(problem((X - 60) / 15, (Y - Y.mean()) / Y.std()))
    assert plan.forecast is not None
    needed = plan.forecast["plain"].steps
    assert 20_000 < needed < 250_000
    assert plan.num_steps == math.ceil(needed)
    assert plan.rules["steps"].startswith("100 autocorrelation times")
    assert standard_plan().num_steps == 20_000


def test_names_of_flavours() -> None:
    assert named_flavours(["completed", " Plain "]) == ("plain", "completed")
    with pytest.raises(sgdvi.InputError, match="one of plain, scaled, whitened, mandt, completed, sgld; got 'adam'"):
        named_flavours(["adam"])

"""The flavours of SGD in an experiment: what runs by default, what is explained instead, what the verdict names."""

from pathlib import Path
from typing import Any

import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

import sgdvi
from sgdvi.experiment.flavours import default_flavours, named_flavours
from sgdvi.experiment.plan import make_plan

RNG = np.random.default_rng(7)
N = 200
X = RNG.normal(100, 15, N)
Y = 25 + 0.6 * X + 18 * RNG.normal(size=N)


def regression(x: Any, y: Any = None) -> None:
    beta = numpyro.sample("beta", dist.Normal(0.0, 1.0).expand([2]).to_event(1).mask(False))
    sigma = numpyro.sample("sigma", dist.HalfCauchy(2.5))
    with numpyro.plate("data", len(x)):
        numpyro.sample("y", dist.Normal(beta[0] + beta[1] * x, sigma), obs=y)


def problem(x: Any, y: Any) -> sgdvi.Problem:
    names = {"slope": lambda ds: ds.beta[..., 1], "sigma": lambda ds: ds.sigma}
    return sgdvi.Problem(name="regression", model=regression, data=(x, y), functionals=names)


RAW = problem(X, Y)
STANDARD = problem((X - X.mean()) / X.std(), (Y - Y.mean()) / Y.std())


def test_plain_sgd_that_shows_nothing_is_explained_and_completed_sgd_is_named(tmp_path: Path) -> None:
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
    assert result.verdict.changes[0].startswith("Centre and standardise x and y")
    assert "learning_rate" not in result.context.call
    assert any(setting.name == "foreseen of plain SGD" for setting in result.context.settings)
    page = result.save(tmp_path / "report").read_text(encoding="utf-8")
    assert "plain SGD needs" in page


@pytest.mark.slow
def test_flavours_and_warmup_as_asked() -> None:
    result = sgdvi.run(
        STANDARD, algorithms=["sgld", "plain", "mandt"], num_steps=3000, num_warmup=5, references=["full-rank"],
        reference="full-rank VI",
    )  # fmt: skip
    assert list(result.runs) == ["SGD", "Mandt SGD", "preconditioned SGLD", "full-rank VI"]
    assert result.plan.num_warmup == 5


def test_the_plan_of_a_reliable_forecast_needs_no_warmup() -> None:
    plan = make_plan(STANDARD)
    assert plan.num_warmup == 0
    assert plan.forecast is not None
    assert plan.learning_rate == plan.forecast["plain"].learning_rate
    assert plan.batch_size == 16
    assert default_flavours(plan.forecast) == ("plain", "completed")
    assert default_flavours(None) == ("plain",)


def test_names_of_flavours() -> None:
    assert named_flavours(["completed", " Plain "]) == ("plain", "completed")
    with pytest.raises(sgdvi.InputError, match="one of plain, scaled, whitened, mandt, completed, sgld; got 'adam'"):
        named_flavours(["adam"])

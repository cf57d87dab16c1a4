"""Foreseen beside observed: on the page, in the record, and computed from the draws."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import numpy as np
import pytest

from sgdvi import Forecast, compare
from sgdvi.diagnostics.findings import Status
from sgdvi.experiment.as_foreseen import answers_as_foreseen
from sgdvi.experiment.forecast_result import Flavour
from sgdvi.experiment.foretold import foreseen_and_observed
from sgdvi.report import Context, Foreseen, page, read_record, render_page, write_record
from sgdvi.report.sections import foreseen

ROWS = (
    Foreseen("SGD", "slope", 0.8, None, 0.01, None),
    Foreseen("completed SGD", "slope", 0.01, 0.033, 1.0, 0.987),
    *(Foreseen("completed SGD", f"row {k}", 0.001 * k, 0.001 * k, 1.0, 1.0) for k in range(12)),
)


def test_the_section_has_all_runs_and_the_largest_functionals(comparison: Any) -> None:
    assert foreseen.section(comparison, Context()) is None
    made = foreseen.section(comparison, Context(foreseen=ROWS))
    assert made is not None
    html = str(made.html)
    assert html.count('<tr><th scope="row">') == 1 + 10
    assert ">0.80<" in html or ">0.8<" in html
    assert "0.987" in html
    assert "–" in html
    assert "row 0<" not in html
    assert "the 10 functionals with the largest W1" in html
    assert 'id="foreseen"' in render_page(comparison, Context(foreseen=ROWS))


def test_the_record_keeps_them(comparison: Any, tmp_path: Any) -> None:
    path = write_record(comparison, Context(foreseen=ROWS), tmp_path)
    written = json.loads(path.read_text(encoding="utf-8"))
    schema = json.loads((Path(page.__file__).parent / "assets/report.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(written, schema)
    assert written["experiment"]["foreseen"][0]["observed_w1"] is None
    assert read_record(tmp_path)[1].foreseen == ROWS


def flavour(name: str, w1: float, ratio: float, mean: float = 0.0) -> Flavour:
    summary = {"slope": {"mean": mean, "sd": ratio, "q5": -1.64 * ratio, "q95": 1.64 * ratio}}
    return Flavour(name, 16, 0.01, 100.0, 2e7, {"slope": ratio}, {"slope": w1}, summary)


def forecast(*flavours: Flavour, doubts: tuple[str, ...] = (), exists: bool = True) -> Forecast:
    mode: Any = SimpleNamespace(exists=exists, reason="" if exists else "no joint mode")
    posterior = {"slope": {"mean": 0.0, "sd": 1.0, "q5": -1.64, "q95": 1.64}}
    near: Any = object()
    return Forecast("toy", 100, mode, flavours=flavours, posterior=posterior, doubts=doubts, near=near)


def test_observed_distances_are_those_of_the_draws() -> None:
    rng = np.random.default_rng(0)
    draws = {"completed SGD": rng.normal(0.3, 1.0, (4, 2000)), "NUTS": rng.normal(0.0, 1.0, (4, 2000))}
    draws["completed SGD"][0, 7] = np.nan  # one chain less
    runs = {name: {"slope": values} for name, values in draws.items()}
    found = compare(runs, functionals={"slope": lambda ds: ds["slope"]})
    plan: Any = SimpleNamespace(
        forecast=forecast(flavour("plain", 0.8, 0.01), flavour("completed", 0.02, 1.0)),
        learning_rate=0.01, batch_size=16, batching="replacement",
    )  # fmt: skip
    nothing: Any = None
    explained, ran = foreseen_and_observed(nothing, plan, ("plain", "completed"), found)
    assert explained == Foreseen("SGD", "slope", 0.8, None, 0.01, None)
    assert (ran.w1, ran.sd_ratio) == (0.02, 1.0)
    assert ran.observed_w1 == pytest.approx(0.3, abs=0.04)  # a shift by 0.3 sd
    assert ran.observed_sd_ratio == pytest.approx(1.0, abs=0.03)
    plan.forecast = None
    assert foreseen_and_observed(nothing, plan, ("plain",), found) == ()


@pytest.mark.parametrize(
    ("plain", "doubts", "same", "uses"),
    [
        ((0.8, 0.01, 0.02), (), "fail", ["pass", "fail", "fail", "unknown"]),
        ((0.8, 1.0, 0.9), (), "fail", ["fail", "fail", "fail", "unknown"]),
        ((0.03, 1.05, 0.0), (), "pass", ["pass", "pass", "unknown", "unknown"]),
        ((0.8, 0.01, 0.02), ("no Gaussian",), "unknown", ["unknown"] * 4),
    ],
)
def test_answers_on_a_run_that_was_not_made(
    plain: tuple[float, float, float], doubts: tuple[str, ...], same: str, uses: list[str]
) -> None:
    answers, good = answers_as_foreseen("it needs 1e9 steps", forecast(flavour("plain", *plain), doubts=doubts))
    assert answers["arrive"].status is Status.FAIL
    assert answers["arrive"].sentence == "Not run: it needs 1e9 steps."
    assert answers["same"].status == same
    assert "foreseen" in answers["same"].sentence
    assert list(map(str, good.values())) == uses
    assert list(good) == ["means", "intervals", "tails", "predictions"]


def test_without_a_mode_nothing_is_good() -> None:
    answers, good = answers_as_foreseen("there is no mode", forecast(exists=False))
    assert {answer.status for answer in answers.values()} == set(good.values()) == {Status.FAIL}

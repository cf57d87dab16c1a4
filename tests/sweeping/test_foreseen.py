"""Maps of models without an exact law: what is foreseen in each cell, beside what a run measures there."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

import sgdvi
from sgdvi.experiment.map import by_runs
from sgdvi.experiment.map.call import Outcome
from sgdvi.plots import plot_sweep

RNG = np.random.default_rng(4)
N = 400
X = RNG.standard_normal(N)
# twice as noisy as the model says, which the best rate makes up for
Y = 1.0 + 0.5 * X + 2.0 * RNG.standard_normal(N)


def line(x: Any, y: Any = None) -> None:
    a, b = numpyro.sample("a", dist.Normal(0, 10)), numpyro.sample("b", dist.Normal(0, 10))
    with numpyro.plate("data", len(x)):
        numpyro.sample("y", dist.Normal(a + b * x, 1.0), obs=y)


PROBLEM = sgdvi.Problem("line", line, (X, Y), {"a": lambda ds: ds["a"], "b": lambda ds: ds["b"]})


def posterior(*args: Any, **kwargs: Any) -> Any:
    """Independent draws of the posterior, which is normal here, in place of NUTS."""
    design = np.column_stack([np.ones(N), X])
    covariance = np.linalg.inv(design.T @ design + np.eye(2) / 100)
    draws = RNG.multivariate_normal(covariance @ design.T @ Y, covariance, (4, 2000))
    return sgdvi.draws.make_tree({"a": draws[..., 0], "b": draws[..., 1]}, kind="nuts")


@pytest.fixture(scope="module")
def made() -> sgdvi.Sweep:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(by_runs, "nuts", posterior)
        return sgdvi.sweep(PROBLEM, learning_rates=[1e-6, 0.02, 0.2, 30.0], batch_sizes=[16], num_steps=8_000)


def test_measured_is_what_was_foreseen(made: sgdvi.Sweep) -> None:
    for rate in (0.02, 0.2):
        cell = made.cell(rate, 16)
        assert cell.outcome is Outcome.LAW
        assert cell.w1 == pytest.approx(cell.foreseen, abs=0.1 + 0.1 * cell.foreseen)
    # the sd of SGD grows like the root of the rate
    assert made.cell(0.2, 16).foreseen > 1.0 > 0.1 > made.cell(0.02, 16).foreseen
    assert made.nearest == made.cell(0.02, 16)


def test_a_cell_that_would_take_too_long_is_foreseen_only(made: sgdvi.Sweep) -> None:
    cell = made.cell(1e-6, 16)
    assert math.isnan(cell.w1)
    assert cell.steps == pytest.approx(200e6, rel=0.3)  # curvatures are about 1
    assert cell.foreseen == pytest.approx(0.8, abs=0.05)  # next to no spread: W1 is E|Z|
    assert str(cell.status) == "unknown"


def test_a_rate_without_a_law_overflows(made: sgdvi.Sweep) -> None:
    cell = made.cell(30.0, 16)
    assert cell.foreseen == math.inf
    assert cell.outcome is Outcome.OVERFLOWS


def test_text_record_page_and_figure(made: sgdvi.Sweep, tmp_path: Path) -> None:
    text = str(made)
    assert "in brackets as foreseen" in text
    assert "(0.79" in text
    record = json.loads(made.to_json(tmp_path / "map.json").read_text())
    assert [cell["foreseen"] for cell in record["cells"]][-1] == "inf"
    page = made.to_html(tmp_path / "map.html").read_text()
    assert "W1 foreseen" in page
    assert "not run" in page
    plot_sweep(made)


def test_where_no_cell_can_be_run_the_answer_is_what_is_foreseen() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(by_runs, "nuts", posterior)
        far = sgdvi.sweep(PROBLEM, learning_rates=[1e-6, 1e-5], batch_sizes=[16], num_steps=1_000)
    assert far.answer.startswith("No cell was run: each needs")
    assert far.nearest == far.cell(1e-5, 16)

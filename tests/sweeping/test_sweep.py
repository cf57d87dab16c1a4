"""The map over learning rate and batch size, against the tuned temperature and the discrete threshold."""

import json
import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import sgdvi
from sgdvi import InputError, LinearNetwork, Sweep, zoo
from sgdvi._internal.batches import Batching
from sgdvi.cli import main
from sgdvi.experiment.map.call import Outcome
from sgdvi.experiment.map.steps import overflowed
from sgdvi.laws import discrete_threshold
from sgdvi.plots import plot_sweep, save_figure
from sgdvi.samplers.references import line_posterior
from sgdvi.variational import tune


@cache
def weak() -> LinearNetwork:
    exact = zoo.load("weak-signal").exact
    assert exact is not None
    return exact


@cache
def made() -> Sweep:
    # not the default axes, which are laid through the best temperature
    rates = [0.004 * 1.35**k for k in range(5)] + [0.15, 0.3]
    return sgdvi.sweep("weak-signal", learning_rates=rates, batch_sizes=[1, 4])


@pytest.mark.slow
def test_the_nearest_cell_is_the_one_next_to_the_tuned_temperature() -> None:
    found, best = made(), tune(weak())
    nearest = found.nearest
    assert nearest is not None
    assert nearest.temperature == pytest.approx(best.temperature, rel=1.35**0.5 - 1 + 0.02)
    assert best.kl <= nearest.kl < best.kl * 1.2
    assert found.tuned_temperature == best.temperature
    # W1 is an integral between the laws: nearest there too, and no smaller than what draws would show
    alive = [cell for cell in found.cells if cell.outcome is Outcome.LAW]
    assert nearest.w1 == pytest.approx(min(cell.w1 for cell in alive), rel=0.05)
    assert 0.05 < nearest.w1_null < 0.15


def test_collapse_is_where_the_exact_threshold_of_the_steps_says() -> None:
    net = weak()
    for size in (1, 4):
        threshold = discrete_threshold(net.x, net.y, size, net.weight_decay)
        for cell in (cell for cell in made().cells if cell.batch_size == size):
            attracts = threshold.attracts(net.flow_learning_rate(cell.learning_rate))
            assert (cell.outcome is Outcome.COLLAPSES) == attracts
            if attracts:
                # W1 to the point mass at 0, in standard deviations of the posterior
                posterior = line_posterior(net)
                assert cell.w1 == pytest.approx(posterior.mean / posterior.variance**0.5, rel=1e-3)
    assert {cell.outcome for cell in made().cells} == {Outcome.LAW, Outcome.COLLAPSES}


def test_overflow_is_that_of_the_iteration_on_all_factors() -> None:
    """A straightforward SGD on both factors of one row at a time, and at depth 0 the stability of a linear map."""
    net = LinearNetwork(np.array([1.0, 1.0, 2.0]), np.array([1.0, 1.2, 2.1]), depth=0)
    # at depth 0 log |v| grows by E log |1 - 2 eta (x^2 + gamma)| per step
    rates = np.array([0.5, 1.5])
    growth = [
        np.mean(np.log(np.abs(1 - 2 * net.flow_learning_rate(rate) * (net.x**2 + net.weight_decay)))) for rate in rates
    ]
    assert growth[0] < 0 < growth[1]
    np.testing.assert_array_equal(overflowed(net, rates, 1, Batching.REPLACEMENT, 0), [0.0, 1.0])
    small = zoo.load("small-n").exact
    assert small is not None
    shares = overflowed(small, np.array([0.05, 5.0]), 2, Batching.WITHOUT_REPLACEMENT, 0)
    np.testing.assert_array_equal(shares, [0.0, 1.0])


def test_the_record_the_page_and_the_figure(tmp_path: Path) -> None:
    found = made()
    record = json.loads(found.to_json(tmp_path / "map.json").read_text(encoding="utf-8"))
    assert record["nearest"]["learning_rate"] == found.nearest.learning_rate  # type: ignore[union-attr]
    assert len(record["cells"]) == len(found.cells) == 14
    page = found.to_html(tmp_path / "map.html").read_text(encoding="utf-8")
    assert page == found.to_html(tmp_path / "again.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "http" not in page.replace("http://www.w3.org", "")
    assert page.count("<tr>") == 15
    assert "nearest to the posterior of v at learning rate" in page
    assert save_figure(plot_sweep(found).figure, tmp_path / "map.svg").stat().st_size > 1000  # type: ignore[arg-type]
    text = str(found)
    assert text.count("*") >= 1
    assert "collapse" in text
    assert repr(found).startswith(f"<Sweep of {found.model}, ")
    assert "nearest to the posterior" in repr(found)
    assert "learning rates" in found._repr_html_()


@pytest.mark.slow
def test_a_map_without_any_law_says_so() -> None:
    found = sgdvi.sweep("weak-signal", learning_rates=[0.3, 0.35], batch_sizes=[1])
    assert found.nearest is None
    assert "no stationary law anywhere" in found.answer


def test_bad_input_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="needs the exact laws"):
        sgdvi.sweep("logistic", runs=False)
    with pytest.raises(InputError, match="proper posterior"):
        sgdvi.sweep("small-n", weight_decay=0)
    with pytest.raises(InputError, match=r"no temperature.*runs=True"):
        sgdvi.sweep("small-n", batching="epochs")
    with pytest.raises(InputError, match="at most N"):
        sgdvi.sweep("small-n", batching="without-replacement", batch_sizes=[1000])
    with pytest.raises(InputError, match="learning_rates must be a finite number above 0"):
        sgdvi.sweep("small-n", learning_rates=[-1.0], batch_sizes=[1])
    for arguments, words in (
        (["--learning-rates", "a"], "numbers with commas"),
        (["--out", str(tmp_path / "map.gif")], "must end in"),
        (["--out", str(tmp_path / "no" / "map.html")], "folder of --out"),
    ):
        assert main(["sweep", "small-n", *arguments]) == 2
        assert words in capsys.readouterr().err


@pytest.mark.slow
def test_runs_agree_with_the_laws(capsys: pytest.CaptureFixture[str]) -> None:
    """Small steps: real SGD is at the distance that the laws give, up to its own null level; large ones overflow."""
    settings = {"learning_rates": [0.05, 6.0], "batch_sizes": [1]}
    laws = sgdvi.sweep("small-n", **settings)  # type: ignore[arg-type]
    runs = sgdvi.sweep("small-n", runs=True, num_steps=20_000, **settings)  # type: ignore[arg-type]
    assert capsys.readouterr() == ("", "")  # no bar for every cell
    first, second = zip(laws.cells, runs.cells, strict=True)
    assert first[1].w1 == pytest.approx(first[0].w1, abs=first[1].w1_null + 0.03)
    assert [cell.outcome for cell in second] == [Outcome.OVERFLOWS] * 2
    assert math.isnan(runs.cells[0].kl)

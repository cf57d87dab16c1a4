"""The paper, claim by claim: rows, verdicts, and that a wrong formula or a wrong noise changes a verdict."""

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sgdvi
from sgdvi.cli import main
from sgdvi.experiment.claims import critical, densities, depth_one_law, inversion, rows
from sgdvi.experiment.claims._claim import Measured, Run, Verdict, below, correction, exceeds, verdict
from sgdvi.experiment.claims.result import read
from sgdvi.experiment.claims.table import CLAIMS
from sgdvi.symmetry.scaling import Symmetry

RECORD = Path(__file__).parents[2] / "docs/_static/claims.json"
# Rows that take a second each at most, compiled programs apart
QUICK = (
    "T1",
    "T3",
    "T8",
    "T10",
    "T15",
    "T16",
    "T17",
    "T20",
    "T21",
    "T27",
    "T28",
    "T30",
    "F1",
    "F3r",
    "Tab1",
    "B2",
)

LONGER = ("B1", "B3", "B4", "B5", "B6", "B7")


def test_every_row_of_the_paper_is_there() -> None:
    theorems = {f"T{number}" for number in range(1, 31)}
    figures = {"F1", "F2", "F3l", "F3m", "F3r", "F4", "F5l", "F5m", "F5r", "F5r-S", "Tab1"}
    beyond = {f"B{number}" for number in range(1, 8)}
    assert set(CLAIMS) == theorems | figures | beyond


@pytest.mark.parametrize("one", CLAIMS.values(), ids=list(CLAIMS))
def test_declarations_are_whole(one: Any) -> None:
    for text in (one.title, one.paper, one.says, one.setting, one.how, one.criterion):
        assert text
        assert text == text.strip()
    assert one.draw is None or one.caption


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in LONGER)])
def test_rows_have_the_expected_verdict(name: str) -> None:
    found = sgdvi.reproduce(name, quick=True)
    assert not found.changed, str(found)


def changed(name: str) -> bool:
    return bool(sgdvi.reproduce(name, quick=True).changed)


def test_a_wrong_exponent_changes_verdicts(monkeypatch: pytest.MonkeyPatch) -> None:
    """3/2 -> 1 in the density of depth 1."""

    class Wrong(sgdvi.SGDStationary):
        def log_prob(self, value: Any, intermediates: Any = None) -> Any:
            return super().log_prob(value) + 0.5 * np.log(value)

    monkeypatch.setattr(depth_one_law, "SGDStationary", Wrong)
    assert changed("T15")
    assert changed("T23")


def test_a_wrong_critical_temperature_changes_a_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    """beta2/alpha3 -> beta2/(2 alpha3)."""
    right: Callable[..., Any] = critical.critical_temperature
    monkeypatch.setattr(critical, "critical_temperature", lambda *given: right(*given) / 2)
    assert changed("T17")


@pytest.mark.slow
def test_the_noise_of_another_batch_size_changes_verdicts(monkeypatch: pytest.MonkeyPatch) -> None:
    right, run_chains = densities.SGD, inversion.run_chains

    def sgd(loss: Any, *, learning_rate: float, batch_size: int) -> Any:
        return right(loss, learning_rate=learning_rate, batch_size=2 * batch_size)

    monkeypatch.setattr(densities, "SGD", sgd)
    monkeypatch.setattr(inversion, "run_chains", lambda *a, batch_size, **k: run_chains(*a, batch_size=1, **k))
    assert changed("F3l")
    assert changed("T18")


def test_a_balance_without_its_second_term_changes_a_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Symmetry.noise_terms
    monkeypatch.setattr(Symmetry, "noise_terms", lambda self, *a, **k: (right(self, *a, **k)[0], 0.0))
    assert changed("T1")


def test_a_verdict_needs_error_bars_that_are_narrow_enough() -> None:
    assert exceeds(1.0, 0.5, 0.1) is True
    assert exceeds(0.4, 0.5, 0.01) is False
    assert exceeds(0.6, 0.5, 0.1) is None
    assert exceeds(float("nan"), 0.5, 0.1) is None
    assert below(0.4, 0.5, 0.01) is True
    assert verdict(True, None) is Verdict.UNKNOWN
    assert verdict(None, False) is Verdict.FAILS
    assert correction(1e-12, 1e-12) is Verdict.HOLDS
    assert correction(1.0, 1e-12) is Verdict.CORRECTED
    assert correction(1.0, 1e-3) is Verdict.FAILS


def test_results_are_text_json_and_a_page(tmp_path: Path) -> None:
    seen: list[str] = []
    found = sgdvi.reproduce(
        ["f1", "T20"], quick=True, out=tmp_path / "new", on_claim=lambda row: seen.append(row.claim.id)
    )
    assert seen == ["T20", "F1"]
    assert found["t20"].claim.id == "T20"
    assert "T20" in str(found)
    assert found.answer in str(found)
    again = read(tmp_path / "new/claims.json", CLAIMS)
    assert again.to_dict() == found.to_dict()
    page = (tmp_path / "new/claims.html").read_text(encoding="utf-8")
    assert page == again.to_html(tmp_path / "again.html").read_text(encoding="utf-8")
    assert page.count("<figure>") == 3  # the panels of F1
    assert "<script" not in page
    assert not re.search(r'(src|href)="(?!data:|#)', page)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_numbers() -> None:
    one, two = (sgdvi.reproduce("T30", quick=True, seed=5)["T30"] for _ in range(2))
    assert one.values == two.values
    assert one.values != sgdvi.reproduce("T30", quick=True, seed=6)["T30"].values


@pytest.mark.parametrize("bad", [{"ids": "T99"}, {"ids": ["T1", 3]}, {"seed": -1}, {"seed": 0.5}])
def test_bad_input_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(sgdvi.InputError):
        sgdvi.reproduce(quick=True, **bad)
    with pytest.raises(sgdvi.InputError, match="one of the claims"):
        rows.Rows((), True, 0, "0")["T1"]


def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    line = ["reproduce", "T20", "--quick", "--fail-on-change"]
    assert main([*line, "--json", "record.json", "--out", "pages"]) == 0
    assert "T20" in capsys.readouterr().out
    assert json.loads(Path("record.json").read_text(encoding="utf-8"))["claims"][0]["verdict"] == "holds"
    assert Path("pages/claims.html").exists()
    assert main(["reproduce", "T99"]) == 2
    assert main(["reproduce", "T20", "--json", "no/where.json"]) == 2
    monkeypatch.setitem(CLAIMS, "T20", dataclasses.replace(CLAIMS["T20"], measure=_fails))  # type: ignore[arg-type]
    assert main(line) == 3
    assert main(line[:-1]) == 0


def _fails(run: Run) -> Measured:
    return Measured(Verdict.FAILS, "Something else: {value}.", {"value": run.seed})


def test_the_record_of_the_docs_is_a_full_run_of_all_claims_as_declared() -> None:
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    assert not record["quick"]
    assert [row["id"] for row in record["claims"]] == list(CLAIMS)
    for row in record["claims"]:
        one = CLAIMS[row["id"]]
        assert row["verdict"] == row["expected"] == one.expected
        assert (row["says"], row["how"], row["criterion"]) == (one.says, one.how, one.criterion)

"""A check of one's own, as the guide shows it, goes all the way; declarations are sound; skipping has one way."""

import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from check_cases import case_of, run_of

from sgdvi import InputError, compare
from sgdvi.diagnostics import TABLE, Case, Check, Outcome, Skip, Status, Thresholds, check, graded, usable
from sgdvi.draws import make_tree
from sgdvi.report.cite import REFERENCES

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(4)


def test_the_check_of_the_guide_goes_all_the_way(rng: np.random.Generator, tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/extending.md").read_text(encoding="utf-8"), re.DOTALL)
    code = next(block for block in blocks if "@check(" in block)
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    names: dict = {}
    exec(code, names)
    nuts = make_tree({"u": rng.normal(size=(4, 300)), "w": rng.normal(size=(4, 300))}, kind="nuts")
    skewed = make_tree({"u": rng.exponential(size=(4, 300)) - 1, "w": rng.normal(size=(4, 300))}, kind="sgd")
    result = compare({"SGD": skewed, "NUTS": nuts}, checks=[names["skewness"]])
    finding = next(f for f in result.findings if f.check == "mine.skewness")
    assert (finding.run, finding.status, finding.functional) == ("SGD", Status.WARN, "u")
    assert "This is the worst of 2 functionals." in finding.meaning
    assert finding.meaning.removesuffix(" This is the worst of 2 functionals.") in result.verdict.reasons
    assert "Skewness" in str(result)
    assert "mine.skewness" in [entry["check"] for entry in result.to_dict()["findings"]]
    assert "Skewness" in result.to_html(tmp_path / "report.html").read_text(encoding="utf-8")
    assert [f.check for f in result.findings if f.run == "SGD"][-1] == "mine.skewness"


def test_checks_must_be_declared_and_have_names_of_their_own(rng: np.random.Generator) -> None:
    runs = {"SGD": make_tree({"u": rng.normal(size=(4, 30))}, kind="sgd")}
    with pytest.raises(InputError, match="declared checks"):
        compare(runs, None, checks=[lambda case: None])  # type: ignore[list-item]
    with pytest.raises(InputError, match="names of their own"):
        compare(runs, None, checks=[TABLE[0]])


def test_declarations_are_sound() -> None:
    limits, works = {entry.name for entry in fields(Thresholds)}, {reference.key for reference in REFERENCES}
    assert len({declared.id for declared in TABLE}) == len(TABLE)
    for declared in TABLE:
        assert set(declared.thresholds) <= limits, declared.id
        assert set(declared.cites) <= works, declared.id
        assert declared.source, declared.id


def declared(function, **options) -> Check:
    return check("mine.check", "Mine", "here", **options)(function)


def test_what_a_declaration_does(rng: np.random.Generator) -> None:
    def positive(case: Case, name: str) -> Outcome:
        if name == "w":
            raise Skip("w has no sign.")
        return Outcome(Status.PASS, f"{name} is positive.", float(case.values(name).mean()))

    draws = {name: rng.normal(size=(4, 9)) for name in "uvw"}
    case = case_of(draws)
    assert declared(positive, each=usable)(case).value == max(draws[name].mean() for name in "uv")
    assert declared(positive, each=usable, lowest=True)(case_of(draws)).value == min(draws[n].mean() for n in "uv")
    only = declared(positive, each=lambda case: ["w"])(case_of(draws))
    assert (only.status, only.functional, only.meaning) == (Status.NOT_APPLICABLE, "w", "w has no sign.")
    lost = {"u": np.where(np.arange(4)[:, None] == 1, np.nan, draws["u"])}
    assert declared(positive, each=usable)(case_of(lost)).status is Status.WARN
    assert declared(positive, each=usable, of_chains=False)(case_of(lost)).status is Status.PASS
    bad = Case(run_of(draws), trouble="The reference is bad.")
    assert declared(positive, each=usable, of_reference=True)(bad).status is Status.UNKNOWN
    nothing = case_of({"u": np.full((4, 9), np.nan)})
    assert declared(positive, each=usable)(nothing).status is Status.UNKNOWN


@pytest.mark.parametrize(
    ("value", "null", "status"),
    [(0.05, 0.06, Status.PASS), (0.05, 0.01, Status.PASS), (0.15, 0.01, Status.WARN), (0.3, 0.01, Status.FAIL)]
    + [(0.3, 0.5, Status.UNKNOWN), (float("nan"), 0.1, Status.UNKNOWN)],
)
def test_a_distance_is_judged_by_its_null_level_and_its_size(value: float, null: float, status: Status) -> None:
    outcome = graded("It is away", value, null, (0.1, 0.2, 0.4), beyond="it is wider", advice="Look.")
    assert outcome.status is status
    assert outcome.details["null_level"] == null
    assert ("it is wider" in outcome.meaning) == (status in (Status.WARN, Status.FAIL))
    assert bool(outcome.advice) == (status is not Status.PASS)

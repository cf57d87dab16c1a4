"""Sections alone: a pure function from a comparison and its context to a fragment."""

from dataclasses import replace

import numpy as np
import pytest

import sgdvi
from sgdvi._internal.text import typeset
from sgdvi.comparison import Verdict
from sgdvi.diagnostics import Finding, Status
from sgdvi.report import Context, _format
from sgdvi.report.sections import checks, glossary, plane, provenance, reasons, traces, verdict


def finding(status: Status = Status.FAIL, run: str = "SGD", **changes) -> Finding:
    fields = {"check": "mixing.rhat", "value": 1.2, "threshold": 1.01, "meaning": "The chains disagree."}
    fields |= {"advice": "Run longer.", "source": "Somewhere.", "title": "R-hat"} | changes
    return Finding(run=run, status=status, **fields)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.012345, "0.0123"),
        (12345, "12\u202f345"),
        (-0.5, "−0.5"),
        (1.00234, "1.002"),
        (0.998, "0.998"),
        (3.2e-7, "3.20\u00a0×\u00a010⁻⁷"),
        (1.5e9, "1.50\u00a0×\u00a010⁹"),
        (1234.5, "1\u202f234"),
        (float("inf"), "∞"),
        (float("-inf"), "−∞"),
        (float("nan"), "NaN"),
        (0.0, "0"),
        (None, ""),
        (True, "yes"),
        ("IIIb", "IIIb"),
    ],
)
def test_numbers_are_written_for_people(value, text):
    assert typeset(value) == text


@pytest.mark.parametrize(("value", "text"), [(0.44, "0.4 s"), (12.3, "12 s"), (185.2, "3 min 5 s")])
def test_durations_are_written_for_people(value, text):
    assert _format.seconds(value) == text


def test_a_cell_shows_the_worst_of_several_functionals(comparison):
    found = (finding(Status.PASS, functional="a", value=1.0), finding(Status.FAIL, functional="b", value=1.7))
    html = checks.section(replace(comparison, findings=found), Context()).html
    assert "worst of 2" in html
    assert 'href="#check-mixing-rhat-sgd-b"' in html
    # the failure is open, the pass is folded
    assert (
        html.index('id="check-mixing-rhat-sgd-b"') < html.index("1 pass") < html.index('id="check-mixing-rhat-sgd-a"')
    )


def test_meaning_advice_and_source_are_given_once(comparison):
    found = (finding(), finding(run="NUTS"), finding(Status.PASS, advice=""))
    html = checks.section(replace(comparison, findings=found), Context()).html
    assert [html.count(text) for text in ("The chains disagree.", "Run longer.", "Somewhere.")] == [1, 1, 1]


def test_what_does_not_apply_is_one_line(comparison):
    found = tuple(finding(Status.NOT_APPLICABLE, run, meaning="Needs HMC.") for run in ("SGD", "NUTS"))
    html = checks.section(replace(comparison, findings=found), Context()).html
    assert html.count("Needs HMC.") == 1
    assert html.count("<li>") == 1


def test_reasons_are_grouped_and_those_on_parameters_folded(comparison):
    html = reasons.section(comparison, Context()).html
    places = [html.index(text) for text in ("Is it the same law?", "<details>", "In the parameters themselves")]
    assert places == sorted(places)
    assert reasons.section(replace(comparison, verdict=Verdict("Yes (W1 = 0).", Status.PASS)), Context()) is None


def test_a_run_that_did_not_take_place_has_a_column(comparison, context):
    html = verdict.section(comparison, context).html
    assert "full-rank VI" in html
    assert "not run" in html


@pytest.mark.parametrize("status", list(Status))
def test_every_status_has_a_word_a_glyph_and_a_label(comparison, status):
    answer = replace(comparison, verdict=Verdict("It is so.", status), findings=(finding(status),))
    html = verdict.section(answer, Context()).html
    assert _format.WORDS[status] in html
    assert _format.GLYPHS[status] in html
    assert f'class="verdict {status}"' in html


def test_counts_in_alt_texts_are_written_as_everywhere(comparison, undrawn):
    many = np.tile(comparison.values["SGD"]["v"], (1, 4))
    assert "over 2\u202f000 kept draws" in traces._values(comparison, many, "v").alt


def test_sections_without_content_are_left_out(many):
    assert provenance.setup(many, Context()) is None
    assert plane.section(many, Context()) is None
    assert checks.section(replace(many, findings=()), Context()) is None
    without = replace(many, runs={name: run for name, run in many.runs.items() if name != "SGD"})
    assert traces.section(without, Context()) is None


def test_the_glossary_explains_temperatures_only_for_linear_networks(many, comparison, context):
    assert "Critical temperature" not in glossary.section(many, Context()).html
    assert "Critical temperature" in glossary.section(comparison, context).html


def test_two_matrices_are_no_factors_of_one_product():
    draws = {"u": np.ones((2, 40, 3, 2)), "w": np.ones((2, 40, 4, 2))}
    compared = sgdvi.compare({"SGD": draws}, None, {"f": lambda ds: ds.u[..., 0, 0] + ds.w[..., 0, 0]})
    assert plane.section(compared, Context()) is None

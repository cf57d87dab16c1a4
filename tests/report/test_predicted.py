"""Predictions of a test set in a comparison: findings, what a run is good for, the record and the page."""

import json
from dataclasses import replace
from importlib.resources import files

import jsonschema
import numpy as np
import pytest

import sgdvi
from sgdvi.draws.tree import make_tree, with_group
from sgdvi.report import as_text, read_record, render_page
from sgdvi.report.context import Context
from sgdvi.report.record import write_record

POINTS, CLASSES = 12, 3


@pytest.fixture(scope="module")
def compared():
    rng = np.random.default_rng(0)
    levels = rng.normal(size=(POINTS, CLASSES))
    shift = np.where(np.arange(POINTS) < 4, 1.5, 0.0)[:, None] * np.eye(CLASSES)[1]
    runs = {}
    for name, moved in (("SGD", shift), ("SWAG", 0.0), ("NUTS", 0.0)):
        w = rng.normal(size=(4, 200))
        logits = levels + moved + 0.3 * w[..., None, None] * levels[::-1]
        p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        runs[name] = with_group(make_tree({"w": w}, kind=name.lower()), "predictions", {"p": p}, draws=True)
    return sgdvi.compare(runs, functionals={"w": lambda ds: ds.w}, observed=levels.argmax(1))


def found(compared, check):
    return {finding.run: finding for finding in compared.findings if finding.check == check}


def test_the_column_of_predictions_is_answered_by_the_test_points(compared):
    points = found(compared, "predictive.points")
    assert points["SGD"].status is sgdvi.Status.FAIL
    assert points["SGD"].value == pytest.approx(4 / POINTS)
    assert points["SGD"].details["not"] == 4
    assert points["SWAG"].status is sgdvi.Status.PASS
    assert "NUTS" not in points
    assert set(found(compared, "predictive.calibration")) == {"SGD", "SWAG", "NUTS"}
    assert compared.verdict.uses["predictions"] is sgdvi.Status.FAIL
    assert compared.verdict.status is sgdvi.Status.FAIL
    words = "No: SGD does not predict the test set as the posterior does: 4 of the 12 test points"
    assert compared.verdict.sentence.startswith(words)
    assert "On w it matches the posterior" in compared.verdict.sentence
    lines = {line.split()[0]: line.split() for line in as_text(compared, verbose=False).splitlines() if line}
    column = lines["good"].index("predictions") - 1  # "good for" are two words
    assert (lines["SGD"][column], lines["SWAG"][column]) == ("no", "yes")


def test_record_and_page_say_the_same_after_reading(compared, tmp_path):
    write_record(compared, Context(), tmp_path)
    record, context = read_record(tmp_path)
    entry = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    schema = files("sgdvi.report").joinpath("assets/report.schema.json").read_text(encoding="utf-8")
    jsonschema.validate(entry, json.loads(schema))
    assert record.predictions.to_dict() == compared.predictions.to_dict()
    page = render_page(record, context)
    section = page.split('<section id="predictions"')[1].split("</section>")[0]
    assert section.count("<figure>") == 2
    assert "4 of the 12 test points are not predicted by SGD as by NUTS" in section
    worst = section.split("that SGD predicts worst and best")[1].split("</table>")[0]
    assert {int(row.split("<")[0]) for row in worst.split('<th scope="row">')[1:5]} == {0, 1, 2, 3}
    assert '<section id="predictions"' not in render_page(replace(record, predictions=None), context)


def test_predictions_of_a_comparison_may_be_arrays_or_named():
    rng = np.random.default_rng(1)
    p = rng.dirichlet(np.ones(2), (2, 2, 30, 5))
    draws = {name: {"w": rng.normal(size=(2, 30)), "p": p[k]} for k, name in enumerate(("a", "b"))}
    options = {"reference": "b", "functionals": {"w": lambda ds: ds.w}}
    named = sgdvi.compare(draws, predictions="p", **options).predictions
    given = sgdvi.compare(draws, predictions={"a": p[0], "b": p[1]}, **options).predictions
    assert np.array_equal(named.runs["a"].distance, given.runs["a"].distance)
    assert not named.observed
    with pytest.raises(sgdvi.InputError, match="predictions must be of the runs"):
        sgdvi.compare(draws, predictions={"c": p[0]}, **options)
    with pytest.raises(sgdvi.InputError, match="need runs that hold some"):
        sgdvi.compare(draws, observed=np.zeros(5), **options)


def test_predictions_that_nobody_asked_for_do_not_keep_the_rest_from_being_compared():
    values = np.random.default_rng(0).normal(size=(4, 100))
    one, four = (
        with_group(
            make_tree({"a": values[:chains]}, kind=""), "predictions", {"a": values[:chains, :, None]}, draws=True
        )
        for chains in (1, 4)
    )
    with pytest.warns(UserWarning, match="'predictions' of the runs is left out"):
        assert sgdvi.compare({"one": one, "NUTS": four}, reference="NUTS").predictions is None

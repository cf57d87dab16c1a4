"""The record: valid by its schema, complete to the last number on the page, and enough to render the page again."""

import json
import math
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import jsonschema
import numpy as np
import numpyro.distributions as dist
import pytest
from page_reader import Reader

from sgdvi import compare
from sgdvi._internal.check import InputError
from sgdvi._internal.text import typeset
from sgdvi.cli import main
from sgdvi.comparison import Comparison
from sgdvi.diagnostics import TABLE, Thresholds
from sgdvi.draws import load
from sgdvi.report import Context, page, read_record, render_page, render_pages, write_page, write_record
from sgdvi.report._format import seconds
from sgdvi.report.cite import bibtex, methods

ASSETS = Path(page.__file__).parent / "assets"
TOKEN = re.compile(r"[−-]?\d(?:[\d\u202f,]*\d)?(?:\.\d+)?(?:[\u00a0 ]×[\u00a0 ]10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+|e[+-]?\d+)?")


@pytest.fixture(scope="module")
def folder(comparison, context, tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("saved")
    write_record(comparison, context, target)
    return target


@pytest.fixture(scope="module")
def record(folder) -> dict:
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


def test_the_record_keeps_to_its_schema(record, comparison, many, collapsed):
    schema = json.loads((ASSETS / "report.schema.json").read_text(encoding="utf-8"))
    check = jsonschema.Draft202012Validator(schema)
    check.check_schema(schema)
    for each in (record, *(json.loads(json.dumps(c.to_dict())) for c in (comparison, many, collapsed))):
        check.validate(each)
    for change in ({"schema_version": 1}, {"verdict": {"status": "good"}}, {"more": 1}, {"findings": [{}]}):
        assert not check.is_valid({**record, **change}), change


def test_the_same_bytes_again_from_the_folder(folder, tmp_path):
    first = render_page(*read_record(folder))
    write_record(*read_record(folder), tmp_path)  # a second generation
    assert render_page(*read_record(tmp_path)) == first


def test_what_is_read_is_what_was_written(folder, comparison, context):
    stored, around = read_record(folder)
    assert around == context
    assert stored.findings == comparison.findings
    assert stored.verdict == comparison.verdict
    for run, values in comparison.values.items():
        np.testing.assert_array_equal(stored.values[run]["v"], values["v"])
    assert not isinstance(stored, Comparison)
    assert stored.kinds == comparison.kinds
    for run, pair in comparison.factors.items():
        np.testing.assert_array_equal(stored.factors[run], pair)
    for law, drawn in comparison.laws.items():
        np.testing.assert_array_equal(stored.laws[law].curves["v"].density, drawn.curves["v"].density)


def test_only_a_page_asks_laws_for_their_curves(tmp_path, undrawn):
    asked = []

    class Counted(dist.Normal):
        def cdf(self, value):
            asked.append(jnp.asarray(value).dtype)
            return super().cdf(value)

    rng = np.random.default_rng(0)
    runs = {"SGD": {"v": rng.normal(size=(4, 300))}, "law": Counted(0.0, 1.0), "NUTS": {"v": rng.normal(size=(4, 300))}}
    compared = compare(runs)
    assert str(compared)
    compared.to_json(tmp_path / "report.json")
    assert not asked
    compared.to_html(tmp_path / "page.html")
    write_record(compared, Context(), tmp_path)
    assert asked == [np.float64]


def test_a_second_generation_says_the_same(comparison, context, tmp_path):
    linear = replace(comparison, network={"depth": 1, "temperature": math.inf})
    write_record(linear, context, tmp_path)
    assert read_record(tmp_path)[0].to_dict() == linear.to_dict()


def test_draws_are_kept_whole_where_they_are_given(comparison, context, tmp_path, undrawn):
    tree = comparison.runs["SGD"]
    write_record(comparison, context, tmp_path, {"SGD": tree})
    kept = load(tmp_path)
    assert kept["SGD"]["posterior"].identical(tree["posterior"])
    assert "chain_status" in kept["SGD"].children
    assert set(kept["NUTS"].children) == {"posterior", "functionals"}
    assert render_page(*read_record(tmp_path)) == render_page(comparison, context)


def written(value: object) -> set[str]:
    """Every way in which the page may write what the record holds."""
    if isinstance(value, dict):
        return set().union(*(written(item) for pair in value.items() for item in pair), {str(len(value))})
    if isinstance(value, list):
        return set().union(*map(written, value), {str(len(value))})
    if isinstance(value, bool) or value is None:
        return set()
    if isinstance(value, str):
        return set(TOKEN.findall(value))
    texts = [typeset(value, digits) for digits in (2, 3, 4)] + [seconds(value)]
    return {token for text in texts for token in TOKEN.findall(text)}


def unexplained(text: str, record: dict) -> set[str]:
    """Numbers on the page that neither the record nor the fixed words of the report hold."""
    sources = [*Path(page.__file__).parent.glob("**/*.py"), *Path(page.__file__).parent.glob("templates/*.html")]
    fixed = " ".join(path.read_text(encoding="utf-8") for path in sources) + " ".join(Thresholds.sources().values())
    findings = record["findings"]
    questions = {check.id: check.question for check in TABLE}
    # "5 fail", "12 pass" under one question of the verdict, one line for all runs of a reason
    each = Counter(finding["status"] for finding in findings)
    each += Counter((questions[finding["check"]], finding["status"]) for finding in findings)
    idle = {(finding["title"], finding["meaning"]) for finding in findings if finding["status"] == "not-applicable"}
    counts = {str(count) for count in (*each.values(), len(idle))}
    return {token for token in TOKEN.findall(text)} - written(record) - set(TOKEN.findall(fixed)) - counts


@pytest.mark.parametrize("case", ["comparison", "many", "collapsed"])
def test_every_number_on_the_page_is_in_the_record(case, request, context, tmp_path, undrawn):
    write_record(request.getfixturevalue(case), context, tmp_path)
    record = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    reader = Reader(render_page(*read_record(tmp_path)))
    text = f"{reader.text} {' '.join(reader.values('alt'))} {' '.join(reader.values('title'))}"
    assert len(TOKEN.findall(text)) > 200
    assert not unexplained(text, record)
    changed = {**record, "summaries": {}, "findings": []}
    assert len(unexplained(text, changed)) > 20  # the test sees what is missing


def test_several_models_on_one_page(comparison, context, many, collapsed, undrawn):
    text = render_pages([(comparison, context), (many, Context()), (collapsed, Context())])
    reader = Reader(text)
    ids = reader.values("id")
    assert len(ids) == len(set(ids))
    assert {link.removeprefix("#") for link in reader.values("href", "a")} <= set(ids)
    for part in (comparison, many, collapsed):
        assert part.verdict.sentence in " ".join(reader.text.split())
    assert "<script>" not in text
    assert render_pages([(comparison, context)]) == render_page(comparison, context)


@pytest.mark.slow
def test_the_command_renders_again(folder, tmp_path, capsys, undrawn):
    rendered = render_page(*read_record(folder))
    assert main(["report", str(folder)]) == 0
    printed = Path(capsys.readouterr().out.strip())
    assert printed == folder / "report.html"
    assert printed.read_text(encoding="utf-8") == rendered
    assert main(["report", str(folder)]) == 0
    assert printed.read_text(encoding="utf-8") == rendered
    assert main(["report", str(folder), str(folder), "--out", str(tmp_path / "two.html")]) == 0
    assert "2 models" in (tmp_path / "two.html").read_text(encoding="utf-8")
    capsys.readouterr()
    for arguments, words in (
        ([str(folder), str(folder)], "--out"),
        ([str(tmp_path)], "must hold report.json"),
        ([str(folder), "--out", str(tmp_path / "no" / "page.html")], "writable"),
    ):
        assert main(["report", *arguments]) == 2
        assert words in capsys.readouterr().err


def test_records_that_cannot_be_read_are_refused(folder, record, tmp_path):
    for text, words in (
        ("{", "report in JSON"),
        ("[" * 100_000, "must be a folder with a report"),
        (json.dumps({**record, "reference": "VI"}), "report.json, which is not as it was written"),
        ("[]", "must be a report"),
        (json.dumps({**record, "schema_version": 99}), "schema version"),
        (json.dumps({key: value for key, value in record.items() if key != "laws"}), "whole report"),
    ):
        (tmp_path / "report.json").write_text(text)
        (tmp_path / "draws.nc").write_bytes((folder / "draws.nc").read_bytes())
        with pytest.raises(InputError, match=words):
            read_record(tmp_path)


def test_a_large_page_is_written_with_a_warning(tmp_path):
    with pytest.warns(UserWarning, match=r"3\.1 MB"):
        write_page("é" * 1_550_000, tmp_path / "large.html")
    assert (tmp_path / "large.html").stat().st_size == 3_100_000


def test_what_was_used_is_cited_and_nothing_else(comparison, many):
    keys = set(re.findall(r"@\w+\{(\w+),", bibtex(comparison)))
    assert {"mandt2017stochastic", "hoffman2014nuts", "vehtari2021rank", "kucukelbir2017automatic"} <= keys
    assert "margossian2024nested" not in keys
    assert "kucukelbir2017automatic" not in bibtex(many)
    found = methods(comparison)
    assert len(found["references"]) == len(keys)
    places = {int(place) for place in re.findall(r"\[(\d+)\]", found["text"])}
    assert places <= set(range(1, len(keys) + 1))
    assert bibtex(comparison).count("{") == bibtex(comparison).count("}")


def test_changed_thresholds_are_marked(comparison, undrawn):
    text = render_page(replace(comparison, thresholds=Thresholds.make({"rhat_warn": 1.07})))
    assert "1.07 (changed)" in text
    assert "Vehtari, Gelman, Simpson" in text

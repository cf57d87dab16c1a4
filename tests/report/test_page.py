"""The page as a whole: self-contained, linked, safe, the same bytes twice."""

import base64
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from page_reader import Reader

from sgdvi import compare
from sgdvi._internal import files
from sgdvi._internal.check import InputError
from sgdvi._internal.style import figure
from sgdvi._internal.style.palette import DARK, LIGHT, run_colors
from sgdvi.diagnostics import Status
from sgdvi.draws import make_tree
from sgdvi.plots import plot_forest
from sgdvi.report import Card, Context, Setting, as_text, figures, page, render_page, write_html
from sgdvi.report._format import WORDS
from sgdvi.report._render import stylesheet
from sgdvi.report.sections.verdict import split

MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def text(comparison, context) -> str:
    return render_page(comparison, context)


@pytest.fixture(scope="module")
def reader(text) -> Reader:
    return Reader(text)


def test_the_page_needs_no_script_and_nothing_from_outside(text, reader):
    assert not [tag for tag, _ in reader.tags if tag in ("script", "link", "iframe", "object")]
    assert not [name for _, attrs in reader.tags for name in attrs if name.startswith("on")]
    for name in ("src", "srcset"):
        assert all(value.startswith("data:image/") for value in reader.values(name))
    assert "url(" not in stylesheet()
    assert "@import" not in stylesheet()
    assert len(text) < MEGABYTE


def test_every_link_leads_to_a_place_on_the_page_and_ids_are_unique(reader):
    ids = reader.values("id")
    assert len(ids) == len(set(ids))
    links = reader.values("href", "a")
    assert links
    assert {link.removeprefix("#") for link in links} <= set(ids)


def test_every_cell_of_the_status_table_leads_to_its_check(comparison, reader):
    cells = [attrs for tag, attrs in reader.tags if tag == "a" and "cell" in (attrs.get("class") or "")]
    applying = {finding.check for finding in comparison.findings if finding.status is not Status.NOT_APPLICABLE}
    pairs = {(finding.check, finding.run) for finding in comparison.findings if finding.check in applying}
    assert len([cell for cell in cells if cell["href"] != "#setup"]) == len(pairs)


def test_every_figure_has_a_light_and_a_dark_variant_words_and_a_size(reader):
    images, sources = (
        [attrs for tag, attrs in reader.tags if tag == "img" and attrs["class"] == theme] for theme in ("light", "dark")
    )
    assert len(images) == len(sources) >= 7
    for image, source in zip(images, sources, strict=True):
        assert len(image["alt"] or "") > 30
        assert image["alt"] == source["alt"]
        assert int(image["width"] or 0) > 300
        assert image["src"] != source["src"]
    # the runs, too, are drawn in the colours of the page
    drawn = [base64.b64decode(uri.split(",")[1]).decode() for uri in (images[0]["src"], sources[0]["src"])]
    for svg, theme, other in zip(drawn, (LIGHT, DARK), (DARK, LIGHT), strict=True):
        assert run_colors(theme)["SGD"] in svg
        assert run_colors(other)["SGD"] not in svg


def test_the_page_can_be_read_without_a_mouse_or_a_view_of_it(reader):
    assert [attrs.get("lang") for tag, attrs in reader.tags if tag == "html"] == ["en"]
    levels = [int(tag[1]) for tag, _ in reader.tags if tag in ("h1", "h2", "h3")]
    assert levels.count(1) == 1
    assert all(below <= above + 1 for above, below in pairwise([0, *levels]))
    scrolling = [attrs for _, attrs in reader.tags if attrs.get("class") == "scroll"]
    assert len(scrolling) >= 2
    for attrs in scrolling:  # the arrow keys scroll what can be focused, and a region is announced by its name
        assert (attrs["role"], attrs["tabindex"]) == ("region", "0")
        assert len(attrs["aria-label"] or "") > 5
    assert {attrs.get("scope") for tag, attrs in reader.tags if tag == "th"} == {"col", "row"}


def test_no_status_is_told_by_its_colour_alone(text):
    cells = re.findall(r'<a [^>]*class="cell ([\w-]+)"[^>]*>(.*?)</a>', text, re.DOTALL)
    chips = re.findall(r'<span class="chip ([\w-]+)">(?:<span [^>]*>[^<]*</span>)?([^<]*)</span>', text)
    assert {"pass", "fail", "warn"} <= {status for status, _ in (*cells, *chips)}
    for status, inner in cells:
        assert f'<span class="word">{WORDS[Status(status)]}</span>' in inner or "not run" in inner
    assert all(label.strip() for _, label in chips)


def test_the_sheet_has_a_ring_for_the_keyboard_a_dark_page_and_one_for_print():
    sheet = stylesheet()
    (ringed,) = re.findall(r"^(.*:focus-visible) \{ outline: 2px solid", sheet, re.MULTILINE)
    assert {part.split(":")[0] for part in ringed.split(", ")} == {"a", "summary", ".scroll"}
    for medium in ("@media screen and (prefers-color-scheme: dark) {", "@media print {"):
        assert sheet.count(medium) == 1


def test_text_of_the_user_never_becomes_markup(text):
    assert "<script>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<b>markup" not in text
    assert "<i>given" not in text


def test_the_title_tells_one_depth_from_another(context):
    deep = replace(context, problem=Card("diabetes"), settings=(Setting("depth", "2"), *context.settings))
    assert (deep.title, context.title, Context().title) == ("diabetes, depth 2", context.problem.name, "comparison")


def test_verdict_reasons_and_settings_are_on_the_page(comparison, reader):
    words = " ".join(reader.text.split())
    answer, why, _ = split(comparison)
    assert f"{answer} {why}" in words
    assert answer[:-1] in comparison.verdict.sentence
    assert why[1:] in comparison.verdict.sentence
    for finding in comparison.findings:
        assert " ".join(finding.meaning.split()) in words
    for sentence in {text for text in re.split(r"(?<=\.) ", words) if len(text) > 60}:
        assert words.count(sentence) == 1, sentence
    for part in (
        "learning rate",
        "the prior is improper",
        "sgdvi compare '<x>'",
        "Glossary",
        "arXiv:1912.11554",
        "BibTeX",
    ):
        assert part in words


def test_the_answer_its_cause_and_a_command_come_first(three):
    words = Reader(render_page(*three)).text.split()
    start = " ".join(words[words.index("Is") :][:60])
    assert "No: on b, SGD is not the posterior" in start
    assert "spread is" in start
    assert "sgdvi compare mine.py --steps 1000 --remedies --out sgdvi-mine-remedies" in start


def test_the_terminal_says_the_same_on_a_screen_of_forty_lines(three, many, throng):
    for record, context in (three, (many, None), (throng, three[1])):
        text = as_text(record, context, verbose=False)
        assert len(text.splitlines()) <= 36
        assert " ".join(text.split()).startswith(record.verdict.sentence)
    text = as_text(*three, verbose=False)
    assert re.search(r"SGD +yes +no +no +unknown", text)
    assert "sgdvi compare mine.py --steps 1000 --remedies" in text
    assert len(as_text(*three).splitlines()) > 40


def test_the_forest_is_drawn_on_axes_of_ones_own(three):
    axes = Figure().subplots()
    assert plot_forest(three[0], ["b"], ax=axes) is axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["b"]
    assert {text.get_text() for text in axes.get_legend().get_texts()} == {"SGD", "mean-field VI"}
    markers = [line for line in axes.get_lines() if line.get_marker() == "o" and len(line.get_xdata())]
    assert abs(float(markers[0].get_xdata()[0])) < 0.2
    with pytest.raises(InputError, match="among those compared"):
        plot_forest(three[0], ["nothing"])


def test_a_run_with_a_visible_deviation_is_no_plain_yes():
    rng = np.random.default_rng(8)
    scales = {"SGD": ("sgd", 1.0), "NUTS": ("nuts", 1.0), "mean-field VI": ("vi", 1 / 1.48)}
    runs = {
        name: make_tree({"a": rng.normal(0, scale, (4, 2000))}, kind=kind) for name, (kind, scale) in scales.items()
    }
    record = compare(runs, functionals={"a": lambda ds: ds["a"]})
    assert re.search(r"mean-field VI +yes +(roughly|no) ", as_text(record, verbose=False))
    assert "intervals yes" not in record._repr_html_().split("mean-field VI")[-1]
    assert "SGD" in repr(record)
    assert len(repr(record)) < 300
    assert repr(record.verdict).startswith("<Verdict pass: Yes")
    assert record.verdict.sentence[:20] in record.verdict._repr_html_()


def test_the_first_screen_is_in_its_order(three):
    text = render_page(*three)
    places = [
        text.index(part) for part in ('class="sentence"', 'class="why"', "<figure>", 'class="use"', 'class="actions"')
    ]
    places.append(text.index('class="counts"'))
    assert places == sorted(places)
    assert text.count("Mean and 5") == 1 + 2 * 1  # a caption, and an alternative text for each theme


@pytest.mark.slow
def test_many_functionals_and_runs_stay_below_a_megabyte(forty):
    text = render_page(forty)
    assert len(text) < MEGABYTE
    reader = Reader(text)
    assert len(reader.values("id")) == len(set(reader.values("id")))
    assert "40 functionals in one figure" in reader.text


@pytest.mark.slow
def test_the_same_input_gives_the_same_bytes(comparison, context, text):
    assert render_page(comparison, context) == text


def test_a_comparison_alone_makes_a_page(many, tmp_path):
    path = write_html(many, tmp_path / "page.html")
    reader = Reader(path.read_text(encoding="utf-8"))
    assert path.stat().st_size < MEGABYTE
    assert "What was run" not in reader.text
    assert "12 functionals" in reader.text
    assert "The two factors" not in reader.text


def test_clouds_of_points_stay_small(crowd):
    drawn = figure.picture(lambda theme: figures.plane(crowd, theme, 0.6), "", "")
    assert len(drawn.light) + len(drawn.dark) < 0.15 * MEGABYTE


@pytest.mark.slow
def test_a_page_of_many_runs_stays_small(crowd, context):
    assert len(render_page(crowd, context)) < 0.75 * MEGABYTE


def test_nan_draws_and_collapse_are_drawn(collapsed):
    reader = Reader(render_page(collapsed))
    assert "a steady fall is collapse" in reader.text
    assert "nan" not in [value.lower() for value in reader.values("alt")]


def test_a_page_that_fails_leaves_no_file(comparison, tmp_path, monkeypatch):
    monkeypatch.setattr(files.os, "replace", lambda *paths: (_ for _ in ()).throw(OSError("full")))
    monkeypatch.setattr(page, "SECTIONS", ())
    with pytest.raises(InputError, match="full"):
        write_html(comparison, tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []


def test_the_user_s_matplotlib_settings_neither_matter_nor_change(comparison, tmp_path):
    import matplotlib

    values = comparison.values["SGD"]["v"]
    plain = figure.picture(lambda theme: figures.trace(values, "v", theme), "", "")
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red"}):
        assert figure.picture(lambda theme: figures.trace(values, "v", theme), "", "") == plain
        assert matplotlib.rcParams["font.size"] == 30


def numbered(svg: str) -> str:
    """Return an SVG with its ids, which are hashes of colours too, by their order."""
    ids = list(dict.fromkeys(re.findall(r' id="([^"]*)"', svg)))
    return re.sub(r'( id="|="#|url\(#)([^")]*)', lambda match: f"{match[1]}{ids.index(match[2])}", svg)


def test_dark_figures_are_light_ones_in_other_colours(comparison, forty, monkeypatch):
    quick, drawn = [], []
    recolor, draw = figure.recolored, figure._drawn
    monkeypatch.setattr(figure, "recolored", lambda svg: quick.append(recolor(svg)))
    monkeypatch.setattr(figure, "_drawn", lambda *arguments: drawn.append(draw(*arguments)) or drawn[-1])
    render_page(comparison)
    names = list(forty.functionals)[:3]
    figure.picture(lambda theme: figures.forest(forty, names, theme), "", "")
    dark = [svg for svg, _ in drawn[1::2]]
    assert sum(one is not None for one in quick) >= 6
    for one, other in zip(quick, dark, strict=True):
        assert one is None or numbered(one) == numbered(other)
        assert (one is None) == ("<image" in other)
    assert recolor('<path style="fill: #123456"/>') is None


def test_colours_of_text_have_contrast_on_both_pages():
    sheet = stylesheet()
    light, dark = re.findall(r":root \{(.*?)\}", sheet, flags=re.DOTALL)
    for block in (light, dark):
        colors = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block))
        for name in ("ink", "muted", "link", "pass", "warn", "fail", "unknown"):
            background = colors.get(f"{name}-bg", colors["page"])
            assert contrast(colors[name], background) >= 4.5, (name, colors[name], background)


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def luminance(color: str) -> float:
    channels = [int(color[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_assets_and_templates_are_in_the_package():
    folder = Path(page.__file__).parent
    assert (folder / "assets/page.css").is_file()
    assert (Path(figure.__file__).parent / "assets/sgdvi.mplstyle").is_file()
    assert len(list((folder / "templates").glob("*.html"))) >= 8

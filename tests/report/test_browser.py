"""The page in a real browser: at 1280 and 400 pixels, light and dark, and on paper, where nothing sticks out."""

import json
import re
import subprocess
from html import escape
from pathlib import Path

import matplotlib.image
import numpy as np
import pypdfium2
import pytest

from sgdvi.diagnostics import Status
from sgdvi.report import render_page, write_html

pytestmark = pytest.mark.browser
HEIGHT = 1600


def browse(chromium: str, page: Path, dark: bool, folder: Path, *options: str) -> str:
    fixed = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    fixed += [f"--user-data-dir={folder / 'profile'}", f"--blink-settings=preferredColorScheme={0 if dark else 1}"]
    ran = subprocess.run([chromium, *fixed, *options, page.as_uri()], check=True, capture_output=True, timeout=60)
    return ran.stdout.decode("utf-8")


def screenshot(chromium: str, page: Path, width: int, dark: bool, folder: Path) -> np.ndarray:
    target = folder / "shot.png"
    browse(
        chromium, page, dark, folder, "--hide-scrollbars", f"--window-size={width},{HEIGHT}", f"--screenshot={target}"
    )
    return matplotlib.image.imread(target)[..., :3]


@pytest.fixture(scope="module")
def page(comparison, context, tmp_path_factory) -> Path:
    return write_html(comparison, tmp_path_factory.mktemp("page") / "report.html", context)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_renders(chromium, page, tmp_path, dark):
    # Chromium has a smallest window width, and takes long to start: both widths in frames beside each other
    frame = tmp_path / "frame.html"
    frames = "".join(
        f'<iframe src="{page.as_uri()}" style="width:{width}px;height:{HEIGHT}px;border:0"></iframe>'
        for width in (1280, 400)
    )
    frame.write_text(f'<body style="margin:0;display:flex">{frames}</body>')
    both = screenshot(chromium, frame, 1680, dark, tmp_path)
    for image in (both[:, :1280], both[:, 1280:]):
        corner = image[5, 5].mean()
        assert corner < 0.2 if dark else corner > 0.9
        assert image.std() > 0.02
        # the margin on the right is empty everywhere: nothing is wider than the page
        margin = image[:, -8:]
        assert np.abs(margin - image[5, 5]).max() < 0.02


_MEASURE = """
<script>
addEventListener("load", () => {
  const measured = [...document.querySelectorAll("iframe")].map(frame => {
    const page = frame.contentDocument;
    const bottom = name => page.querySelector(name)?.getBoundingClientRect().bottom ?? 0;
    const ends = [".sentence", "figure", ".use", ".actions", ".counts"].map(bottom);
    const ids = [...page.querySelectorAll("[id]")].map(one => one.id);
    const measured = {ends, height: page.documentElement.scrollHeight, twice: ids.length - new Set(ids).size};
    page.querySelectorAll("details").forEach(one => one.open = true);
    return {...measured, width: page.documentElement.scrollWidth};
  });
  document.body.textContent = JSON.stringify(measured);
});
</script>"""


def measured(chromium: str, text: str, widths: list[int], folder: Path) -> list[dict]:
    """Return of each width where the first screen ends, the height when folded and the width when all is open."""
    frame = folder / "measure.html"
    frames = "".join(
        f'<iframe srcdoc="{escape(text)}" style="width:{width}px;height:900px;border:0"></iframe>' for width in widths
    )
    frame.write_text(f"<body>{frames}{_MEASURE}", encoding="utf-8")
    options = ["--window-size=1400,1000", "--dump-dom", "--virtual-time-budget=10000"]
    page = browse(chromium, frame, False, folder, *options)
    return json.loads(re.search(r"<body>(\[.*?\])</body>", page)[1])


def test_the_first_screen_ends_above_the_fold(chromium, three, tmp_path):
    [found] = measured(chromium, render_page(*three), [1280], tmp_path)
    assert max(found["ends"]) <= 900
    assert min(found["ends"]) > 0
    assert found["twice"] == 0


@pytest.mark.slow
def test_a_page_of_forty_functionals_is_short_when_folded_and_fits_a_phone(chromium, forty, tmp_path):
    wide, narrow = measured(chromium, render_page(forty), [1280, 400], tmp_path)
    assert wide["height"] < 6000
    assert wide["ends"][-1] < wide["ends"][1] < 1000  # what to do and the counts stand beside a high figure
    assert narrow["width"] <= 400


def printed(chromium: str, page: Path, dark: bool, folder: Path) -> pypdfium2.PdfDocument:
    target = folder / "report.pdf"
    browse(chromium, page, dark, folder, "--no-pdf-header-footer", f"--print-to-pdf={target}")
    return pypdfium2.PdfDocument(target)


def folded(comparison) -> list[str]:
    """Return the beginnings of what is said of checks that pass or do not apply."""
    shut = (Status.PASS, Status.NOT_APPLICABLE)
    return [finding.meaning[:40] for finding in comparison.findings if finding.status in shut]


@pytest.mark.slow
def test_the_page_prints_in_light_whatever_the_screen_is(chromium, page, comparison, tmp_path):
    text, sheets = "", []
    for dark in (False, True):
        with printed(chromium, page, dark, tmp_path) as paper:
            sheets.append([sheet.render(scale=1).to_numpy() for sheet in paper])
            text = "".join(sheet.get_textpage().get_text_range() + "\n" for sheet in paper)
    assert 3 <= len(sheets[0]) <= 20
    for light, dark in zip(*sheets, strict=True):
        np.testing.assert_array_equal(light, dark)
        # nothing runs over the edge, and no sheet is left all but empty
        assert min(edge.min() for edge in (light[:, :20], light[:, -20:], light[:20], light[-20:])) == 255
        assert np.median(light) == 255
        assert (light.min(-1) < 204).mean() > 0.003
    headings = re.findall(r"<h2[^>]*>([^<]+)</h2>", page.read_text(encoding="utf-8"))
    assert len(headings) > 5
    assert [heading for heading in headings if heading not in " ".join(text.split())] == []
    # what is folded on the screen is open on paper: thresholds, references, checks that pass and that do not apply
    paper = re.sub(r"\s", "", text)
    for name in ("rhat_warn", "@article", *folded(comparison)):
        assert re.sub(r"\s", "", name) in paper


@pytest.mark.slow
def test_wide_tables_are_whole_on_paper(chromium, throng, undrawn, tmp_path):
    with printed(chromium, write_html(throng, tmp_path / "report.html"), False, tmp_path) as paper:
        margin, (width, _) = 35, paper[0].get_size()
        text, heights = "", []
        for sheet in paper:
            letters = sheet.get_textpage()
            text += letters.get_text_range() + "\n"
            boxes = np.array([letters.get_charbox(k) for k in range(letters.count_chars())])
            assert boxes[:, 0].min() > margin
            assert boxes[:, 2].max() < width - margin
            heights.append(np.max(boxes[:, 3] - boxes[:, 1]))
    # too wide a page is printed in small letters: those of the title have 10.4 points
    assert heights[0] > 10
    # the last column is there wherever the first one is
    text = " ".join(text.split())
    assert text.count("remedy 9") == text.count("remedy 0") > 10

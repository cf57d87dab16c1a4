"""The page in a real browser: it renders at 1280 and 400 pixels, light and dark, and nothing sticks out."""

import subprocess
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from sgdvi.report import write_html

pytestmark = pytest.mark.browser
HEIGHT = 1600


def screenshot(chromium: str, page: Path, width: int, dark: bool, folder: Path) -> np.ndarray:
    target = folder / "shot.png"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--hide-scrollbars"]
    options += [f"--user-data-dir={folder / 'profile'}", f"--window-size={width},{HEIGHT}"]
    options += [f"--blink-settings=preferredColorScheme={0 if dark else 1}", f"--screenshot={target}"]
    subprocess.run([chromium, *options, page.as_uri()], check=True, capture_output=True, timeout=60)
    return matplotlib.image.imread(target)[..., :3]


@pytest.fixture(scope="module")
def page(comparison, context, tmp_path_factory) -> Path:
    return write_html(comparison, tmp_path_factory.mktemp("page") / "report.html", context)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_renders(chromium, page, tmp_path, width, dark):
    # Chromium has a smallest window width: the narrow page is shown in a frame
    frame = tmp_path / "frame.html"
    style = f"width:{width}px;height:{HEIGHT}px;border:0;display:block"
    frame.write_text(f'<body style="margin:0"><iframe src="{page.as_uri()}" style="{style}"></iframe></body>')
    image = screenshot(chromium, frame, max(width, 500), dark, tmp_path)[:, :width]
    corner = image[5, 5].mean()
    assert corner < 0.2 if dark else corner > 0.9
    assert image.std() > 0.02
    # the margin on the right is empty everywhere: nothing is wider than the page
    margin = image[:, -8:]
    assert np.abs(margin - image[5, 5]).max() < 0.02

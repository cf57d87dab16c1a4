"""Make the pictures of reports in docs/_static/screens: five reports at 1280 and 400 pixels, light and dark.

    python docs/make_screens.py FOLDER

runs what is not in FOLDER yet (an hour on two cores) and draws all of it; needs Chromium on the path.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

HERE = Path(__file__).parent
TARGET = HERE / "_static" / "screens"
ALL = "plain,scaled,whitened,mandt,completed,sgld", "NUTS,mean-field,full-rank,low-rank,Laplace,Pathfinder,IAF"
SHORT = ["--steps", "4000", "--nuts-draws", "500"]
# Name of the picture -> arguments of `sgdvi compare`.
REPORTS = {
    "diabetes": ["diabetes"],
    "logistic": ["logistic"],
    "classes": ["docs/classes.py", *SHORT],
    "thirteen": ["logistic", "--algorithms", ALL[0], "--references", ALL[1], *SHORT],
    "failing": ["weak-signal", "--temperature", "2Tc", "--steps", "20000", "--nuts-draws", "500"],
}
WIDTHS, HEIGHT = (1280, 400), 900
# Chromium has a smallest width: a narrower page is shown in a frame.
SMALLEST, COLORS = 500, 256


def main() -> None:
    """Run, draw and pack."""
    folder = Path(sys.argv[1])
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    TARGET.mkdir(exist_ok=True)
    for name, arguments in REPORTS.items():
        page = (folder / name / "report.html").absolute()
        if not page.exists():
            subprocess.run(["sgdvi", "compare", *arguments, "--out", str(page.parent)], check=True, cwd=HERE.parent)
        for width in WIDTHS:
            for dark in (False, True):
                draw(browser, page, width, dark, TARGET / f"{name}-{width}-{'dark' if dark else 'light'}.png")


def draw(browser: str, page: Path, width: int, dark: bool, target: Path) -> None:
    """Write the first screen of a page as a PNG of few colours."""
    with tempfile.TemporaryDirectory() as place:
        frame, shot = Path(place) / "frame.html", Path(place) / "shot.png"
        style = f"width:{width}px;height:{HEIGHT}px;border:0;display:block"
        frame.write_text(f'<body style="margin:0"><iframe src="{page.as_uri()}" style="{style}"></iframe>', "utf-8")
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        options += [f"--user-data-dir={place}/profile", f"--blink-settings=preferredColorScheme={0 if dark else 1}"]
        options += ["--hide-scrollbars", f"--window-size={max(width, SMALLEST)},{HEIGHT}", f"--screenshot={shot}"]
        subprocess.run([browser, *options, frame.as_uri()], check=True, capture_output=True, timeout=120)
        with Image.open(shot) as image:
            image.crop((0, 0, width, HEIGHT)).convert("RGB").quantize(COLORS).save(target, optimize=True)


if __name__ == "__main__":
    main()

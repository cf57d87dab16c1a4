"""Count the printed pages of the notebooks in the built docs; status 1 where one has eight or more.

    sphinx-build docs docs/_build/html && python docs/count_pages.py docs/_build/html

Needs Chromium on the path.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pypdfium2

MOST = 7


def count(browser: str, page: Path) -> int:
    """Return the number of sheets of A4 that a page prints on, without sidebars."""
    with tempfile.TemporaryDirectory() as place:
        target = Path(place) / "page.pdf"
        options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={place}/profile"]
        options += ["--no-pdf-header-footer", f"--print-to-pdf={target}"]
        subprocess.run([browser, *options, page.as_uri()], check=True, capture_output=True, timeout=120)
        with pypdfium2.PdfDocument(target) as sheets:
            return len(sheets)


def main() -> int:
    """Print the counts."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    pages = sorted(Path(sys.argv[1]).absolute().glob("notebooks/[0-9]*.html"))
    counts = {page.stem: count(browser, page) for page in pages}
    for name, number in counts.items():
        print(f"{number:3d}  {name}{'  too long' if number > MOST else ''}")
    return int(not counts or max(counts.values()) > MOST)


if __name__ == "__main__":
    sys.exit(main())

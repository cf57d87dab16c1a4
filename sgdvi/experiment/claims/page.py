"""The claims as one self-contained HTML page, each figure beside its claim."""

import os
from pathlib import Path

from matplotlib.figure import Figure

from sgdvi.experiment.claims._claim import Verdict
from sgdvi.experiment.claims.rows import Checked, Rows
from sgdvi.report._render import render
from sgdvi.report.page import write_page
from sgdvi.style.figure import Picture, picture
from sgdvi.style.palette import Theme

_WIDTH, _HEIGHT = 3.4, 3.0


def figure(row: Checked, theme: Theme) -> Figure:
    """Draw the figure of a row from its curves; the caller sets the style."""
    panels = row.claim.panels
    made = Figure(figsize=(max(4.6, _WIDTH * panels), _HEIGHT))
    if row.claim.draw is not None:
        row.claim.draw(list(made.subplots(1, panels, squeeze=False)[0]), row.curves, theme)
    return made


def render_page(found: Rows) -> str:
    """Return the page as HTML: no scripts, nothing loaded from outside, the same bytes for the same rows."""
    rows = [(row, _picture(row)) for row in found.claims]
    counts = [(verdict, sum(row.verdict is verdict for row in found.claims)) for verdict in Verdict]
    return str(render("claims", found=found, rows=rows, counts=counts))


def write_html(found: Rows, path: str | os.PathLike[str]) -> Path:
    """Write the page to `path`, whole or not at all, and return the path."""
    return write_page(render_page(found), path)


def _picture(row: Checked) -> Picture | None:
    if row.claim.draw is None or not row.curves:
        return None
    alt = f"{row.claim.title}. {row.text}"
    return picture(lambda theme: figure(row, theme), alt, row.claim.caption)

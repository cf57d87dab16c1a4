"""The claims as one self-contained HTML page, each figure beside its claim."""

import os
from pathlib import Path

from matplotlib.figure import Figure

from sgdvi._internal.style.figure import Picture, picture
from sgdvi._internal.style.palette import Theme
from sgdvi.experiment.claims.rows import Checked, Rows
from sgdvi.report._render import render
from sgdvi.report.page import write_page

_SIZE = (5.2, 3.2)


def figures(row: Checked, theme: Theme) -> list[Figure]:
    """Draw the panels of a row from its curves, each a figure of its own; the caller sets the style."""
    made = [Figure(figsize=_SIZE) for _ in range(row.claim.panels)]
    if row.claim.draw is not None and row.curves:
        row.claim.draw([panel.subplots() for panel in made], row.curves, theme)
        return made
    return []


def render_page(reproduction: Rows) -> str:
    """Return the page as HTML: no scripts, nothing loaded from outside, the same bytes for the same rows."""
    return str(render("claims", found=reproduction, rows=[(row, _pictures(row)) for row in reproduction.claims]))


def write_html(reproduction: Rows, path: str | os.PathLike[str]) -> Path:
    """Write the page to `path`, whole or not at all, and return the path."""
    return write_page(render_page(reproduction), path)


def _pictures(row: Checked) -> list[Picture]:
    if row.claim.draw is None or not row.curves:
        return []
    last = row.claim.panels - 1
    return [
        picture(
            lambda theme, place=place: figures(row, theme)[place],  # type: ignore[misc]
            f"{row.claim.title}, panel {place + 1} of {last + 1}. {row.text}",
            row.claim.caption if place == last else "",
        )
        for place in range(last + 1)
    ]

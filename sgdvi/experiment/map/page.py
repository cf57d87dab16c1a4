"""The map as one self-contained HTML page."""

import os
from pathlib import Path

from matplotlib.figure import Figure

from sgdvi.experiment.map.cells import Cells
from sgdvi.experiment.map.figure import plot_sweep
from sgdvi.report._render import render
from sgdvi.report.page import write_page
from sgdvi.style.figure import picture
from sgdvi.style.palette import Theme


def render_sweep(found: Cells) -> str:
    """Return the map as HTML: no scripts, nothing loaded from outside, the same bytes for the same input."""

    def draw(theme: Theme) -> Figure:
        rows, columns = len(found.learning_rates), len(found.batch_sizes)
        figure = Figure(figsize=(2.8 + 0.62 * columns, 1.6 + 0.36 * rows))
        plot_sweep(found, ax=figure.subplots(), theme=theme)
        return figure

    caption = "Dark cells are near the posterior. The numbers are in the table below and in the JSON record."
    drawn = picture(draw, f"Map of {found.model}: {found.answer}", caption)
    return str(
        render(
            "sweep",
            found=found,
            nearest=found.nearest,
            options=", ".join(f"{name} {value:g}" for name, value in found.options.items()),
            picture=drawn,
        )
    )


def write_html(found: Cells, path: str | os.PathLike[str]) -> Path:
    """Write the page to `path`, whole or not at all, and return the path."""
    return write_page(render_sweep(found), path)

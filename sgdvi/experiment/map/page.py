"""The map as one self-contained HTML page."""

import math
import os
from pathlib import Path

from matplotlib.figure import Figure

from sgdvi._internal.style.figure import picture
from sgdvi._internal.style.palette import Theme
from sgdvi.experiment.map.cells import Cells
from sgdvi.experiment.map.figure import plot_sweep
from sgdvi.report._render import render
from sgdvi.report.page import write_page


def render_sweep(sweep: Cells) -> str:
    """Return the map as HTML: no scripts, nothing loaded from outside, the same bytes for the same input."""

    def draw(theme: Theme) -> Figure:
        rows, columns = len(sweep.learning_rates), len(sweep.batch_sizes)
        figure = Figure(figsize=(2.8 + 0.62 * columns, 1.6 + 0.36 * rows))
        plot_sweep(sweep, ax=figure.subplots(), theme=theme)
        return figure

    caption = "Dark cells are near the posterior. The numbers are in the table below and in the JSON record."
    drawn = picture(draw, f"Map of {sweep.model}: {sweep.answer}", caption)
    return str(
        render(
            "sweep",
            sweep=sweep,
            nearest=sweep.nearest,
            options=", ".join(f"{name} {value:g}" for name, value in sweep.options.items()),
            picture=drawn,
            foreseen=any(not math.isnan(cell.foreseen) for cell in sweep.cells),
        )
    )


def write_html(sweep: Cells, path: str | os.PathLike[str]) -> Path:
    """Write the page to `path`, whole or not at all, and return the path."""
    return write_page(render_sweep(sweep), path)

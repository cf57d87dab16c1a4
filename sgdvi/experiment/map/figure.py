"""The map over learning rate and batch size: how near SGD is to the posterior, cell by cell."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.patches import Rectangle

from sgdvi._internal.style.canvas import canvas
from sgdvi._internal.style.palette import LIGHT, Theme
from sgdvi._internal.text import typeset
from sgdvi.experiment.map.cells import Cells, Outcome

# W1 in sd: nearest and farthest colour of the scale.
_NEAR, _FAR = 0.01, 3.0
_HATCHES = {Outcome.COLLAPSES: ("///", "collapses to 0"), Outcome.OVERFLOWS: ("xxx", "overflows")}


def plot_sweep(sweep: Cells, *, ax: Axes | None = None, theme: Theme = LIGHT) -> Axes:
    """Draw the map: W1 to the posterior in every cell, its nearest cell in a frame, and where SGD is no law at all.

    Parameters
    ----------
    sweep
        Made by `sgdvi.sweep`.
    ax
        Axes to draw on; a new figure by default.
    theme
        Colours of the page that it is for.

    Returns
    -------
    Axes
    """
    rows, columns = len(sweep.learning_rates), len(sweep.batch_sizes)
    grid = np.array([[sweep.cell(rate, size).w1 for size in sweep.batch_sizes] for rate in sweep.learning_rates])
    alive = np.array(
        [[sweep.cell(r, s).outcome is Outcome.LAW for s in sweep.batch_sizes] for r in sweep.learning_rates]
    )
    shown = np.ma.masked_where(~alive | ~np.isfinite(grid), np.clip(grid, _NEAR, _FAR))
    with canvas(ax, (2.6 + 0.62 * columns, 1.6 + 0.36 * rows)) as axes:
        # Dark is near: cividis looks the same to colour-blind readers.
        colors = axes.pcolormesh(shown, cmap="cividis", norm=LogNorm(_NEAR, _FAR), edgecolors=theme.grid, linewidth=0.5)
        bar = axes.get_figure().colorbar(colors, ax=axes, extend="both", pad=0.02)  # type: ignore[union-attr]
        bar.set_label("W1 to the posterior (sd)")
        bar.set_ticks([0.01, 0.1, 1.0], labels=["0.01", "0.1", "1"])
        bar.minorticks_off()
        named: set[Outcome] = set()
        nearest = sweep.nearest
        for row, rate in enumerate(sweep.learning_rates):
            for column, size in enumerate(sweep.batch_sizes):
                cell = sweep.cell(rate, size)
                if cell.outcome in _HATCHES:
                    hatch, name = _HATCHES[cell.outcome]
                    label = None if cell.outcome in named else name
                    named.add(cell.outcome)
                    axes.add_patch(
                        Rectangle(
                            (column, row), 1, 1, fill=False, hatch=hatch, edgecolor=theme.muted, lw=0.3, label=label
                        )
                    )
                elif np.isfinite(cell.w1):
                    ink = "#ffffff" if cell.w1 < 0.3 else "#16181d"
                    axes.text(
                        column + 0.5, row + 0.5, typeset(cell.w1, 2), ha="center", va="center", color=ink, fontsize=7
                    )
                elif np.isfinite(cell.foreseen):
                    text = f"({typeset(cell.foreseen, 2)})"
                    axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", color=theme.muted, fontsize=7)
                if cell == nearest:
                    axes.add_patch(
                        Rectangle(
                            (column + 0.04, row + 0.06), 0.92, 0.88, fill=False, edgecolor="#d55e00", linewidth=2.4,
                            label="nearest", zorder=5,
                        )
                    )  # fmt: skip
        axes.set(xlim=(0, columns), ylim=(0, rows), xlabel="batch size S (rows)", ylabel="learning rate η")
        axes.set_xticks(np.arange(columns) + 0.5, [str(size) for size in sweep.batch_sizes])
        axes.set_yticks(np.arange(rows) + 0.5, [f"{rate:.3g}" for rate in sweep.learning_rates])
        axes.grid(visible=False)
        axes.tick_params(length=0)
        if named or nearest is not None:
            axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize=8)
    return axes

"""Reliability of predictions, and their error where only the surest are kept."""

from collections.abc import Mapping

from matplotlib.axes import Axes

from sgdvi._internal.style.canvas import panels
from sgdvi._internal.style.palette import LIGHT, Theme, pen
from sgdvi.diagnostics.predictions.of_run import RunPredictions

PANELS = ("reliability", "selective")


def plot_predictions(
    runs: Mapping[str, RunPredictions],
    reference: str | None,
    classes: int,
    *,
    axes: Mapping[str, Axes] | None = None,
) -> dict[str, Axes]:
    """Draw how often the predictions of every run are right when they say so, and what is left when they abstain.

    Parameters
    ----------
    runs, reference, classes
        As in `Predictions`, with observed values.
    axes
        Axes for any of the panels "reliability" and "selective"; a new figure with both by default.

    Returns
    -------
    dict
        Panel -> Axes.
    """
    if axes is not None:
        for name, each in axes.items():
            DRAW[name](runs, reference, classes, each, LIGHT)
        return dict(axes)
    with panels(len(PANELS), (9.0, 3.9)) as (_, made):
        for name, each in zip(PANELS, made, strict=True):
            DRAW[name](runs, reference, classes, each, LIGHT)
    return dict(zip(PANELS, made, strict=True))


def reliability(
    runs: Mapping[str, RunPredictions], reference: str | None, classes: int, axes: Axes, theme: Theme
) -> None:
    """Draw what was said against what happened; the grey bars are what chance explains for the reference."""
    names = list(runs)
    first = reference or names[0]
    band = runs[first].curves
    axes.fill_between(band["said"], band["low"], band["high"], color=theme.grid, zorder=0, label=f"by chance, {first}")
    axes.axline((0, 0), slope=1, color=theme.muted, linewidth=0.8)
    for name, run in runs.items():
        line = pen(name, names, theme)
        axes.plot(
            run.curves["said"],
            run.curves["happened"],
            color=line.color,
            linestyle=line.linestyle,
            marker=line.marker,
            markersize=3,
            linewidth=1.2,
            label=name,
        )
    if classes:
        axes.set(xlabel="confidence in the most probable class", ylabel="share that is of this class")
    else:
        axes.set(xlabel="probability of the central interval", ylabel="share of observed values in it")
    axes.legend(fontsize=7)


def selective(
    runs: Mapping[str, RunPredictions], reference: str | None, classes: int, axes: Axes, theme: Theme
) -> None:
    """Draw the error among the surest predictions against how many are kept."""
    names = list(runs)
    for name, run in runs.items():
        line = pen(name, names, theme)
        error = run.curves["error_kept"] if classes else run.curves["error_kept"] ** 0.5
        axes.plot(run.curves["kept"], error, color=line.color, linestyle=line.linestyle, linewidth=1.4, label=name)
    axes.set(xlabel="share of the test points that is kept, the surest first", ylim=(0, None))
    axes.set_ylabel("share of wrong classes among them" if classes else "root mean squared error")
    axes.legend(fontsize=7)


DRAW = {"reliability": reliability, "selective": selective}

"""The law of balance along a run of SGD: charges over time, measured against predicted drift, noise against noise."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

from sgdvi._internal.style.canvas import panels
from sgdvi._internal.style.palette import LIGHT
from sgdvi.noise_balance.readings import Readings

PANELS = ("charges", "drift", "noise")
_LINE = "#0072b2"
_START = "#c77c00"
# More lines than this only blacken the panel.
_MOST_LINES = 200
# Up to this ratio of the ends of an axis its labels are at 1 and 3 of each power of ten.
_FEW_DECADES = 1000


def plot_balance(readings: Readings, *, axes: Mapping[str, Axes] | None = None) -> dict[str, Axes]:
    """Draw how SGD moves along the symmetries of a model.

    Parameters
    ----------
    readings
        What `sgdvi.balance` returned.
    axes
        Axes for any of the panels "charges", "drift" and "noise"; a new figure with all three by default.

    Returns
    -------
    dict
        Panel -> Axes.
    """
    if axes is not None:
        for name, each in axes.items():
            _DRAW[name](readings, each)
        return dict(axes)
    with panels(len(PANELS), (11.0, 3.9)) as (figure, made):
        for name, each in zip(PANELS, made, strict=True):
            _DRAW[name](readings, each)
    return dict(zip(PANELS, made, strict=True))


def _charges(readings: Readings, axes: Axes) -> None:
    mean = readings.measured.charges.mean(axis=1)[:_MOST_LINES]
    axes.plot(readings.path.steps, mean.T, color=_LINE, linewidth=0.9, alpha=max(0.25, 1 / max(len(mean), 1) ** 0.5))
    axes.axhline(0, color=LIGHT.muted, linewidth=0.8)
    axes.set(xlabel="steps of SGD", ylabel="charge, mean over chains")
    axes.set_title(f"{len(readings.symmetries)} charges", fontsize=9)


def _drift(readings: Readings, axes: Axes) -> None:
    moved = readings.drift
    error = np.nan_to_num(moved.error)
    axes.errorbar(
        moved.predicted, moved.measured, yerr=error, fmt="o", markersize=3, linewidth=1, color=_LINE, label="± 1 error"
    )
    finite = np.concatenate([moved.predicted, moved.measured - error, moved.measured + error])
    finite = finite[np.isfinite(finite)]
    if finite.size:
        ends = float(finite.min()), float(finite.max())
        axes.plot(ends, ends, color=LIGHT.ink, linewidth=1.2, label="law of balance", zorder=1)
        axes.legend(loc="upper left", fontsize=8)
    axes.set(xlabel="predicted drift dc/dt", ylabel="measured drift dc/dt")
    axes.locator_params(nbins=5)
    axes.set_title("drift over the run", fontsize=9)


def _noise(readings: Readings, axes: Axes) -> None:
    start = readings.measured.terms[:, :, :, 0].mean(axis=-1)
    shown = (("first point", start, _START, "x"), ("second half", readings.noise_terms, _LINE, "o"))
    for label, (one, two), color, marker in shown:
        seen = (one > 0) & (two > 0)
        axes.scatter(one[seen], two[seen], s=14, linewidths=1, label=label, color=color, marker=marker)
    positive = np.concatenate([start, readings.noise_terms], axis=1)
    positive = positive[np.isfinite(positive) & (positive > 0)]
    if positive.size:
        ends = float(positive.min()), float(positive.max())
        axes.plot(ends, ends, color=LIGHT.ink, linewidth=1.2, label="balance", zorder=1)
        axes.set(xscale="log", yscale="log")
        if ends[1] < _FEW_DECADES * ends[0]:
            # powers of ten are too few, and the labels between them that matplotlib adds run into each other
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_locator(LogLocator(subs=(1, 3)))
                axis.set_major_formatter("{x:g}")
                axis.set_minor_formatter(NullFormatter())
        axes.legend(loc="best", fontsize=8)
    axes.set(xlabel="Tr C(u)", ylabel="Tr C(w)")
    axes.set_title("noise on the two sides", fontsize=9)


_DRAW = {"charges": _charges, "drift": _drift, "noise": _noise}

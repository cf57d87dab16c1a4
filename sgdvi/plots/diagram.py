"""The phase diagram: temperature against noise."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from contourpy import contour_generator
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from scipy.ndimage import distance_transform_edt, label

from sgdvi._internal.style.canvas import canvas, legend_above
from sgdvi._internal.style.palette import LIGHT
from sgdvi.laws import Phase, PhaseDiagram

_COLORS = {
    Phase.IIIB: "#cfe3f2",
    Phase.IIB: "#fbe9b7",
    Phase.IIA: "#f3c592",
    Phase.IB: "#dcd6ea",
    Phase.IA: "#c6c9cf",
}
_GREY, _MODE = LIGHT.muted, "#a6361c"
# Regions are coloured on a finer grid than the laws are computed on, and named where they have this share of the area.
_FINE = 700
_NAMED_SHARE = 0.004


def plot_phase_diagram(
    diagram: PhaseDiagram,
    *,
    ax: Axes | None = None,
    points: Mapping[str, tuple[float, float]] | None = None,
    spread: bool = True,
    log: bool = False,
) -> Axes:
    """Draw the five regimes of depth 1 with the lines Tc and Tc/3, the mode boundary and the spread of SGD.

    Parameters
    ----------
    diagram
        Made by `sgdvi.phase_diagram`.
    ax
        Axes to draw on; a new figure by default.
    points
        Name -> (noise, temperature): runs or data to mark.
    spread
        Whether to draw contours of the standard deviation of v.
    log
        Whether both axes are logarithmic.

    Returns
    -------
    Axes
    """
    with canvas(ax, (5.6, 4.2)) as axes:
        noise, heat = diagram.noise, diagram.temperature
        space = np.geomspace if log else np.linspace
        coldest = heat[0] if log else 1e-6 * heat[-1]
        fine = replace(diagram, noise=space(noise[0], noise[-1], _FINE), temperature=space(coldest, heat[-1], _FINE))
        codes = np.searchsorted(sorted(_COLORS), fine.labels)
        axes.pcolormesh(
            fine.noise,
            fine.temperature,
            codes.T,
            cmap=ListedColormap([_COLORS[phase] for phase in sorted(_COLORS)]),
            vmin=-0.5,
            vmax=len(_COLORS) - 0.5,
            shading="nearest",
            rasterized=True,
            zorder=0.5,
        )
        if spread:
            _contours(axes, diagram)
        critical = fine.critical
        axes.plot(fine.noise, critical, color=LIGHT.ink, linewidth=2.0, label="Tc: above it SGD collapses", zorder=4)
        axes.plot(
            fine.noise, critical / 3, color=LIGHT.ink, linewidth=1.3, linestyle=(0, (5, 2)), zorder=4,
            label="Tc/3: above it the density diverges at 0",
        )  # fmt: skip
        _mode_boundary(axes, fine)
        _names(axes, fine, log)
        for (name, place), marker in zip((points or {}).items(), "o^sDvP*X", strict=False):
            axes.plot(
                *place, marker, color=LIGHT.ink, markeredgecolor="white", markeredgewidth=1.2, markersize=8,
                label=name, zorder=6, clip_on=False, linestyle="none",
            )  # fmt: skip
        axes.set(xlim=(noise[0], noise[-1]), ylim=(heat[0] if log else 0.0, heat[-1]))
        if log:
            axes.set(xscale="log", yscale="log")
        axes.set(
            xlabel="noise: sd of y about the line (units of y)", ylabel="temperature T = learning rate / batch size"
        )
        axes.grid(visible=False)
        legend_above(axes)
    return axes


def _contours(axes: Axes, diagram: PhaseDiagram) -> None:
    variance = diagram.smooth_variance
    sd = np.sqrt(variance)
    levels = np.asarray(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]).tick_values(0.0, float(np.quantile(sd, 0.995)))[1:-1])
    # The variance, not the deviation: towards Tc it falls to 0 like a line, which interpolation on the grid follows.
    lines = axes.contour(
        diagram.noise, diagram.temperature, variance.T, levels**2, colors=_GREY, linewidths=0.7, zorder=2
    )
    labels = dict(zip(lines.levels, (f"{level:.3g}" for level in levels), strict=True))
    axes.clabel(lines, fontsize=7, fmt=labels, manual=_label_places(diagram, sd, levels))
    axes.plot([], [], color=_GREY, linewidth=0.7, label="standard deviation of v")


def _label_places(diagram: PhaseDiagram, sd: np.ndarray, levels: np.ndarray) -> list[tuple[float, float]]:
    """Where each contour is met on the way up from cold, below Tc/3, at noises that differ from level to level."""
    columns = np.linspace(0.25, 0.85, len(levels)) * len(diagram.noise)
    places = []
    for level, column in zip(levels, columns.astype(int), strict=True):
        for trial in (*range(column, len(diagram.noise)), *range(column)):
            first = int(np.argmax(sd[trial] >= level))
            if 0 < first and diagram.temperature[first] < 0.3 * diagram.critical[trial]:
                places.append((float(diagram.noise[trial]), float(diagram.temperature[first])))
                break
    return places


def _mode_boundary(axes: Axes, fine: PhaseDiagram) -> None:
    """Draw A(T) = 0 where it is a border: where the double root that it stands for is above zero."""
    any_inside = False
    contours = contour_generator(fine.noise, fine.temperature, fine.mode_discriminant.T, line_type="Separate")
    for line in map(np.asarray, contours.lines(0.0)):
        outside = fine.double_root(line[:, 0], line[:, 1]) <= 0
        axes.plot(*np.where(outside[:, None], np.nan, line).T, ":", color=_MODE, linewidth=1.6, zorder=4)
        any_inside |= not outside.all()
    if any_inside:
        axes.plot([], [], ":", color=_MODE, linewidth=1.6, label="mode away from 0: b yes, a no")


def _names(axes: Axes, fine: PhaseDiagram, log: bool) -> None:
    """Write the name of each region where it is widest."""
    for phase in _COLORS:
        pieces, count = label(fine.labels == phase)
        for piece in range(1, count + 1):
            inside = pieces == piece
            if inside.mean() < _NAMED_SHARE:
                continue
            # The frame counts as a border, so that names do not stick to it.
            depth = distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
            row, column = np.unravel_index(np.argmax(depth), depth.shape)
            axes.text(
                fine.noise[row], fine.temperature[column], str(phase), ha="center", va="center", fontweight="bold",
                color=LIGHT.ink, path_effects=[withStroke(linewidth=2.5, foreground="white")], zorder=5,
            )  # fmt: skip

"""The figures: each a function of a record and a theme, with named axes and units."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
from scipy.special import ndtri
from scipy.stats import gaussian_kde

from sgdvi._internal.style.palette import EXACT_LAW, EXACT_POSTERIOR, Pen, Theme, pen
from sgdvi.diagnostics.record import Record
from sgdvi.report import series
from sgdvi.report._format import power
from sgdvi.report.series import Curves

BINS = 70
TRACE_POINTS = 250


def marginals(curves: Curves, names: list[str], theme: Theme, *, log: bool = False) -> Figure:
    """Draw the densities of all runs on one functional; with `log` on a logarithmic axis, where tails show."""
    figure = Figure()
    axes = figure.subplots()
    grid, peak = curves.grid, 0.0
    for run in names:
        ink = pen(run, names, theme)
        style = _style(ink)
        if curves.atoms.get(run, 0.0) > 0:
            axes.axvline(0.0, label=f"{run}: mass {curves.atoms[run]:.2g} at 0", **style)
        if run in curves.densities:
            values = curves.densities[run]
            peak = max(peak, _visible_peak(values))
            axes.plot(grid, np.where(values > 0, values, np.nan), label=run, **style)
        if run not in curves.draws:
            continue
        values = curves.draws[run]
        inside = values[(values >= grid[0]) & (values <= grid[-1])]
        if inside.size < 2 or inside[0] == inside[-1]:
            axes.axvline(float(inside[0]) if inside.size else np.nan, label=f"{run} (no spread)", **style)
        elif run == "SGD":
            heights, edges = np.histogram(inside, bins=np.linspace(grid[0], grid[-1], BINS + 1))
            density = heights / (values.size * np.diff(edges))
            # a run that collapses onto an atom would flatten every other law: it may leave the frame
            peak = max(peak, 0.0 if any(curves.atoms.values()) else _visible_peak(density))
            axes.stairs(density, edges, fill=True, color=ink.color, alpha=0.28, linewidth=0, zorder=1)
            axes.stairs(density, edges, color=ink.color, linewidth=0.9, label=f"{run} (draws)", zorder=2)
        else:
            curve = gaussian_kde(series.thin(inside))(grid) * inside.size / values.size
            peak = max(peak, float(curve.max()))
            axes.plot(grid, curve, label=run, **style)
    axes.set_xlabel(curves.name)
    axes.set_xlim(grid[0], grid[-1])
    peak = peak or 1.0
    if log:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: power(value)))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(peak * 1e-5, peak * 3)
        axes.set_ylabel(f"density of {curves.name} (log scale)")
    else:
        axes.set_ylim(0, peak * 1.12)
        axes.set_ylabel(f"density of {curves.name}")
    if grid[0] < 0 < grid[-1]:
        axes.axvline(0.0, color=theme.muted, linewidth=0.8, linestyle=":", zorder=0.5)
    _legend(figure, axes)
    return figure


def gap(curves: Curves, theme: Theme, effective: float) -> Figure:
    """Draw the distribution function of SGD minus that of its exact law, with the band that sampling explains."""
    figure = Figure()
    axes = figure.subplots()
    grid, exact = curves.grid, curves.distributions[EXACT_LAW]
    band = float(ndtri(0.975)) * np.sqrt(np.clip(exact * (1 - exact), 0, None) / max(effective, 1.0))
    ink = pen("SGD", ["SGD"], theme).color
    axes.fill_between(grid, -band, band, color=theme.muted, alpha=0.25, linewidth=0, label="95 % of sampling error")
    axes.axhline(0.0, color=theme.ink, linewidth=2.0, label=EXACT_LAW)
    axes.plot(grid, curves.distributions["SGD"] - exact, color=ink, label="SGD − exact law")
    axes.set_xlabel(curves.name)
    axes.set_ylabel(f"difference of P({curves.name} ≤ x)")
    _legend(figure, axes)
    return figure


def distances(curves: Curves, names: list[str], reference: str, theme: Theme) -> Figure:
    """Draw the distribution function of every run minus the reference's: the extremes are Kolmogorov distances."""
    figure = Figure()
    axes = figure.subplots()
    axes.axhline(0.0, color=theme.muted, linewidth=0.9, zorder=1)
    for run in names:
        if run != reference and run in curves.distributions:
            difference = curves.distributions[run] - curves.distributions[reference]
            axes.plot(curves.grid, difference, label=run, **_style(pen(run, names, theme)))
    axes.set_xlim(curves.grid[0], curves.grid[-1])
    axes.set_xlabel(curves.name)
    axes.set_ylabel(f"P({curves.name} ≤ x) minus that of {reference}")
    _legend(figure, axes)
    return figure


def plane(record: Record, theme: Theme, minimizer: float | None) -> Figure:
    """Draw the draws in the (u, w) plane with the balanced lines |u| = |w| and the valley u w = v*."""
    figure = Figure(figsize=(5.2, 4.9))
    axes = figure.subplots()
    names = list(record.runs)
    reach = 1.5 * math.sqrt(abs(minimizer)) if minimizer else 0.0
    for run in [run for run in reversed(names) if run in record.factors]:
        u, w = plane_points(record, run)
        reach = max(reach, *(float(np.quantile(np.abs(side), 0.995)) for side in (u, w))) if u.size else reach
        ink = pen(run, names, theme).color
        top = run == "SGD"
        axes.scatter(
            u,
            w,
            s=5 if top else 4,
            color=ink,
            alpha=0.55 if top else 0.25,
            linewidths=0,
            rasterized=True,
            zorder=3 if top else 2,
        )
        axes.scatter([], [], s=22, color=ink, label=run)
    reach = (reach or 1.0) * 1.1
    line = np.linspace(-reach, reach, 401)
    for sign in (1, -1):
        label = "balanced: |u| = |w|" if sign == 1 else None
        axes.plot(line, sign * line, color=theme.ink, linewidth=0.9, linestyle=(0, (5, 3)), label=label, zorder=4)
    if minimizer:
        with np.errstate(divide="ignore"):
            valley = np.where(np.abs(line) > abs(minimizer) / reach, minimizer / line, np.nan)
        axes.plot(line, valley, color=theme.muted, linewidth=1.1, label="least squares: u w = v*", zorder=1.5)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), xlabel="u (first factor)", ylabel="w (second factor)")
    axes.set_aspect("equal")
    _legend(figure, axes)
    return figure


def plane_points(record: Record, run: str) -> tuple[np.ndarray, np.ndarray]:
    """Return u and w of the run's draws (of all units), thinned together, finite pairs only."""
    pairs = np.stack([np.ravel(factor) for factor in record.factors[run]], axis=1)
    pairs = series.thin(pairs[np.all(np.isfinite(pairs), axis=1)], 1500)
    return pairs[:, 0], pairs[:, 1]


def trace(
    values: np.ndarray, label: str, theme: Theme, band: Sequence[float] | None = None, run: str = "SGD"
) -> Figure:
    """Draw one line per chain over the kept draws; `band` is the exact 5 % to 95 % range."""
    figure = Figure(figsize=(5.2, 3.0))
    axes = figure.subplots()
    where = np.unique(np.linspace(0, values.shape[1] - 1, TRACE_POINTS).astype(int))
    ink = pen(run, [run], theme).color
    if band is not None and np.all(np.isfinite(band)):
        axes.axhspan(band[0], band[1], color=theme.muted, alpha=0.18, linewidth=0, zorder=0)
        for edge in band:
            axes.axhline(edge, color=theme.ink, linewidth=0.8, linestyle=(0, (5, 3)), zorder=4)
    for chain in values[:8]:
        axes.plot(where, chain[where], color=ink, alpha=0.45, linewidth=0.6)
    axes.set(xlabel="kept draw", ylabel=label)
    return figure


def forest(record: Record, names: Sequence[str], theme: Theme) -> Figure:
    """Draw mean and 5 % to 95 % range of every run, functional by functional, in sd of the reference around its mean.

    The light bar is the reference's own range; the dark one is what chance explains of a difference.
    """
    figure = Figure(figsize=forest_size(record, names))
    axes = figure.subplots()
    draw_forest(axes, record, names, theme)
    _legend(figure, axes)
    return figure


def forest_size(record: Record, names: Sequence[str]) -> tuple[float, float]:
    """Return the size of a forest in inches: a line for every run of every functional."""
    runs = len(record.runs) - (record.reference in record.runs)
    return 5.2, 0.95 + len(names) * max(0.2, 0.06 + 0.1 * runs)


def draw_forest(axes: Axes, record: Record, names: Sequence[str], theme: Theme) -> None:
    """Draw what `forest` shows on axes, without its legend."""
    runs = [run for run in record.runs if run != record.reference]
    offsets = np.linspace(-0.32, 0.32, len(runs)) if len(runs) > 1 else [0.0]
    reach = 2.0
    for row, name in enumerate(names):
        center, unit, edges = _scale(record, name)
        chance = min(_chance(record, name), FAR)
        axes.fill_betweenx([row - 0.42, row + 0.42], *edges, color=theme.muted, alpha=0.16, linewidth=0, zorder=0)
        axes.fill_betweenx(
            [row - 0.42, row + 0.42], -chance, chance, color=theme.muted, alpha=0.4, linewidth=0, zorder=1
        )
        for run, offset in zip(runs, offsets, strict=True):
            summary = record.summaries.get(run, {}).get(name, {})
            place = np.array([np.nan if (value := summary.get(column)) is None else value for column in _FOREST])
            low, middle, high = np.clip((place - center) / unit, -FAR, FAR)
            ink = pen(run, list(record.runs), theme)
            axes.plot([low, high], [row + offset] * 2, color=ink.color, linewidth=1.6, zorder=3)
            axes.plot(middle, row + offset, ink.marker, color=ink.color, markersize=3.5, zorder=4)
            reach = max([reach, *np.abs([low, high])[np.isfinite([low, high])]])
    for run in runs:
        ink = pen(run, list(record.runs), theme)
        axes.plot([], [], "-", marker=ink.marker, color=ink.color, markersize=3.5, label=run)
    axes.axvline(0.0, color=theme.ink, linewidth=0.8, zorder=2)
    axes.set_xlim(-1.06 * reach, 1.06 * reach)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel(f"sd of {record.reference or 'the posterior'} from its mean")
    axes.grid(axis="y", visible=False)


# Beyond this many sd a run is drawn at the edge: it would flatten the others.
FAR = 5.0
_FOREST = ("q5", "mean", "q95")


def _scale(record: Record, name: str) -> tuple[float, float, tuple[float, float]]:
    """Return mean and sd of what stands for the posterior on a functional, and its range in these units."""
    against = next(
        run for run in (record.reference, EXACT_POSTERIOR, *record.runs) if name in record.summaries.get(run or "", {})
    )
    summary = record.summaries[str(against)][name]
    center, unit, low, high = (_finite(summary.get(column)) for column in ("mean", "sd", "q5", "q95"))
    unit = unit if unit > 0 else 1.0
    return center, unit, ((low - center) / unit, (high - center) / unit)


def _finite(value: float | None) -> float:
    return float(value) if value is not None and math.isfinite(value) else 0.0


def _chance(record: Record, name: str) -> float:
    """Return the largest null level of W1 that a run has on the functional, in sd of the reference."""
    levels = [
        finding.details.get("null_level")
        for finding in record.findings
        if finding.check == "distance.w1" and finding.functional == name
    ] or [finding.details.get("null_level") for finding in record.findings if finding.check == "distance.w1"]
    return max((level for level in levels if isinstance(level, float) and math.isfinite(level)), default=0.0)


def _visible_peak(values: np.ndarray) -> float:
    # A density that diverges at 0 (phase II) must not flatten everything else: one point in 100 may leave the frame.
    positive = values[values > 0]
    return float(np.quantile(positive, 0.99)) if positive.size else 0.0


def _style(ink: Pen) -> dict[str, Any]:
    return {"color": ink.color, "linestyle": ink.linestyle, "linewidth": ink.linewidth, "zorder": ink.zorder}


def _legend(figure: Figure, axes: Axes) -> None:
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=3)

"""The figures: each a function of a comparison and a theme, with named axes and units."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import ndtri
from scipy.stats import gaussian_kde

from sgdvi.comparison import Comparison
from sgdvi.report import series
from sgdvi.report.palette import EXACT_LAW, Theme, pen

GRID_POINTS = 500
BINS = 70


def marginals(comparison: Comparison, name: str, theme: Theme, *, log: bool = False) -> Figure:
    """Draw the densities of all runs on one functional; with `log` on a logarithmic axis, where tails show."""
    figure = Figure()
    axes = figure.subplots()
    names = list(comparison.runs)
    low, high = series.window(comparison, name)
    grid = np.linspace(low, high, GRID_POINTS)
    peak = 0.0
    for run in names:
        ink = pen(run, names, theme)
        line = {"color": ink.color, "linestyle": ink.linestyle, "linewidth": ink.linewidth, "zorder": ink.zorder}
        if run in series.laws(comparison):
            law = comparison.runs[run]
            if series.zero_mass(law) > 0:
                axes.axvline(0.0, label=f"{run}: mass {series.zero_mass(law):.2g} at 0", **line)
            if series.zero_mass(law) < 1:
                values = series.density(law, grid)
                peak = max(peak, _visible_peak(values))
                axes.plot(grid, np.where(values > 0, values, np.nan), label=run, **line)
            continue
        values = series.finite(series.draws(comparison, run, name))
        inside = values[(values >= low) & (values <= high)]
        if inside.size < 2 or np.ptp(inside) == 0:
            axes.axvline(float(inside[0]) if inside.size else np.nan, label=f"{run} (no spread)", **line)
        elif run == "SGD":
            heights, edges = np.histogram(inside, bins=np.linspace(low, high, BINS + 1))
            density = heights / (values.size * np.diff(edges))
            peak = max(peak, _visible_peak(density))
            axes.stairs(density, edges, fill=True, color=ink.color, alpha=0.28, linewidth=0, zorder=1)
            axes.stairs(density, edges, color=ink.color, linewidth=0.9, label=f"{run} (draws)", zorder=2)
        else:
            curve = gaussian_kde(series.thin(inside))(grid) * inside.size / values.size
            peak = max(peak, float(curve.max()))
            axes.plot(grid, curve, label=run, **line)
    axes.set_xlabel(name)
    axes.set_xlim(low, high)
    peak = peak or 1.0
    if log:
        axes.set_yscale("log")
        axes.set_ylim(peak * 1e-5, peak * 3)
        axes.set_ylabel(f"density of {name} (log scale)")
    else:
        axes.set_ylim(0, peak * 1.12)
        axes.set_ylabel(f"density of {name}")
    _mark_zero(axes, theme, low, high)
    if not log:
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def gap(comparison: Comparison, name: str, theme: Theme, effective: float) -> Figure:
    """Draw the distribution function of SGD minus that of its exact law, with the band that sampling explains."""
    figure = Figure()
    axes = figure.subplots()
    law = comparison.runs[EXACT_LAW]
    values = np.sort(series.finite(series.draws(comparison, "SGD", name)))
    probability = np.linspace(0.001, 0.999, 400)
    points = series.quantiles(law, list(probability))
    points = points[np.isfinite(points)]
    exact = np.asarray(law.cdf(points), dtype=np.float64)
    empirical = np.searchsorted(values, points, side="right") / values.size
    band = float(ndtri(0.975)) * np.sqrt(exact * (1 - exact) / max(effective, 1.0))
    ink = pen("SGD", ["SGD"], theme).color
    axes.fill_between(points, -band, band, color=theme.muted, alpha=0.25, linewidth=0, label="95 % of sampling error")
    axes.axhline(0.0, color=theme.ink, linewidth=2.0, label=EXACT_LAW)
    axes.plot(points, empirical - exact, color=ink, label="SGD − exact law")
    axes.set_xlabel(name)
    axes.set_ylabel(f"difference of P({name} ≤ x)")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def plane(comparison: Comparison, theme: Theme, minimizer: float | None) -> Figure:
    """Draw the draws in the (u, w) plane with the balanced lines |u| = |w| and the valley u w = v*."""
    figure = Figure(figsize=(5.2, 4.9))
    axes = figure.subplots()
    names = list(comparison.runs)
    reach = 0.0
    order = [run for run in reversed(plane_runs(comparison))]
    for run in order:
        u, w = plane_points(comparison, run)
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
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def plane_runs(comparison: Comparison) -> list[str]:
    """Names of the runs that have the two factors u and w."""
    posteriors = {run: comparison.runs[run]["posterior"] for run in series.sampled(comparison)}
    return [run for run, tree in posteriors.items() if "u" in tree and "w" in tree]


def plane_points(comparison: Comparison, run: str) -> tuple[np.ndarray, np.ndarray]:
    """Return u and w of the run's draws (of all units), thinned together, finite pairs only."""
    tree = comparison.runs[run]["posterior"]
    pairs = np.stack([np.ravel(np.asarray(tree[site], dtype=np.float64)) for site in ("u", "w")], axis=1)
    pairs = series.thin(pairs[np.all(np.isfinite(pairs), axis=1)], 1500)
    return pairs[:, 0], pairs[:, 1]


def trace(values: np.ndarray, label: str, theme: Theme, band: Sequence[float] | None = None) -> Figure:
    """Draw one line per chain over the kept draws; `band` is the exact 5 % to 95 % range."""
    figure = Figure(figsize=(5.2, 3.0))
    axes = figure.subplots()
    where = np.unique(np.linspace(0, values.shape[1] - 1, 400).astype(int))
    ink = pen("SGD", ["SGD"], theme).color
    if band is not None and np.all(np.isfinite(band)):
        axes.axhspan(band[0], band[1], color=theme.muted, alpha=0.18, linewidth=0, zorder=0)
        for edge in band:
            axes.axhline(edge, color=theme.ink, linewidth=0.8, linestyle=(0, (5, 3)), zorder=4)
    for chain in values[:8]:
        axes.plot(where, chain[where], color=ink, alpha=0.45, linewidth=0.6, rasterized=True)
    axes.set(xlabel="kept draw", ylabel=label)
    return figure


def forest(comparison: Comparison, names: Sequence[str], theme: Theme) -> Figure:
    """Draw mean and 5 % to 95 % interval of many functionals, one row each, all runs side by side."""
    runs = series.sampled(comparison)
    figure = Figure(figsize=(5.2, 0.9 + len(names) * (0.16 + 0.11 * len(runs))))
    axes = figure.subplots()
    offsets = np.linspace(-0.3, 0.3, len(runs)) if len(runs) > 1 else [0.0]
    for run, offset in zip(runs, offsets, strict=True):
        ink = pen(run, list(comparison.runs), theme).color
        for row, name in enumerate(names):
            values = series.finite(series.draws(comparison, run, name))
            if values.size:
                low, high = np.quantile(values, [0.05, 0.95])
                axes.plot([low, high], [row + offset] * 2, color=ink, linewidth=1.6)
                axes.plot(values.mean(), row + offset, "o", color=ink, markersize=3.5)
        axes.plot([], [], "-o", color=ink, markersize=3.5, label=run)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel("mean and 5 % to 95 % range, units of the functional")
    axes.grid(axis="y", visible=False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def _visible_peak(values: np.ndarray) -> float:
    # A density that diverges at 0 (phase II) must not flatten everything else: one point in 100 may leave the frame.
    positive = values[values > 0]
    return float(np.quantile(positive, 0.99)) if positive.size else 0.0


def _mark_zero(axes: Axes, theme: Theme, low: float, high: float) -> None:
    if low < 0 < high:
        axes.axvline(0.0, color=theme.muted, linewidth=0.8, linestyle=":", zorder=0.5)

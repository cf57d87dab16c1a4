"""Laws: density, distribution function and tail."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from sgdvi._internal.check import require
from sgdvi._internal.style.canvas import canvas, panels
from sgdvi._internal.style.palette import LIGHT

Laws = Any
# The first law is the ink line; each further one has a colour and dashes of its own (Okabe and Ito 2008).
_PENS: list[tuple[str, Any]] = [
    (LIGHT.ink, "-"),
    ("#d55e00", (0, (5, 1.5))),
    ("#0072b2", (0, (1.2, 1))),
    ("#00815e", (0, (5, 1.5, 1, 1.5))),
    ("#b0528c", (0, (3, 1, 1, 1, 1, 1))),
    ("#c77c00", (0, (8, 2))),
]
_POINTS = 600


def plot_law(laws: Laws, kind: str = "density", *, ax: Axes | None = None) -> Axes:
    """Draw one law or several: density, distribution function, or tail.

    Parameters
    ----------
    laws
        A law with ``log_prob``, ``cdf`` and ``icdf``, or a mapping of names to at most six laws. The first is the
        black line.
    kind
        "density"; "cdf"; or "tail": the density of abs(v) with both axes logarithmic, beside its power law.
    ax
        Axes to draw on; a new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        For an unknown kind, or no law or more than six.

    Notes
    -----
    Units: v is in those of y per unit of x, a density in their inverse. An atom at zero is an arrow as high as the
    panel, with its mass in the legend.
    """
    kinds: dict[str, Callable[[Axes, Mapping[str, Any]], None]] = {"density": _density, "cdf": _cdf, "tail": _tail}
    require(kind in kinds, "kind must be 'density', 'cdf' or 'tail'", repr(kind))
    named = _named(laws)
    with canvas(ax) as axes:
        kinds[kind](axes, named)
        if len(named) > 1 or kind == "tail" or any(map(_atoms, named.values())):
            axes.legend()
    return axes


def plot_law_panels(laws: Laws, title: str = "") -> Figure:
    """Draw density, distribution function and tail side by side on a new figure.

    Parameters
    ----------
    laws
        As in `plot_law`.
    title
        Title of the figure.
    """
    named = _named(laws)
    with panels(3, (10.5, 3.7)) as (figure, axes):
        for place, draw in zip(axes, (_density, _cdf, _tail), strict=True):
            draw(place, named)
        if axes[2].get_lines():
            axes[2].legend(loc="best", frameon=True, facecolor="white", edgecolor="none", framealpha=0.8)
        for place in axes[:2]:
            place.xaxis.set_major_locator(MaxNLocator(5))
        handles, labels = axes[0].get_legend_handles_labels()
        if len(named) > 1 or any(map(_atoms, named.values())):
            figure.legend(handles, labels, loc="outside lower center", ncols=len(handles))
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=10.5)
    return figure


def small_law_figure(law: Any) -> Figure:
    """Draw the density alone on a small figure outside pyplot, as a notebook shows it beside the numbers of a law."""
    with panels(1, (3.4, 2.2)) as (figure, (axes,)):
        _density(axes, _named(law))
    return figure


def _named(laws: Laws) -> Mapping[str, Any]:
    named = dict(laws) if isinstance(laws, Mapping) else {"exact law": laws}
    require(1 <= len(named) <= len(_PENS), f"there must be 1 to {len(_PENS)} laws", len(named))
    for law in named.values():
        require(law.batch_shape == (), "laws must be scalars", f"batch shape {law.batch_shape}")
    return named


def _density(ax: Axes, laws: Mapping[str, Any]) -> None:
    low, high = _window(laws)
    # Finer towards zero, where a density may diverge.
    grid = np.sort(np.concatenate([np.linspace(low, high, _POINTS), _towards_zero(low), _towards_zero(high)]))
    peaks = []
    for (name, law), (color, dashes) in zip(laws.items(), _PENS, strict=False):
        _arrows(ax, name, law, color)
        if _has_density(law):
            height = np.exp(_log_density(law, grid))
            ax.plot(grid, np.where(height > 0, height, np.nan), color=color, linestyle=dashes, label=name, zorder=4)
            peaks.append(_visible_peak(law, grid, height))
    ax.set(xlim=(low, high), xlabel="v (units of y / x)", ylabel="density of v")
    if peaks:
        # A law much narrower than the first may leave the frame, so that the first is seen.
        ax.set_ylim(0, 1.1 * min(max(peaks), 3 * peaks[0]))
    else:
        ax.set(yticks=[])


def _cdf(ax: Axes, laws: Mapping[str, Any]) -> None:
    low, high = _window(laws)
    grid = np.linspace(low, high, _POINTS)
    for (name, law), (color, dashes) in zip(laws.items(), _PENS, strict=False):
        ax.plot(grid, np.asarray(law.cdf(grid)), color=color, linestyle=dashes, label=name, zorder=4)
    ax.set(xlim=(low, high), ylim=(0, 1.02), xlabel="v (units of y / x)", ylabel="P(draw ≤ v)")


def _tail(ax: Axes, laws: Mapping[str, Any]) -> None:
    tops, ends = [], []
    proper = {name: law for name, law in laws.items() if _has_density(law)}
    ax.set(xlabel="|v| (units of y / x)", ylabel="density of v (both axes logarithmic)")
    if not proper:
        ax.set(xticks=[], yticks=[])
        ax.text(0.5, 0.5, "no density", transform=ax.transAxes, ha="center", color=LIGHT.muted, fontsize=9)
        return
    scale = max(map(_scale, proper.values()))
    for (name, law), (color, dashes) in zip(laws.items(), _PENS, strict=False):
        if name not in proper:
            continue
        grid = scale * np.geomspace(1e-3, 1e3, _POINTS)
        # The logarithm itself is drawn: a cold law falls below the smallest number before its tail begins.
        height = _log_density(law, _side(law) * grid) / np.log(10)
        exponent = float(law.tail_exponent)
        power = np.isfinite(exponent)
        label = rf"{name}, tail $v^{{-{exponent:.3g}}}$" if power else f"{name}, no power-law tail"
        ax.plot(
            grid, np.where(np.isfinite(height), height, np.nan), color=color, linestyle=dashes, label=label, zorder=4
        )
        seen = height[np.isfinite(height)]
        tops.append(seen.max())
        if not power:
            # A density that ends, or falls like an exponential, would flatten all else.
            ends.append(max(seen[-1], seen.max() - 20))
            continue
        # The power law that the density follows in the end, drawn over the last two decades, a little above it.
        far = grid[grid > grid[-1] / 100]
        ax.plot(far, height[-1] + 0.5 - exponent * np.log10(far / far[-1]), color=color, linewidth=0.8, zorder=3)
        ends.append(height[-1])
    top, bottom = max(tops), min(ends)
    ax.set(xscale="log", ylim=(bottom - 0.1 * (top - bottom), top + 0.1 * (top - bottom)))
    ax.xaxis.set_major_locator(LogLocator(numticks=8))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_locator(MaxNLocator(7, integer=True))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"$10^{{{value:.0f}}}$"))


def _window(laws: Mapping[str, Any]) -> tuple[float, float]:
    """Stretch of v that holds the bulk of all laws, and zero where it is near."""
    ends = [end for law in laws.values() if _has_density(law) for end in _quantiles(law)]
    atoms = [place for law in laws.values() for place, _ in _atoms(law)]
    if not ends:
        reach = max(map(abs, atoms)) or 0.5
        return min(0.0, *atoms) - reach, max(0.0, *atoms) + reach
    # Near Tc all of the bulk is at zero: then the scale of the data is shown.
    scales = [_side(law) * _scale(law) for law in laws.values() if _has_density(law)]
    if max(map(abs, ends)) < 0.05 * max(map(abs, scales)):
        ends += scales
    ends += atoms
    low, high = min(ends), max(ends)
    pad = 0.06 * (high - low)
    low, high = low - pad, high + pad
    if 0 < low < 0.4 * high:
        low = min(low, -0.02 * high)
    if 0.4 * low < high < 0:
        high = max(high, 0.02 * low)
    return low, high


def _towards_zero(end: float) -> np.ndarray:
    return end * np.geomspace(1e-6, 1, _POINTS // 2)


def _log_density(law: Any, v: np.ndarray) -> np.ndarray:
    """Log density, -inf outside the support and at zero, where a density may be infinite and where an atom sits."""
    inside = (v != 0) & np.asarray(law.support(v))
    if not inside.any():
        return np.full(v.shape, -np.inf)
    return np.where(inside, np.asarray(law.log_prob(np.where(inside, v, v[inside][0])), np.float64), -np.inf)


def _visible_peak(law: Any, grid: np.ndarray, height: np.ndarray) -> float:
    # Where the density diverges at zero the innermost stretch may leave the frame.
    away = np.abs(grid) > 0.02 * np.max(np.abs(grid))
    return float(np.max(height[away & np.isfinite(height)], initial=0.0))


def _atoms(law: Any) -> list[tuple[float, float]]:
    """Places and masses of the atoms of a law."""
    atoms = [(0.0, float(getattr(law, "zero_mass", 0.0)))]
    atoms.append((float(getattr(law, "point", 0.0)), float(getattr(law, "point_mass", 0.0))))
    return [(place, mass) for place, mass in atoms if mass > 0]


def _has_density(law: Any) -> bool:
    return sum(mass for _, mass in _atoms(law)) < 1 - 1e-9


def _arrows(ax: Axes, name: str, law: Any, color: str) -> None:
    for place, mass in _atoms(law):
        label = f"{name}: mass {mass:.3g} at {place:.3g}"
        high = ax.get_xaxis_transform()
        ax.plot([place, place], [0, 1], color=color, transform=high, label=label, clip_on=False, zorder=4)
        ax.plot([place], [1], "^", color=color, transform=high, clip_on=False, markersize=6)


def _quantiles(law: Any) -> list[float]:
    """Ends of the stretch that holds the bulk."""
    return list(map(float, law.icdf(np.array([0.002, 0.995] if _side(law) > 0 else [0.005, 0.998]))))


def _scale(law: Any) -> float:
    """Where the tail sets in: beyond the bulk, and beyond the data's own scales, which near Tc the bulk has left."""
    ends = [abs(end) for end in _quantiles(law)]
    if hasattr(law, "moments"):
        m = law.moments
        ends += [abs(float(m.minimizer)), float(np.sqrt(m.alpha3 / m.alpha1)) if m.alpha1 > 0 else 0.0]
    return max(ends)


def _side(law: Any) -> float:
    return 1.0 if float(law.mean) >= 0 else -1.0

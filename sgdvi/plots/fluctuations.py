"""Fluctuation inversion: the spread of SGD against the temperature."""

import numpy as np
from jax.typing import ArrayLike
from matplotlib.axes import Axes

from sgdvi._internal.style.canvas import canvas, legend_above
from sgdvi._internal.style.palette import LIGHT
from sgdvi.laws import critical_temperature, fluctuation_maxima, fluctuations
from sgdvi.laws.moments import Moments
from sgdvi.laws.temperatures import infinite_from, temperature_grid

_POINTS = 256
_FACTOR = "#0072b2"


def plot_fluctuations(
    moments: Moments,
    temperature: ArrayLike | None = None,
    depth: int = 1,
    width: int = 1,
    weight_decay: float = 0.0,
    *,
    ax: Axes | None = None,
) -> Axes:
    """Draw Var[v] and the variance of one factor against the temperature, with their maxima.

    Parameters
    ----------
    moments, depth, width, weight_decay
        As in `sgdvi.fluctuations`; scalars.
    temperature
        Temperatures, increasing; by default up to Tc, or over decades where there is none.
    ax
        Axes to draw on; a new figure by default.

    Returns
    -------
    Axes
    """
    if temperature is None:
        temperature = temperature_grid(moments, _POINTS, depth, width, weight_decay)
    heat = np.asarray(temperature, np.float64)
    values = fluctuations(moments, heat, depth, width, weight_decay)
    critical = float(critical_temperature(moments, depth, weight_decay))
    curves = {
        "v": ("Var[v]", values.variance, LIGHT.ink, "-", 2.0),
        "u": ("Var[u] of one factor", values.factor_variance, _FACTOR, (0, (5, 1.5)), 1.6),
    }
    with canvas(ax) as axes:
        for of, (name, heights, color, dashes, thickness) in curves.items():
            tops = fluctuation_maxima(moments, of, depth, width, weight_decay)
            shown = np.where(np.isfinite(heights), heights, np.nan)
            where = [f"{top / critical:.2f} Tc" if np.isfinite(critical) else f"T = {top:.2g}" for top in tops]
            label = f"{name}, largest at {' and '.join(where)}" if where else name
            axes.plot(heat, shown, color=color, linestyle=dashes, linewidth=thickness, label=label)
            axes.plot(tops, np.interp(tops, heat, heights), "o", color=color, markersize=5)
        edge = infinite_from(moments, width, weight_decay) if depth == 0 else critical
        if np.isfinite(edge):
            name = "infinite variance from here on" if depth == 0 else "Tc"
            axes.axvline(edge, color=LIGHT.muted, linewidth=1.0, linestyle=":", label=name)
            axes.set(xlim=(0, None), ylim=(0, None))
        else:
            axes.set(xscale="log", yscale="log")
        axes.set(xlabel="temperature T = learning rate / batch size", ylabel="variance in the stationary law")
        legend_above(axes)
    return axes

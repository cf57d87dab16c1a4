"""Figures for papers: exact laws, phase diagrams, fluctuations, comparisons and the law of balance, in matplotlib.

Every function draws on the ``ax`` that it is given, or on a new figure in the style of sgdvi, and returns the Axes. The
exact law is the black line; the other colours are safe for colour-blind readers (Okabe and Ito 2008).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sgdvi._internal.style.canvas import COLORS as COLORS
from sgdvi._internal.style.canvas import save_figure as save_figure
from sgdvi._internal.style.canvas import set_style as set_style
from sgdvi._internal.style.law_figure import plot_law as plot_law
from sgdvi._internal.style.law_figure import plot_law_panels as plot_law_panels
from sgdvi.plots.diagram import plot_phase_diagram as plot_phase_diagram
from sgdvi.plots.fluctuations import plot_fluctuations as plot_fluctuations

if TYPE_CHECKING:
    from sgdvi.experiment.map.figure import plot_sweep as plot_sweep
    from sgdvi.noise_balance.figure import plot_balance as plot_balance
    from sgdvi.plots.forest import plot_forest as plot_forest

__all__ = [
    "COLORS",
    "plot_balance",
    "plot_fluctuations",
    "plot_forest",
    "plot_law",
    "plot_law_panels",
    "plot_phase_diagram",
    "plot_sweep",
    "save_figure",
    "set_style",
]

# On first use: who draws a law must not wait for all that measures the others.
_LATER = {
    "plot_balance": "sgdvi.noise_balance.figure",
    "plot_forest": "sgdvi.plots.forest",
    "plot_sweep": "sgdvi.experiment.map.figure",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)

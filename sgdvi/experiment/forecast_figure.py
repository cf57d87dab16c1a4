"""The figure of a forecast: predicted laws of the functionals by flavour, in units of the posterior's."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from sgdvi._internal.style.canvas import canvas, legend_above
from sgdvi._internal.style.palette import LIGHT

Summaries = Mapping[str, Mapping[str, float]]
# Okabe and Ito (2008), in the order of the flavours
_COLORS = ("#d55e00", "#cc79a7", "#e69f00", "#56b4e9", "#0072b2", "#009e73")
_MOST = 12
_EDGE = 4.0


def plot_laws(posterior: Summaries, laws: Mapping[str, Summaries], axes: Axes | None = None) -> Axes:
    """Draw a forest: for each functional and flavour the mean and the central 90 % of the predicted law.

    Parameters
    ----------
    posterior
        Functional -> "mean" and "sd".
    laws
        Title of a flavour -> functional -> "mean", "q5" and "q95".
    axes
        Axes to draw on; None makes a figure.
    """
    names = list(posterior)[:_MOST]
    units = {name: posterior[name] for name in names}
    step = 0.8 / (len(laws) + 1)
    with canvas(axes, (6.4, 1.2 + 0.8 * len(names))) as made:
        made.axvspan(-1.645, 1.645, color=LIGHT.ink, alpha=0.07, linewidth=0)
        made.axvline(0, color=LIGHT.ink, linewidth=1.2)
        for place, (title, law) in enumerate(laws.items()):
            height = np.arange(len(names)) - 0.4 + step * (place + 1)
            mean, low, high = (
                np.clip([(law[name][key] - unit["mean"]) / unit["sd"] for name, unit in units.items()], -_EDGE, _EDGE)
                for key in ("mean", "q5", "q95")
            )
            color = _COLORS[place % len(_COLORS)]
            made.hlines(height, low, high, color=color, linewidth=2, label=title)
            made.plot(mean, height, "o", color=color, markersize=4)
        made.set(yticks=range(len(names)), yticklabels=names, xlim=(-_EDGE, _EDGE), ylim=(len(names) - 0.5, -0.5))
        made.set_xlabel("mean and central 90 % of the predicted law, in posterior sds from its mean (grey: posterior)")
        legend_above(made)
    return made

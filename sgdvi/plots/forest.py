"""The forest of a comparison: every run against the reference, functional by functional."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from sgdvi._internal.check import require
from sgdvi._internal.style.canvas import canvas, legend_above
from sgdvi._internal.style.palette import LIGHT
from sgdvi.diagnostics.record import Record
from sgdvi.report.figures import draw_forest, forest_size
from sgdvi.report.series import worst_first

_MOST = 10


def plot_forest(comparison: Record, functionals: Sequence[str] | None = None, *, ax: Axes | None = None) -> Axes:
    """Draw mean and 5 % to 95 % range of every run, in standard deviations of the reference from its mean.

    Parameters
    ----------
    comparison
        What `sgdvi.compare` or `sgdvi.report.read_record` returns.
    functionals
        Which of its functionals to draw, from the top; by default the ten on which the runs are worst.
    ax
        Axes to draw on; a new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        For a functional that was not compared, or none at all.

    Notes
    -----
    The light bar is the reference's own range, the dark one what chance explains. Beyond 5 sd a run is drawn at the
    edge. `arviz.plot_forest` draws the parameters of the draws themselves.
    """
    known = worst_first(comparison)
    names = known[:_MOST] if functionals is None else list(functionals)
    unknown = [name for name in names if name not in known]
    require(names and not unknown, "functionals must be among those compared", unknown or "none", ", ".join(known))
    with canvas(ax, forest_size(comparison, names)) as axes:
        draw_forest(axes, comparison, names, LIGHT)
        legend_above(axes)
    return axes

"""The (u, w) plane of a two-factor network: a line against a cloud."""

from sgdvi.comparison import Comparison
from sgdvi.report import plots
from sgdvi.report._render import render
from sgdvi.report.context import Context
from sgdvi.report.figure import picture
from sgdvi.report.section import Section


def section(comparison: Comparison, context: Context) -> Section | None:
    """Return the picture of the two factors, or None where no run has both."""
    runs = plots.plane_runs(comparison)
    if not runs:
        return None
    exact = context.problem.exact if context.problem else None
    minimizer = float(exact.moments.minimizer) if exact else None
    drawn = picture(
        lambda theme: plots.plane(comparison, theme, minimizer),
        f"Scatter of u against w for {', '.join(runs)}. The balanced lines are the two diagonals.",
        "Up to 1 500 draws of each run. At stationarity SGD lies on the dashed balanced lines.",
    )
    lead = (
        "Noise balance drives |u| and |w| of SGD together: its law lives on a line, which has no area, while a "
        "posterior fills the plane along the valley u w = v*. No reweighting turns one into the other. What both can "
        "be asked about is the product v = u w."
    )
    return Section("plane", "The two factors", render("figures", lead=lead, pictures=[drawn]))

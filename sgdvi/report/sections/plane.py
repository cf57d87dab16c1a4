"""The (u, w) plane of a two-factor network: a line against a cloud."""

import numpy as np

from sgdvi._internal.style.figure import Picture, picture
from sgdvi.diagnostics.curves import finite
from sgdvi.diagnostics.record import Record
from sgdvi.report import figures
from sgdvi.report._render import Section, render
from sgdvi.report.context import Context


def section(record: Record, context: Context) -> Section | None:
    """Return the picture of the two factors, or None where no run has both."""
    runs = [run for run in record.runs if run in record.factors]
    if not runs:
        return None
    minimizer = context.problem.minimizer if context.problem else None
    drawn = picture(
        lambda theme: figures.plane(record, theme, minimizer),
        f"Scatter of u against w for {', '.join(runs)}. The balanced lines are the two diagonals.",
        "Up to 1 500 draws of each run. At stationarity SGD lies on the dashed balanced lines.",
    )
    pictures = [drawn]
    logs = _imbalance(*record.factors["SGD"]) if "SGD" in record.factors else np.zeros(0)
    if finite(logs).size and np.ptp(finite(logs)) > 0:
        pictures.append(_balance(logs))
    lead = (
        "Noise balance drives |u| and |w| of SGD together: its law lives on a line, which has no area, while a "
        "posterior fills the plane along the valley u w = v*. No reweighting turns one into the other. What both can "
        "be asked about is the product v = u w."
    )
    return Section("plane", "The two factors", render("figures", lead=lead, pictures=pictures))


def _imbalance(u: np.ndarray, w: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        residual = np.abs(u**2 - w**2) / (u**2 + w**2)
        if residual.ndim > 2:
            residual = residual.max(axis=tuple(range(2, residual.ndim)))
        return np.log10(np.maximum(residual, 1e-17))


def _balance(logs: np.ndarray) -> Picture:
    return picture(
        lambda theme: figures.trace(logs, "log10 of |u² − w²| / (u² + w²)", theme),
        "Trace of the relative imbalance of the two factors for each chain of SGD, logarithmic.",
        "The imbalance of SGD's two factors: at 0 one of them is all there is, −16 is the rounding error of float64.",
    )

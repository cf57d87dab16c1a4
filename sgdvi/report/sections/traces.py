"""SGD over time: is it stationary, does it collapse?"""

import numpy as np

from sgdvi.comparison import Comparison
from sgdvi.report import figures, series
from sgdvi.report._format import number
from sgdvi.report._render import render
from sgdvi.report.context import Context
from sgdvi.report.section import Section
from sgdvi.style.figure import Picture, picture
from sgdvi.style.palette import EXACT_LAW


def section(comparison: Comparison, context: Context) -> Section | None:
    """Return traces of the first functional, and of its size where it falls."""
    if "SGD" not in series.sampled(comparison):
        return None
    name = next(iter(comparison.functionals))
    values = series.draws(comparison, "SGD", name)
    pictures = [_values(comparison, values, name)]
    if _falls(values):
        pictures.append(_fall(values, name))
    elif "NUTS" in series.sampled(comparison):
        pictures.append(_reference(comparison, name))
    return Section("traces", "SGD over time", render("figures", lead="", pictures=pictures))


def _values(comparison: Comparison, values: np.ndarray, name: str) -> Picture:
    exact = comparison.summaries.get(EXACT_LAW, {}).get(name, {})
    atom = series.zero_mass(comparison.runs.get(EXACT_LAW)) > 0
    edges = [exact.get(column) for column in ("q5", "q95")]
    band = None if atom else [edge for edge in edges if edge is not None] or None
    note = "" if band is None else " The grey band is the 5 % to 95 % range of the exact law."
    return picture(
        lambda theme: figures.trace(values, name, theme, band),
        f"Trace of {name} for {len(values)} chains of SGD over {number(values.shape[1])} kept draws.",
        f"{name} in each chain of SGD (at most 8 shown).{note}",
    )


def _falls(values: np.ndarray) -> bool:
    # Only chooses whether a figure is worth its place; the check of collapse is in the diagnostics.
    sizes = np.abs(series.finite(values))
    return sizes.size > 0 and float(np.max(sizes)) > 0 and float(np.quantile(sizes, 0.05)) < 1e-3 * float(np.max(sizes))


def _fall(values: np.ndarray, name: str) -> Picture:
    with np.errstate(divide="ignore"):
        logs = np.log10(np.abs(values))
    logs = np.where(np.isfinite(logs), logs, np.nan)
    return picture(
        lambda theme: figures.trace(logs, f"log10 |{name}|", theme),
        f"Trace of the decimal logarithm of |{name}| for {len(values)} chains of SGD.",
        f"The size of {name} on a logarithmic axis: a steady fall is collapse to 0, not convergence.",
    )


def _reference(comparison: Comparison, name: str) -> Picture:
    values = series.draws(comparison, "NUTS", name)
    return picture(
        lambda theme: figures.trace(values, name, theme, run="NUTS"),
        f"Trace of {name} for {len(values)} chains of NUTS over {number(values.shape[1])} draws.",
        f"{name} in each chain of NUTS, for comparison.",
    )

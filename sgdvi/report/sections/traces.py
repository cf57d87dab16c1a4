"""SGD over time: is it stationary, does it collapse?"""

import numpy as np

from sgdvi._internal.style.figure import Picture, picture
from sgdvi._internal.style.palette import EXACT_LAW
from sgdvi._internal.text import typeset
from sgdvi.diagnostics.curves import finite
from sgdvi.diagnostics.record import Record
from sgdvi.report import figures, series
from sgdvi.report._render import Section, render
from sgdvi.report.context import Context


def section(record: Record, context: Context) -> Section | None:
    """Return traces of the first functional, and of its size where it falls."""
    if "SGD" not in series.sampled(record):
        return None
    name = next(iter(record.functionals))
    values = record.values["SGD"][name]
    pictures = [_values(record, values, name)]
    if _falls(values):
        pictures.append(_fall(values, name))
    elif "NUTS" in series.sampled(record):
        pictures.append(_reference(record, name))
    return Section("traces", "SGD over time", render("figures", lead="", pictures=pictures))


def _values(record: Record, values: np.ndarray, name: str) -> Picture:
    exact = record.summaries.get(EXACT_LAW, {}).get(name, {})
    atom = EXACT_LAW in record.laws and record.laws[EXACT_LAW].zero_mass > 0
    edges = [exact.get(column) for column in ("q5", "q95")]
    band = None if atom else [edge for edge in edges if edge is not None] or None
    note = "" if band is None else " The grey band is the 5 % to 95 % range of the exact law."
    return picture(
        lambda theme: figures.trace(values, name, theme, band),
        f"Trace of {name} for {len(values)} chains of SGD over {typeset(values.shape[1])} kept draws.",
        f"{name} in each chain of SGD (at most 8 shown).{note}",
    )


def _falls(values: np.ndarray) -> bool:
    # Only chooses whether a figure is worth its place; the check of collapse is in the diagnostics.
    sizes = np.abs(finite(values))
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


def _reference(record: Record, name: str) -> Picture:
    values = record.values["NUTS"][name]
    return picture(
        lambda theme: figures.trace(values, name, theme, run="NUTS"),
        f"Trace of {name} for {len(values)} chains of NUTS over {typeset(values.shape[1])} draws.",
        f"{name} in each chain of NUTS, for comparison.",
    )

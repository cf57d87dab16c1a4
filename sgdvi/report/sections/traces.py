"""SGD over time: is it stationary, is it balanced, does it collapse?"""

import numpy as np

from sgdvi.comparison import Comparison
from sgdvi.report import plots, series
from sgdvi.report._render import render
from sgdvi.report.context import Context
from sgdvi.report.figure import Picture, picture
from sgdvi.report.palette import EXACT_LAW
from sgdvi.report.section import Section


def section(comparison: Comparison, context: Context) -> Section | None:
    """Return traces of the first functional, of its size where it falls, and of the balance of the factors."""
    if "SGD" not in series.sampled(comparison):
        return None
    name = next(iter(comparison.functionals))
    values = series.draws(comparison, "SGD", name)
    pictures = [_values(comparison, values, name)]
    if _falls(values):
        pictures.append(_fall(values, name))
    if "SGD" in plots.plane_runs(comparison):
        pictures.append(_balance(comparison))
    return Section("traces", "SGD over time", render("figures", lead="", pictures=pictures))


def _values(comparison: Comparison, values: np.ndarray, name: str) -> Picture:
    law = comparison.runs.get(EXACT_LAW)
    band = None if law is None or series.zero_mass(law) > 0 else list(series.quantiles(law, [0.05, 0.95]))
    note = "" if band is None else " The grey band is the 5 % to 95 % range of the exact law."
    return picture(
        lambda theme: plots.trace(values, name, theme, band),
        f"Trace of {name} for {len(values)} chains of SGD over {values.shape[1]} kept draws.",
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
        lambda theme: plots.trace(logs, f"log10 |{name}|", theme),
        f"Trace of the decimal logarithm of |{name}| for {len(values)} chains of SGD.",
        f"The size of {name} on a logarithmic axis: a steady fall is collapse to 0, not convergence.",
    )


def _balance(comparison: Comparison) -> Picture:
    tree = comparison.runs["SGD"]["posterior"]
    u, w = (np.asarray(tree[site], dtype=np.float64) for site in ("u", "w"))
    with np.errstate(divide="ignore", invalid="ignore"):
        residual = np.abs(u**2 - w**2) / (u**2 + w**2)
        if residual.ndim > 2:
            residual = residual.max(axis=tuple(range(2, residual.ndim)))
        logs = np.log10(np.maximum(residual, 1e-17))
    return picture(
        lambda theme: plots.trace(logs, "log10 of |u² − w²| / (u² + w²)", theme),
        "Trace of the relative imbalance of the two factors for each chain of SGD, logarithmic.",
        "The imbalance of the two factors: 0 is none left of it at all, −16 is the rounding error of float64.",
    )

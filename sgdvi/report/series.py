"""From a comparison to plain arrays: what the figures and tables of the report draw."""

from typing import Any

import numpy as np
from xarray import DataTree

from sgdvi.comparison import Comparison
from sgdvi.draws import functional

FIGURE_DRAWS = 4000


def draws(comparison: Comparison, run: str, name: str) -> np.ndarray:
    """Return the draws of a functional, shape (chain, draw), float64."""
    return np.asarray(functional(comparison.runs[run], comparison.functionals[name]), dtype=np.float64)


def sampled(comparison: Comparison) -> list[str]:
    """Names of the runs that have draws."""
    return [name for name, run in comparison.runs.items() if isinstance(run, DataTree)]


def laws(comparison: Comparison) -> list[str]:
    """Names of the runs that are laws with a density."""
    return [name for name, run in comparison.runs.items() if not isinstance(run, DataTree)]


def zero_mass(law: Any) -> float:
    """Mass of the law's atom at 0; 0 where it has none."""
    return float(np.max(np.asarray(getattr(law, "zero_mass", 0.0))))


def density(law: Any, grid: np.ndarray) -> np.ndarray:
    """Density of a law on a grid; 0 where it is not defined, and without its atom at 0."""
    grid = np.where(grid == 0, np.finfo(float).tiny, grid)
    with np.errstate(over="ignore", invalid="ignore"):
        values = np.exp(np.asarray(law.log_prob(grid), dtype=np.float64))
    return np.where(np.isfinite(values), values, 0.0)


def quantiles(law: Any, probabilities: list[float]) -> np.ndarray:
    """Quantiles of a law."""
    return np.asarray(law.icdf(np.asarray(probabilities)), dtype=np.float64)


def thin(values: np.ndarray, limit: int = FIGURE_DRAWS) -> np.ndarray:
    """Return at most `limit` of the values, evenly spread over them, in their order."""
    if len(values) <= limit:
        return values
    return values[np.linspace(0, len(values) - 1, limit).astype(int)]


def finite(values: np.ndarray) -> np.ndarray:
    """Return the finite entries as one vector."""
    flat = np.ravel(values)
    return flat[np.isfinite(flat)]


def window(comparison: Comparison, name: str) -> tuple[float, float]:
    """Return the stretch of the axis that holds all runs of a functional but 1 in 500 on each side."""
    edges = []
    for run in sampled(comparison):
        values = finite(draws(comparison, run, name))
        if values.size:
            edges.append(np.quantile(values, [0.002, 0.998]))
    for run in laws(comparison):
        law = comparison.runs[run]
        if zero_mass(law) < 1:
            edges.append(quantiles(law, [0.002, 0.998]))
    ends = np.asarray(edges)
    ends = ends[np.all(np.isfinite(ends), axis=-1)] if ends.size else np.array([[-1.0, 1.0]])
    low, high = float(ends[:, 0].min()), float(ends[:, 1].max())
    pad = 0.05 * (high - low) or 0.5 * abs(low) or 1.0
    return low - pad, high + pad

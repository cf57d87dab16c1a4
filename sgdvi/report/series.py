"""From a comparison to plain arrays: what the figures and tables of the report draw."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sgdvi.comparison import Comparison
from sgdvi.draws.tree import is_tree

FIGURE_DRAWS = 4000
GRID_POINTS = 240


@dataclass(frozen=True)
class Curves:
    """One functional under all runs, on one grid, evaluated once for all figures.

    Attributes
    ----------
    name, grid
        The functional; points on its axis, shape (GRID_POINTS,).
    draws
        Run -> its finite draws, sorted.
    densities, distributions
        Run -> density (laws only, without an atom) and distribution function (all runs) on the grid.
    atoms
        Law -> its mass at 0.
    """

    name: str
    grid: np.ndarray
    draws: Mapping[str, np.ndarray]
    densities: Mapping[str, np.ndarray]
    distributions: Mapping[str, np.ndarray]
    atoms: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class StoredLaw:
    """A law of a stored report: its mass at 0, and functional -> grid, density (None: an atom alone), cdf there."""

    zero_mass: float
    curves: Mapping[str, tuple[Any, ...]]


def gather(comparison: Comparison, name: str) -> Curves:
    """Evaluate a functional under all runs."""
    sorted_draws = {run: np.sort(finite(draws(comparison, run, name))) for run in sampled(comparison)}
    lines = {run: law for run, law in laws(comparison).items() if name in comparison.summaries[run]}
    atoms = {run: zero_mass(law) for run, law in lines.items()}
    stored = next((law.curves[name][0] for law in lines.values() if isinstance(law, StoredLaw)), None)
    grid = np.linspace(*_window(comparison, name, sorted_draws, atoms), GRID_POINTS) if stored is None else stored
    distributions = {
        run: np.searchsorted(values, grid, side="right") / max(values.size, 1) for run, values in sorted_draws.items()
    }
    shapes = {run: _shape(law, name, grid, atoms[run] < 1) for run, law in lines.items()}
    distributions |= {run: shape[1] for run, shape in shapes.items()}
    densities = {run: shape[0] for run, shape in shapes.items() if shape[0] is not None}
    return Curves(name, grid, sorted_draws, densities, distributions, atoms)


def draws(comparison: Comparison, run: str, name: str) -> np.ndarray:
    """Return the draws of a functional, shape (chain, draw), float64."""
    return comparison.values[run][name]


def sampled(comparison: Comparison) -> list[str]:
    """Names of the runs that have draws."""
    return [name for name, run in comparison.runs.items() if is_tree(run)]


def laws(comparison: Comparison) -> dict[str, Any]:
    """Return the runs that are laws with a density."""
    return {name: run for name, run in comparison.runs.items() if not is_tree(run)}


def zero_mass(law: Any) -> float:
    """Mass of the law's atom at 0; 0 where it has none."""
    return float(np.max(np.asarray(getattr(law, "zero_mass", 0.0))))


def thin(values: np.ndarray, limit: int = FIGURE_DRAWS) -> np.ndarray:
    """Return at most `limit` of the values, evenly spread over them, in their order."""
    if len(values) <= limit:
        return values
    return values[np.linspace(0, len(values) - 1, limit).astype(int)]


def finite(values: np.ndarray) -> np.ndarray:
    """Return the finite entries as one vector."""
    flat = np.ravel(values)
    return flat[np.isfinite(flat)]


def _shape(law: Any, name: str, grid: np.ndarray, has_density: bool) -> tuple[np.ndarray | None, np.ndarray]:
    """Return density (None without one) and distribution function on the grid."""
    if isinstance(law, StoredLaw):
        _, density, distribution = law.curves[name]
        return density, distribution
    return _density(law, grid) if has_density else None, np.asarray(law.cdf(grid), dtype=np.float64)


def _density(law: Any, grid: np.ndarray) -> np.ndarray:
    support = getattr(law, "support", None)
    # 0 itself is where a density may be infinite and where an atom sits: it is left out
    inside = (grid != 0) & (np.ones(grid.shape, dtype=bool) if support is None else np.asarray(support(grid)))
    if not inside.any():
        return np.zeros(grid.shape)
    safe = np.where(inside, grid, grid[inside][0])
    values = np.where(inside, np.exp(np.asarray(law.log_prob(safe), dtype=np.float64)), 0.0)
    return np.where(np.isfinite(values), values, 0.0)


def _window(
    comparison: Comparison, name: str, sorted_draws: Mapping[str, np.ndarray], atoms: Mapping[str, float]
) -> tuple[float, float]:
    """Return the stretch that holds all runs but 1 in 500 on each side; for laws about as much."""
    edges = [np.quantile(values, [0.002, 0.998]) for values in sorted_draws.values() if values.size]
    for run in atoms:
        low, middle, high = (comparison.summaries[run][name].get(column) for column in ("q5", "q50", "q95"))
        if atoms[run] < 1 and low is not None and middle is not None and high is not None:
            edges.append(np.array([middle - 1.8 * (middle - low), middle + 1.8 * (high - middle)]))
    ends = np.array([edge for edge in edges if np.all(np.isfinite(edge))] or [[-1.0, 1.0]])
    low, high = float(ends[:, 0].min()), float(ends[:, 1].max())
    pad = 0.05 * (high - low) or 0.5 * abs(low) or 1.0
    return low - pad, high + pad

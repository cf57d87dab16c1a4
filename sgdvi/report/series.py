"""From a record to plain arrays: what the figures and tables of the report draw."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sgdvi.diagnostics.curves import finite, grid_of
from sgdvi.diagnostics.findings import Status
from sgdvi.diagnostics.record import Record

FIGURE_DRAWS = 4000


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


def gather(record: Record, name: str) -> Curves:
    """Return a functional under all runs; the laws on it share one grid, which the draws follow."""
    draws = {run: np.sort(finite(record.values[run][name])) for run in sampled(record)}
    laws = {run: law for run, law in record.laws.items() if name in law.curves}
    curves = {run: law.curves[name] for run, law in laws.items()}
    grid = next((curve.grid for curve in curves.values()), None)
    grid = grid_of(draws.values()) if grid is None else grid
    steps = {run: np.searchsorted(values, grid, side="right") / max(values.size, 1) for run, values in draws.items()}
    return Curves(
        name,
        grid,
        draws,
        {run: curve.density for run, curve in curves.items() if curve.density is not None},
        steps | {run: curve.distribution for run, curve in curves.items()},
        {run: law.zero_mass for run, law in laws.items()},
    )


def sampled(record: Record) -> list[str]:
    """Names of the runs that have draws."""
    return [name for name in record.runs if name in record.values]


def worst_first(record: Record) -> list[str]:
    """Names of the functionals, those with the worst distances first."""
    badness: dict[str, tuple[int, float]] = dict.fromkeys(record.functionals, (0, 0.0))
    for finding in record.findings:
        if not finding.check.startswith("distance."):
            continue
        if finding.functional in badness:
            rank = (Status(finding.status).severity, finding.value or 0.0)
            badness[finding.functional] = max(badness[finding.functional], rank)
        for name in badness:  # a finding tells the values of the other functionals too
            value = finding.details.get(f"value of {name}") if finding.check == "distance.w1" else None
            badness[name] = max(badness[name], (0, float(value) if isinstance(value, float) else 0.0))
    return sorted(badness, key=lambda name: badness[name], reverse=True)


def thin(values: np.ndarray, limit: int = FIGURE_DRAWS) -> np.ndarray:
    """Return at most `limit` of the values, evenly spread over them, in their order."""
    if len(values) <= limit:
        return values
    return values[np.linspace(0, len(values) - 1, limit).astype(int)]

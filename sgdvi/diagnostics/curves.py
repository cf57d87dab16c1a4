"""Laws on the grids of the figures: density and distribution function as arrays, so that a page needs no law."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import numpy as np

GRID_POINTS = 240
Summary = Mapping[str, float | None]


@dataclass(frozen=True, eq=False)
class Curve:
    """A law of a functional on a grid, each shape (GRID_POINTS,); density None where the law is an atom alone."""

    grid: np.ndarray
    density: np.ndarray | None
    distribution: np.ndarray


@dataclass(frozen=True, eq=False)
class LawCurves:
    """A law as figures draw it: the mass of its atom at 0, and functional -> curve."""

    zero_mass: float
    curves: Mapping[str, Curve]


class OnFirstUse(Mapping[str, LawCurves]):
    """A mapping that is made when it is first read: exact laws compile for seconds, and only a page needs curves."""

    def __init__(self, make: Callable[[], Mapping[str, LawCurves]]):
        self._make = make

    @cached_property
    def _made(self) -> Mapping[str, LawCurves]:
        return self._make()

    def __getitem__(self, name: str) -> LawCurves:
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)


def curves_of(
    laws: Mapping[str, Any],
    summaries: Mapping[str, Mapping[str, Summary]],
    values: Mapping[str, Mapping[str, np.ndarray]],
) -> dict[str, LawCurves]:
    """Evaluate laws, each on the functionals of its summary, on grids that all runs share.

    Parameters
    ----------
    laws
        Name -> law with ``log_prob`` and ``cdf``.
    summaries
        Run or law -> functional -> its summary.
    values
        Run with draws -> functional -> draws.
    """
    atoms = {name: float(np.max(np.asarray(getattr(law, "zero_mass", 0.0)))) for name, law in laws.items()}
    functionals = dict.fromkeys(functional for name in laws for functional in summaries[name])
    grids = {
        functional: grid_of(
            [draws[functional] for draws in values.values()],
            [summaries[name][functional] for name in laws if functional in summaries[name] and atoms[name] < 1],
        )
        for functional in functionals
    }
    with jax.enable_x64(True):
        return {
            name: LawCurves(
                atoms[name],
                {functional: _curve(law, grids[functional], atoms[name] < 1) for functional in summaries[name]},
            )
            for name, law in laws.items()
        }


def grid_of(draws: Iterable[np.ndarray], laws: Iterable[Summary] = ()) -> np.ndarray:
    """Return the points of a functional's axis: all draws but 1 in 500 on each side; of laws about as much.

    Parameters
    ----------
    draws
        Of every run, any shape.
    laws
        Summaries of laws with a density: the stretch beyond q5 and q95 is guessed from them.
    """
    edges = [np.quantile(kept, [0.002, 0.998]) for kept in map(finite, draws) if kept.size]
    for summary in laws:
        low, middle, high = (summary.get(column) for column in ("q5", "q50", "q95"))
        if low is not None and middle is not None and high is not None:
            edges.append(np.array([middle - 1.8 * (middle - low), middle + 1.8 * (high - middle)]))
    ends = np.array([edge for edge in edges if np.all(np.isfinite(edge))] or [[-1.0, 1.0]])
    left, right = float(ends[:, 0].min()), float(ends[:, 1].max())
    pad = 0.05 * (right - left) or 0.5 * abs(left) or 1.0
    return np.linspace(left - pad, right + pad, GRID_POINTS)


def finite(values: np.ndarray) -> np.ndarray:
    """Return the finite entries as one vector."""
    flat = np.ravel(values)
    return flat[np.isfinite(flat)]


def _curve(law: Any, grid: np.ndarray, has_density: bool) -> Curve:
    density = _density(law, grid) if has_density else None
    return Curve(grid, density, np.asarray(law.cdf(grid), dtype=np.float64))


def _density(law: Any, grid: np.ndarray) -> np.ndarray:
    support = getattr(law, "support", None)
    # 0 itself is where a density may be infinite and where an atom sits: it is left out
    inside = (grid != 0) & (np.ones(grid.shape, dtype=bool) if support is None else np.asarray(support(grid)))
    if not inside.any():
        return np.zeros(grid.shape)
    safe = np.where(inside, grid, grid[inside][0])
    values = np.where(inside, np.exp(np.asarray(law.log_prob(safe), dtype=np.float64)), 0.0)
    return np.where(np.isfinite(values), values, 0.0)

"""Adaptive quadrature over the support of a batch of one-dimensional densities, heavy tails included."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

NODES = 16
PANELS = 64  # of 16 nodes: 1024 rows
TOLERANCE = 1e-10
# A function that is only noise is never resolved: its panels are then taken as they are.
_MAX_ROUNDS, _MAX_ACTIVE = 100, 2000
_x, _w = np.polynomial.legendre.leggauss(NODES)
# Far enough from zero for every density whose tails double precision can follow.
_SMALLEST, _LARGEST = 1e-300, 1e300


@dataclass(frozen=True)
class Coordinate:
    """Map t -> v of a support that turns power-law tails and end-point singularities into exponentials in t.

    Arrays of shape (B,); an infinite bound is no bound.
    """

    lower: np.ndarray
    upper: np.ndarray
    centre: np.ndarray
    scale: np.ndarray

    def to_v(self, t: np.ndarray) -> np.ndarray:
        """Value at t, shape (..., B)."""
        return self._both(t)[0]

    def rate(self, t: np.ndarray) -> np.ndarray:
        """Derivative dv/dt."""
        return self._both(t)[1]

    def _both(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        below, above = np.isfinite(self.lower), np.isfinite(self.upper)
        with np.errstate(all="ignore"):
            grown = np.exp(np.clip(t, -700, 700))
            share = 1 / (1 + np.exp(-np.clip(t, -700, 700)))
            line = self.centre + self.scale * np.sinh(np.clip(t, -700, 700))
            length = np.where(below & above, self.upper - self.lower, 1.0)
            # from the nearer end, so that no digits are lost at either
            inner = np.where(t < 0, self.lower + length * share, self.upper - length / (1 + grown))
            v = np.select(
                [below & above, below, above], [inner, self.lower + grown, self.upper - 1 / grown], default=line
            )
            rate = np.select(
                [below & above, below, above],
                [length * share / (1 + grown), grown, 1 / grown],
                default=self.scale * np.cosh(np.clip(t, -700, 700)),
            )
        return v, rate

    def to_t(self, v: np.ndarray) -> np.ndarray:
        """Coordinate of v, shape (..., B)."""
        below, above = np.isfinite(self.lower), np.isfinite(self.upper)
        with np.errstate(all="ignore"):
            low = np.log(np.maximum(v - self.lower, _SMALLEST))
            high = np.log(np.maximum(self.upper - v, _SMALLEST))
            return np.select(
                [below & above, below, above],
                [low - high, low, -high],
                default=np.arcsinh((v - self.centre) / self.scale),
            )

    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Ends of the range of t, shape (B,): where v, or its distance from a bound, leaves double precision."""
        below, above = np.isfinite(self.lower), np.isfinite(self.upper)
        one = below ^ above
        reach = np.arcsinh(np.minimum(_LARGEST, _LARGEST / self.scale))
        high = np.where(one, np.log(_LARGEST), np.where(below & above, -np.log(_SMALLEST), reach))
        return np.where(one, np.log(_SMALLEST), -high), high


def integrate(function: Callable[[np.ndarray], np.ndarray], edges: np.ndarray) -> np.ndarray:
    """Integrate over every interval of t between edges, halving until halving changes nothing.

    Parameters
    ----------
    function
        Integrands at t of shape (M, B): shape (F, M, B).
    edges
        Increasing in the first axis, shape (K + 1, B).

    Returns
    -------
    array
        Integrals, shape (F, K, B).
    """
    count, laws = len(edges) - 1, edges.shape[1]
    owner = np.repeat(np.arange(count), laws)
    law = np.tile(np.arange(laws), count)
    active = np.stack([owner, law, edges[:-1].ravel(), edges[1:].ravel()])
    whole = _panels(function, active, laws)
    total = np.zeros((len(whole), count, laws))
    size = np.zeros((len(whole), laws))
    for row, value in zip(size, whole, strict=True):
        np.add.at(row, active[1].astype(int), np.abs(value))
    for _ in range(_MAX_ROUNDS):
        if not 0 < active.shape[1] <= _MAX_ACTIVE * laws:
            break
        middle = (active[2] + active[3]) / 2
        left, right = active.copy(), active.copy()
        left[3], right[2] = middle, middle
        parts = [_panels(function, half, laws) for half in (left, right)]
        index = active[:2].astype(int)
        bound = TOLERANCE * np.maximum(size[:, index[1]], 1e-300)
        error = np.abs(parts[0] + parts[1] - whole)
        done = np.all((error <= bound) | np.isnan(error), axis=0) | (middle <= active[2])
        _add(total, index[:, done], (parts[0] + parts[1])[:, done])
        active = np.concatenate([left[:, ~done], right[:, ~done]], axis=1)
        whole = np.concatenate([parts[0][:, ~done], parts[1][:, ~done]], axis=1)
    _add(total, active[:2].astype(int), whole)
    return total


def _add(total: np.ndarray, index: np.ndarray, values: np.ndarray) -> None:
    for row, value in zip(total, values, strict=True):
        np.add.at(row, (index[0], index[1]), value)


def _panels(function: Callable[[np.ndarray], np.ndarray], panels: np.ndarray, laws: int) -> np.ndarray:
    """Gauss-Legendre on panels (rows: owner, law, left, right; columns: panels), shape (F, number of panels)."""
    law = panels[1].astype(int)
    half = (panels[3] - panels[2]) / 2
    at = (panels[2] + panels[3]) / 2 + half * _x[:, None]
    order = np.argsort(law, kind="stable")
    rank = np.empty(len(law), dtype=int)
    counts = np.bincount(law, minlength=laws)
    rank[order] = np.arange(len(law)) - np.repeat(np.cumsum(counts) - counts, counts)
    results = []
    # blocks of one shape, so that a compiled density is compiled once
    for block in range(-(-int(counts.max()) // PANELS)):
        mine = (rank >= block * PANELS) & (rank < (block + 1) * PANELS)
        t = np.zeros((NODES, PANELS, laws))
        t[:, rank[mine] - block * PANELS, law[mine]] = at[:, mine]
        values = function(t.reshape(-1, laws)).reshape(-1, NODES, PANELS, laws)
        chosen = values[:, :, rank[mine] - block * PANELS, law[mine]]
        results.append((np.flatnonzero(mine), np.einsum("fnp,n->fp", chosen, _w) * half[mine]))
    out = np.zeros((len(results[0][1]), len(law)))
    for where, value in results:
        out[:, where] = value
    return out

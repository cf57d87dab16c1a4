"""A law on the line in the one form that checks and remedies use: functions of float64 arrays, or points."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import jax
import numpy as np

from sgdvi._internal.check import InputError, message

Function = Callable[[np.ndarray], np.ndarray]

# Quantiles that stand for a law: the Kolmogorov distance to them is off by at most half of one over their number.
_QUANTILES = 4_000
_SAMPLES = 20_000
_BLOCK = 4_096
_MOST_POINTS = 200_000
_NULL_REPEATS = 400
# Values of the samples that are looked at together: they fit into the cache.
_NULL_BLOCK = 1 << 17


@dataclass(frozen=True)
class LineLaw:
    """A law on the line as functions of float64 arrays.

    Attributes
    ----------
    log_prob
        Log density of the part that has a density, shape (n,) -> (n,).
    icdf
        Quantile function, shape (n,) -> (n,).
    atom
        Mass that sits on single points; 0 for a law with a density.
    zero
        The part of it at 0, to which SGD has collapsed.
    """

    log_prob: Function
    icdf: Function
    atom: float = 0.0
    zero: float = 0.0


@dataclass(frozen=True)
class Points:
    """Points on the line that stand for a law.

    Attributes
    ----------
    values
        Sorted values, float64, shape (n,).
    effective
        How many independent draws they are worth; inf for the quantiles of a law that is known.
    """

    values: np.ndarray
    effective: float

    @classmethod
    def from_draws(cls, values: np.ndarray, effective: float, in_order: bool = False) -> "Points":
        """Pool draws (chain, draw) that are worth `effective` independent ones, perhaps `in_order`; none NaN."""
        pooled = np.asarray(values, dtype=np.float64).reshape(-1)
        pooled = pooled if in_order else np.sort(pooled)
        if pooled.size == 0 or not np.isfinite(pooled[[0, -1]]).all():
            raise InputError(
                message("draws must be finite and at least one", f"{pooled.size} draws", "Clean them first.")
            )
        if pooled.size > _MOST_POINTS:
            pooled = pooled[np.linspace(0, pooled.size - 1, _MOST_POINTS).round().astype(int)]
        return cls(pooled, float(effective))

    def quantile(self, q: np.ndarray) -> np.ndarray:
        """Return quantiles at `q`: the smallest point with at least that share at or below it."""
        # As NumPy's "inverted_cdf", which would partition anew what is sorted.
        places = np.ceil(self.values.size * np.asarray(q) - 1)
        return self.values[np.clip(places, 0, self.values.size - 1).astype(int)]

    @cached_property
    def sd(self) -> float:
        """Standard deviation."""
        return float(np.std(self.values))

    @cached_property
    def spread(self) -> float:
        """Distance from the 5 % to the 95 % quantile in units of a Gaussian's: a spread that always exists."""
        low, high = self.quantile(np.array([0.05, 0.95]))
        return float(high - low) / (2 * 1.6448536269514722)

    @cached_property
    def _null_distances(self) -> dict[tuple[int, int], np.ndarray]:
        return {}

    def null_distances(self, size: int, seed: int = 0) -> np.ndarray:
        """Return W1 and W2 between pairs of independent samples of `size` points, shape (2, 1600); once per size.

        Each of 800 samples is held against two others, which costs no further sorting.
        """
        if (size, seed) not in self._null_distances:
            places = _sorted_places(self.values.size, size, seed)
            distances, ones = np.empty((2, 2, len(places) - 2)), np.ones(size)
            rows = max(1, _NULL_BLOCK // size)
            for begin in range(0, len(places) - 2, rows):
                draws = self.values.take(places[begin : begin + rows + 2])
                here = slice(begin, begin + len(draws) - 2)
                for lag in (1, 2):
                    apart = draws[lag : len(draws) - 2 + lag] - draws[:-2]
                    distances[1, lag - 1, here] = np.sqrt(np.vecdot(apart, apart) / size)
                    distances[0, lag - 1, here] = np.abs(apart, out=apart) @ ones / size
            self._null_distances[size, seed] = distances.reshape(2, -1)
        return self._null_distances[size, seed]


@lru_cache(maxsize=16)
def _sorted_places(count: int, size: int, seed: int) -> np.ndarray:
    # drawn and sorted once for all functionals: their values are sorted already; the first two come again at the end
    places = np.random.default_rng(seed).integers(count, size=(2, _NULL_REPEATS, size)).astype(np.int32)
    places = np.sort(places, axis=-1).reshape(-1, size)
    return np.concatenate([places, places[:2]])


def as_line_law(law: Any) -> LineLaw:
    """Wrap a law (NumPyro distribution or alike) in functions of float64 arrays."""

    def evaluate(method: str, points: np.ndarray) -> np.ndarray:
        return _in_blocks(getattr(law, method), np.asarray(points, dtype=np.float64))

    zero, point = (float(np.max(np.asarray(getattr(law, name, 0.0)))) for name in ("zero_mass", "point_mass"))

    def icdf(levels: np.ndarray) -> np.ndarray:
        try:
            return evaluate("icdf", levels)
        except (NotImplementedError, AttributeError):
            return np.quantile(law_points(law, jax.random.key(0)).values, levels)

    return LineLaw(lambda v: evaluate("log_prob", v), icdf, zero + point, zero)


def law_points(law: Any, key: Any) -> Points:
    """Return quantiles that stand for a law, exactly known; or draws with `key` where it has no quantile function."""
    levels = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    try:
        return Points(np.sort(_in_blocks(law.icdf, levels)), math.inf)
    except (NotImplementedError, AttributeError):
        with jax.enable_x64(True):
            values = np.asarray(law.sample(key, (_SAMPLES,)), dtype=np.float64)
        return Points(np.sort(values), float(_SAMPLES))


def _in_blocks(fn: Callable[[np.ndarray], Any], points: np.ndarray) -> np.ndarray:
    """Evaluate in float64, in blocks of one size, so that a jitted function is compiled once."""
    blocks = max(1, -(-points.size // _BLOCK))
    padded = np.pad(points, (0, blocks * _BLOCK - points.size), mode="edge").reshape(blocks, _BLOCK)
    with jax.enable_x64(True), warnings.catch_warnings():
        # NumPyro warns of values outside the support; that the density is 0 there is all that is asked for.
        warnings.simplefilter("ignore", UserWarning)
        parts = [np.asarray(fn(block), dtype=np.float64) for block in padded]
    return np.concatenate(parts)[: points.size]

"""What is measured of the draws of one scalar: finite chains, R-hat and effective draws, the tail; no judgement."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpyro  # noqa: F401  before ArviZ, whose lazy stand-in for it would load its parts twice
from arviz_stats.base import array_stats

from sgdvi.diagnostics.thresholds import Thresholds

_FEWEST_DRAWS = 8
# What rounding makes of equal numbers, in units of the machine epsilon.
_ROUNDINGS = 4.0
# Beyond this, ranking takes seconds and the draws are autocorrelated anyway: chains are thinned first.
_MOST_DRAWS = 400_000
_FEW_VALUES = 50
# Below this the Pareto fit to the tail has hardly any points.
_FEWEST_EFFECTIVE = 100


def finite_chains(*arrays: np.ndarray) -> np.ndarray:
    """Return a mask (chain,): True where every draw of every array (chain, draw, ...) is finite."""
    keep = np.ones(arrays[0].shape[0], dtype=bool)
    for array in arrays:
        keep &= np.isfinite(array).reshape(array.shape[0], -1).all(axis=1)
    return keep


def is_discrete(values: np.ndarray) -> bool:
    """Whether values are whole numbers: counts, classes, indicators."""
    values = np.asarray(values)
    return bool(np.all(values == np.round(values)))


def snapped(values: np.ndarray, eps: float, scale: float = 0.0) -> np.ndarray:
    """Return values that differ by rounding alone as equal ones, along the axes of chains and draws.

    Parameters
    ----------
    values
        Shape (chain, draw, ...).
    eps
        Machine epsilon of the type that they were computed in.
    scale
        Size of what they were computed from: rounding is at least relative to it.
    """
    if not values.size:
        return values
    low, high = values.min(axis=(0, 1)), values.max(axis=(0, 1))  # nan stays nan, and compares false
    with np.errstate(invalid="ignore"):
        equal = high - low <= _ROUNDINGS * eps * np.maximum(np.maximum(np.abs(low), np.abs(high)), scale)
    return np.where(equal & (high > low), low, values)


def fixed_coordinates(runs: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Find what several runs all hold at one value, such as the 1 that stands for a scale on the quotient.

    Parameters
    ----------
    runs
        The sites of each run, (chain, draw, ...).

    Returns
    -------
    dict
        Site -> mask over its entries, flattened; empty for fewer than two runs: one that stands still is stuck.
    """
    fixed: dict[str, np.ndarray] = {}
    for name, first in runs[0].items() if len(runs) > 1 else ():
        others = [run.get(name, np.empty((0, 0))) for run in runs]
        if all(other.shape[2:] == first.shape[2:] and other.size for other in others):
            flat = [other.reshape(other.shape[0] * other.shape[1], -1) for other in others]
            fixed[name] = np.all([_close(each, flat[0][0]).all(axis=0) for each in flat], axis=0)
    return fixed


def _close(values: np.ndarray, one: np.ndarray) -> np.ndarray:
    # each run is constant already: two that compute one number in two ways differ by rounding
    return np.asarray(
        (values == one) | ((np.ptp(values, axis=0) == 0) & np.isclose(values, one, rtol=1e-6, atol=1e-12))
    )


@dataclass(frozen=True)
class Mixing:
    """How well the chains of one scalar mixed.

    Attributes
    ----------
    rhat
        Rank-normalised split R-hat; nan where it does not exist.
    ess
        Effective draws: the smaller of bulk and tail, at most the number of draws; nan where it does not exist.
    chains, draws
        Number of chains and of draws per chain.
    trouble
        Why a number is missing: "", "fixed" (at one value in all runs), "constant", "stuck", "short" or "non-finite".
    independent
        True for independent draws, which need no R-hat.
    mcse
        Monte Carlo standard error of the mean, in standard deviations of the draws; nan where it does not exist.
    """

    rhat: float
    ess: float
    chains: int
    draws: int
    trouble: str = ""
    independent: bool = False
    mcse: float = np.nan


def mixing_of(values: np.ndarray, independent: bool = False) -> Mixing:
    """Return R-hat and effective draws of `values` (chain, draw)."""
    values = np.asarray(values, dtype=np.float64)
    chains, draws = values.shape
    trouble = _trouble(values)
    if trouble:
        return Mixing(np.nan, np.nan, chains, draws, trouble, independent)
    if independent:
        return Mixing(np.nan, float(values.size), chains, draws, "", True, values.size**-0.5)
    values = values[:, :: max(1, -(-values.size // _MOST_DRAWS))]
    with np.errstate(all="ignore"):
        bulk = array_stats.ess(values, chain_axis=0, draw_axis=1, method="bulk")
        tail = array_stats.ess(values, chain_axis=0, draw_axis=1, method="tail", prob=(0.05, 0.95))
        rhat = array_stats.rhat(values, chain_axis=0, draw_axis=1, method="rank") if chains > 1 else np.nan
        # A chain of antithetic draws can have more effective draws than draws; nothing here relies on such luck.
        mean = array_stats.ess(values, chain_axis=0, draw_axis=1, method="mean")
    error = float(mean) ** -0.5 if mean > 0 else np.nan
    return Mixing(float(rhat), float(min(bulk, tail, values.size)), chains, draws, mcse=error)


def _trouble(values: np.ndarray) -> str:
    if values.size == 0 or not np.isfinite(values).all():
        return "non-finite"
    if np.ptp(values) == 0:
        return "constant"
    if values.shape[1] < _FEWEST_DRAWS:
        return "short"
    return "stuck" if (np.ptp(values, axis=1) == 0).any() else ""


@dataclass(frozen=True)
class Tail:
    """The tail of the law of one scalar, P(|v| > x) ~ x^-index.

    Attributes
    ----------
    khat
        Shape of the generalised Pareto law fitted to the heavier tail of the draws, an estimate of 1/index; at most 0
        for tails that fall faster than a power; nan where there are too few draws.
    exact
        Index by the exact law (inf: no power tail); nan where none is known.
    """

    khat: float = math.nan
    exact: float = math.nan

    def of_law(self, exact: float) -> "Tail":
        """Return the same tail beside that of an exact law."""
        return Tail(self.khat, exact)

    @property
    def estimate(self) -> float:
        """Index that the draws show; inf for no power tail."""
        return math.nan if math.isnan(self.khat) else math.inf if self.khat <= 0 else 1 / self.khat

    def has_moment(self, order: float, thresholds: Thresholds) -> bool:
        """Whether the moment of this order can be used: it exists by the exact law, or else by the draws.

        By the draws it takes a khat below ``tail_khat`` divided by the order: nearer to 1/order the moment may exist
        but averages of any practical length do not settle.
        """
        if not math.isnan(self.exact):
            return self.exact > order
        return math.isnan(self.khat) or self.khat <= thresholds.tail_khat / order


def tail_of(values: np.ndarray, effective: float, exact: float = math.nan) -> Tail:
    """Fit a generalised Pareto law to both tails of `values` (chain, draw) and keep the heavier one."""
    values = np.asarray(values, dtype=np.float64)
    if values.size == 0 or not math.isfinite(effective) or effective < _FEWEST_EFFECTIVE or np.ptp(values) == 0:
        return Tail(exact=exact)
    if np.unique(values).size <= _FEW_VALUES:
        return Tail(-math.inf, exact)  # as good as bounded: nothing to fit a tail to
    centred = values - np.median(values)  # a large mean would round the excesses away
    with np.errstate(all="ignore"):
        share = min(1.0, effective / values.size)
        khat = float(array_stats.pareto_khat(centred, chain_axis=0, draw_axis=1, r_eff=share))
    return Tail(khat if math.isfinite(khat) else math.nan, exact)

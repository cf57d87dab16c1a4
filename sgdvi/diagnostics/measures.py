"""What is measured of the draws of one scalar: finite chains, R-hat and effective draws, the tail; no judgement."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpyro  # noqa: F401  before ArviZ, whose lazy stand-in for it would load its parts twice
from arviz_stats.base import array_stats
from scipy import special, stats

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
    low, high = values.min(axis=(0, 1)), values.max(axis=(0, 1))
    return np.where(alike(low, high, eps, scale) & (high > low), low, values)


def alike(low: np.ndarray, high: np.ndarray, eps: float, scale: float = 0.0) -> np.ndarray:
    """Return where the least and the largest value differ by rounding alone: see `snapped`; both must be finite."""
    size = np.maximum(np.maximum(np.abs(low), np.abs(high)), scale)
    with np.errstate(invalid="ignore"):  # nan compares false
        return np.asarray((high - low <= _ROUNDINGS * eps * size) & np.isfinite(size))


def held_alike(low: Sequence[np.ndarray], high: Sequence[np.ndarray]) -> np.ndarray:
    """Find what several runs all hold at one value, such as the 1 that stands for a scale on the quotient.

    Parameters
    ----------
    low, high
        The least and the largest value of each number in each run, shape (d,) each.

    Returns
    -------
    numpy.ndarray
        Mask (d,).
    """
    # each run is constant: two that compute one number in two ways differ by rounding
    each = [
        (least == most) & np.isclose(least, low[0], rtol=1e-6, atol=1e-12)
        for least, most in zip(low, high, strict=True)
    ]
    return np.all(each, axis=0)


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
    half = values.shape[1] // 2
    halves = np.concatenate([values[:, :half], values[:, -half:]])
    scores = normal_scores(halves)  # ranks once: both the bulk and R-hat are of them
    with np.errstate(all="ignore"):
        bulk = array_stats.ess(scores, chain_axis=0, draw_axis=1, method="identity")
        tail = array_stats.ess(values, chain_axis=0, draw_axis=1, method="tail", prob=(0.05, 0.95))
        rhat = _rank_rhat(halves, scores) if chains > 1 else np.nan
        # A chain of antithetic draws can have more effective draws than draws; nothing here relies on such luck.
        mean = array_stats.ess(halves, chain_axis=0, draw_axis=1, method="identity")
    error = float(mean) ** -0.5 if mean > 0 else np.nan
    return Mixing(float(rhat), float(min(bulk, tail, values.size)), chains, draws, mcse=error)


def normal_scores(values: np.ndarray) -> np.ndarray:
    """Return the normal scores of values, of the ranks of all of them together."""
    flat = values.reshape(-1)
    order = np.argsort(flat)
    ranks = np.empty(flat.size)
    ranks[order] = np.arange(1.0, flat.size + 1)
    if not (np.diff(flat[order]) > 0).all():
        ranks = stats.rankdata(flat)  # equal values share a rank
    return np.asarray(special.ndtri((ranks - 0.375) / (flat.size + 0.25))).reshape(values.shape)


def num_distinct(values: np.ndarray) -> int:
    """Return how many different values there are; none may be nan."""
    ordered = np.sort(values, axis=None)
    return int(np.count_nonzero(np.diff(ordered))) + 1 if ordered.size else 0


def _rank_rhat(halves: np.ndarray, scores: np.ndarray) -> float:
    folded = normal_scores(np.abs(halves - np.median(halves)))
    return max(float(array_stats.rhat(each, chain_axis=0, draw_axis=1, method="identity")) for each in (scores, folded))


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
    if num_distinct(values) <= _FEW_VALUES:
        return Tail(-math.inf, exact)  # as good as bounded: nothing to fit a tail to
    centred = values - np.median(values)  # a large mean would round the excesses away
    with np.errstate(all="ignore"):
        share = min(1.0, effective / values.size)
        khat = float(array_stats.pareto_khat(centred, chain_axis=0, draw_axis=1, r_eff=share))
    return Tail(khat if math.isfinite(khat) else math.nan, exact)

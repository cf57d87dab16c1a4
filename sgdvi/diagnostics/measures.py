"""What is measured of the draws of one scalar: finite chains, R-hat and effective draws, the tail; no judgement."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpyro  # noqa: F401  before ArviZ, whose lazy stand-in for it would load its parts twice
from arviz_stats.base import array_stats
from scipy import special

from sgdvi.diagnostics.thresholds import Thresholds

_FEWEST_DRAWS = 8
# What rounding makes of equal numbers, in units of the machine epsilon.
_ROUNDINGS = 4.0
# Beyond this, ranking takes seconds and the draws are autocorrelated anyway: chains are thinned first.
_MOST_DRAWS = 400_000
_FEW_VALUES = 50
_TAILS = np.array([0.05, 0.95])
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


@dataclass(frozen=True, eq=False)
class Ranked:
    """Draws of one scalar in order: sorted once for all that is measured of them.

    Attributes
    ----------
    values
        Draws, (chain, draw), without nan.
    order
        Places of the pooled draws in rising order, (n,).
    ordered
        The pooled draws in rising order, (n,).
    """

    values: np.ndarray
    order: np.ndarray
    ordered: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> "Ranked":
        """Sort draws (chain, draw)."""
        flat = values.reshape(-1)
        order = np.argsort(flat, kind="stable")  # twice as fast as the default
        return cls(values, order, flat[order])

    def scores(self) -> np.ndarray:
        """Return the normal scores of the draws, (chain, draw); equal ones share a rank."""
        size, each = self.order.size, _scores_in_order(self.order.size)
        new = np.append(True, self.ordered[1:] > self.ordered[:-1])[:size]
        if not new.all():
            starts = np.flatnonzero(new)
            counts = np.diff(starts, append=size)
            several, equal = counts > 1, each[starts]
            equal[several] = _score(starts[several] + (counts[several] + 1) / 2, size)
            each = np.repeat(equal, counts)
        scores = np.empty(self.values.shape)
        scores.reshape(-1)[self.order] = each
        return scores

    def folded(self) -> "Ranked":
        """Return the distances of the draws from their median."""
        median = median_of(self.ordered)
        again = np.argsort(np.abs(self.ordered - median), kind="stable")  # two sorted pieces: merged in no time
        away = np.abs(self.values - median)
        order = self.order[again]
        return Ranked(away, order, away.reshape(-1)[order])


@lru_cache(maxsize=8)
def _scores_in_order(size: int) -> np.ndarray:
    return _score(np.arange(1.0, size + 1), size)


def _score(ranks: np.ndarray, size: int) -> np.ndarray:
    return np.asarray(special.ndtri((ranks - 0.375) / (size + 0.25)))


def median_of(ordered: np.ndarray) -> float:
    """Return the median of sorted values."""
    return float(ordered[(ordered.size - 1) // 2 : ordered.size // 2 + 1].mean())


def linear_quantile(ordered: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Return quantiles of sorted values, linear between them: the default of NumPy, without a partition."""
    places = np.asarray(levels) * (ordered.size - 1)
    below = np.floor(places).astype(int)
    low, high = ordered[below], ordered[np.minimum(below + 1, ordered.size - 1)]
    share, apart = places - below, high - low
    return np.where(share < 0.5, low + apart * share, high - apart * (1 - share))  # from the nearer one, as there


def mixing_of(values: np.ndarray, independent: bool = False, ranked: Ranked | None = None) -> Mixing:
    """Return R-hat and effective draws of `values` (chain, draw); `ranked` are they in order, where that is known."""
    values = np.asarray(values, dtype=np.float64)
    chains, draws = values.shape
    trouble = _trouble(values)
    if trouble:
        return Mixing(np.nan, np.nan, chains, draws, trouble, independent)
    if independent:
        return Mixing(np.nan, float(values.size), chains, draws, "", True, values.size**-0.5)
    step = max(1, -(-values.size // _MOST_DRAWS))
    ranked = Ranked.of(values[:, ::step]) if ranked is None or step > 1 else ranked
    tails = [_halves(ranked.values <= quantile) for quantile in linear_quantile(ranked.ordered, _TAILS)]
    if ranked.values.shape[1] % 2:  # the draw in the middle is in neither half
        ranked = Ranked.of(np.delete(ranked.values, ranked.values.shape[1] // 2, axis=1))
    halves, scores, folded = (_halves(each) for each in (ranked.values, ranked.scores(), ranked.folded().scores()))
    with np.errstate(all="ignore"):
        # ranks once: both the bulk and R-hat are of them
        bulk, low, high, mean = array_stats.ess(np.stack([scores, *tails, halves]), method="identity")
        rhat = max(array_stats.rhat(np.stack([scores, folded]), method="identity")) if chains > 1 else np.nan
    # A chain of antithetic draws can have more effective draws than draws; nothing here relies on such luck.
    error = float(mean) ** -0.5 if mean > 0 else np.nan
    return Mixing(float(rhat), float(min(bulk, min(low, high), values.size)), chains, draws, mcse=error)


def _halves(values: np.ndarray) -> np.ndarray:
    half = values.shape[1] // 2
    return np.concatenate([values[:, :half], values[:, -half:]])


def normal_scores(values: np.ndarray) -> np.ndarray:
    """Return the normal scores of values, of the ranks of all of them together."""
    return Ranked.of(values).scores()


def num_distinct(ordered: np.ndarray) -> int:
    """Return how many different values there are among sorted ones; none may be nan."""
    return int(np.count_nonzero(np.diff(ordered))) + 1 if ordered.size else 0


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


def tail_of(ordered: np.ndarray, effective: float, exact: float = math.nan) -> Tail:
    """Fit a generalised Pareto law to both tails of sorted draws (n,) and keep the heavier one."""
    size = ordered.size
    if size == 0 or not math.isfinite(effective) or effective < _FEWEST_EFFECTIVE or ordered[0] == ordered[-1]:
        return Tail(exact=exact)
    if num_distinct(ordered) <= _FEW_VALUES:
        return Tail(-math.inf, exact)  # as good as bounded: nothing to fit a tail to
    centred = ordered - median_of(ordered)  # a large mean would round the excesses away
    with np.errstate(all="ignore"):
        share = min(1.0, effective / size)
        khat = float(array_stats.pareto_khat(centred[None], chain_axis=0, draw_axis=1, r_eff=share))
    return Tail(khat if math.isfinite(khat) else math.nan, exact)

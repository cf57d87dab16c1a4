"""How far two predictive laws are apart at every test point, and how far they would be by chance.

Total variation of class probabilities and Wasserstein-1 of real predictions are both a weighted sum of absolute
differences of means of features of the draws: the probabilities themselves, or the distribution function on a grid.
What chance makes of such a sum is simulated: errors of the means are Gaussian, go together between points and features
as batches of draws do, and are as large as the effective draws say.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpyro  # noqa: F401  before ArviZ, whose lazy stand-in for it would load its parts twice
from arviz_stats.base import array_stats
from scipy import special, stats

# Pairs of laws that are equal, for the null level; numbers in one block of points; batches per chain; grid of W1.
_PAIRS, _BLOCK, _BATCHES, _GRID = 500, 4_000_000, 20, 48
_FEWEST = 4  # draws per chain with which autocorrelation can be measured
_ALL_BUT = 1e-3


@dataclass(frozen=True, eq=False)
class Apart:
    """Distances of a run to the reference, point by point.

    Attributes
    ----------
    distance, null
        Total variation, or W1 in predictive standard deviations of the reference, (point,); what chance explains.
    by_chance
        Distances between pairs of equal laws, (pair, point): points of one pair go together.
    """

    distance: np.ndarray
    null: np.ndarray
    by_chance: np.ndarray


@dataclass(frozen=True, eq=False)
class Mixed:
    """How well the chains of a run agree on its predictions, (point,) each.

    Attributes
    ----------
    ess
        Effective draws; the number of chains where autocorrelation cannot be measured.
    rhat
        Split R-hat; nan where it does not exist.
    between, within
        Standard deviation between the chains' means, and within the chains.
    """

    ess: np.ndarray
    rhat: np.ndarray
    between: np.ndarray
    within: np.ndarray


def mixed(draws: np.ndarray, independent: bool) -> Mixed:
    """Measure a run, (chain, draw, point[, class]), on the class whose probability varies most at each point."""
    parts = [_mixed(draws[:, :, here], independent) for here in blocks(draws)]
    return Mixed(*(np.concatenate([getattr(part, name) for part in parts]) for name in Mixed.__dataclass_fields__))


def _mixed(draws: np.ndarray, independent: bool) -> Mixed:
    values = np.asarray(draws, dtype=np.float64)
    if values.ndim == 4:
        chosen = values.var(axis=(0, 1)).argmax(axis=1)
        values = np.take_along_axis(values, chosen[None, None, :, None], axis=3)[..., 0]
    chains, num_draws, points = values.shape
    still = np.ptp(values, axis=(0, 1)) <= 1e-12
    between = values.mean(axis=1).std(axis=0, ddof=1) if chains > 1 else np.full(points, np.nan)
    within = np.sqrt(values.var(axis=1).mean(axis=0))
    ess, rhat = np.full(points, float(chains)), np.full(points, np.nan)
    if independent:
        ess = np.full(points, float(chains * num_draws))
    elif num_draws >= _FEWEST and not still.all():
        moving = values[:, :, ~still]
        with np.errstate(all="ignore"):
            ess[~still] = array_stats.ess(moving, chain_axis=0, draw_axis=1, method="mean")
            rhat[~still] = array_stats.rhat(moving, chain_axis=0, draw_axis=1, method="split")
    # chains that never leave their places are worth one draw each, and one at least
    ess = np.where(np.isfinite(ess), np.clip(ess, 1.5, chains * num_draws), float(chains))
    return Mixed(np.where(still, chains * num_draws, ess), rhat, between, within)


def total_variation(
    run: np.ndarray, reference: np.ndarray, ess: tuple[np.ndarray, np.ndarray], quantile: float, seed: int = 0
) -> Apart:
    r"""Return half the sum over the classes of the differences of mean probabilities.

    .. math:: \mathrm{TV}_i = \tfrac12 \sum_c |\bar p_{ic} - \bar p^*_{ic}|

    is the largest difference that the two laws make to the probability of any event at test point i (Levin and Peres
    2017, Markov Chains and Mixing Times, proposition 4.2).

    Parameters
    ----------
    run, reference
        Probabilities, (chain, draw, point, class).
    ess
        Effective draws of each, (point,).
    quantile
        Probability of staying below the null level.
    seed
        Seed of the simulated pairs.
    """

    def features(here: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return run[:, :, here], reference[:, :, here], np.full((1, run.shape[3]), 0.5)

    return _apart(features, list(blocks(run, reference)), ess, quantile, seed)


def wasserstein(
    run: np.ndarray,
    reference: np.ndarray,
    noise_sd: np.ndarray | None,
    ess: tuple[np.ndarray, np.ndarray],
    quantile: float,
    seed: int = 0,
) -> Apart:
    r"""Return W1 between predictive laws in standard deviations of the reference's, on a grid of 48 places.

    .. math:: W_1 = \int |F(y) - F^*(y)| \, dy \,/\, \mathrm{sd}^*

    (Vallender 1974, Theory of Probability and its Applications 18, 784). F is the share of draws below y, or where
    draws are of means, the mean of :math:`\Phi((y - m) / \sigma)`.

    Parameters
    ----------
    run, reference
        Draws of the predictive law or of its mean, (chain, draw, point).
    noise_sd
        Standard deviation of the noise, (point,), where they are of the mean; else None.
    ess, quantile, seed
        As in `total_variation`.
    """

    def features(here: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        both = [np.asarray(draws[:, :, here], dtype=np.float64) for draws in (run, reference)]
        flat = [each.reshape(-1, each.shape[2]) for each in both]
        noise = None if noise_sd is None else noise_sd[here]
        grid = _grid(flat, noise)
        sd = np.sqrt(flat[1].var(axis=0) + (0.0 if noise is None else noise**2))
        sd = np.where(sd > 0, sd, np.where(flat[0].std(axis=0) > 0, flat[0].std(axis=0), 1.0))
        widths = np.gradient(grid, axis=1) / sd[:, None]
        below = [_below(each, grid, noise) for each in both]
        return below[0], below[1], widths

    return _apart(features, list(blocks(run, reference, width=_GRID)), ess, quantile, seed)


def blocks(*draws: np.ndarray, width: int = 0) -> Iterator[slice]:
    """Yield slices of points, few enough to be worked on in memory at once."""
    each = max(one.shape[0] * one.shape[1] for one in draws) * (width or int(np.prod(draws[0].shape[3:])))
    step = max(1, _BLOCK // max(each, _PAIRS * (width or 1)))
    for begin in range(0, draws[0].shape[2], step):
        yield slice(begin, begin + step)


def _grid(flat: list[np.ndarray], noise: np.ndarray | None) -> np.ndarray:
    """Return places, (point, place), that hold all but a thousandth of both laws."""
    if noise is None:
        levels = special.ndtr(np.linspace(-4, 4, _GRID))  # closer in the tails, where the draws are farther apart
        return np.quantile(np.concatenate(flat), levels, axis=0).T
    low = np.min([np.quantile(each, _ALL_BUT, axis=0) for each in flat], axis=0) - 3 * noise
    high = np.max([np.quantile(each, 1 - _ALL_BUT, axis=0) for each in flat], axis=0) + 3 * noise
    return np.linspace(low, high, _GRID, axis=1)


def _below(draws: np.ndarray, grid: np.ndarray, noise: np.ndarray | None) -> np.ndarray:
    gap = grid - draws[..., None]
    return (gap >= 0).astype(np.float32) if noise is None else special.ndtr(gap / noise[:, None]).astype(np.float32)


def _apart(
    features: Callable[[slice], tuple[np.ndarray, np.ndarray, np.ndarray]],
    places: list[slice],
    ess: tuple[np.ndarray, np.ndarray],
    quantile: float,
    seed: int,
) -> Apart:
    distances, by_chance = [], []
    for here in places:
        run, reference, weights = features(here)
        gap = run.mean(axis=(0, 1), dtype=np.float64) - reference.mean(axis=(0, 1), dtype=np.float64)
        distances.append((np.abs(gap) * weights).sum(axis=1))
        # the same seed in all blocks: what chance does to the chains it does to all points
        rng = np.random.default_rng(seed)
        error = _errors(run, ess[0][here], quantile, rng) - _errors(reference, ess[1][here], quantile, rng)
        by_chance.append((np.abs(error) * weights.astype(np.float32)).sum(axis=2))
    chance = np.concatenate(by_chance, axis=1)
    return Apart(np.concatenate(distances), np.quantile(chance, quantile, axis=0), chance)


def _errors(features: np.ndarray, ess: np.ndarray, quantile: float, rng: np.random.Generator) -> np.ndarray:
    """Return errors of the means of features (chain, draw, point, feature), (pair, point, feature)."""
    chains, draws = features.shape[:2]
    batches = min(_BATCHES if chains > 1 else chains * _BATCHES * 4, draws)
    size = draws // batches
    means = features[:, : batches * size].reshape(chains, batches, size, *features.shape[2:]).mean(axis=2)
    deviations = (means - means.mean(axis=(0, 1))).reshape(chains * batches, -1).astype(np.float32)
    shape = rng.standard_normal((_PAIRS, chains * batches), dtype=np.float32) @ deviations
    shape = shape.reshape(_PAIRS, *features.shape[2:])
    norm = np.sqrt((deviations**2).sum(axis=0)).reshape(features.shape[2:])
    # with few effective draws their spread is hardly known: Student's t in place of the Gaussian
    heavier = stats.t.ppf((1 + quantile) / 2, np.maximum(ess - 1, 0.5)) / stats.norm.ppf((1 + quantile) / 2)
    error = features.std(axis=(0, 1), dtype=np.float64) * (heavier / np.sqrt(ess))[:, None]
    scale = np.divide(error, norm, out=np.zeros_like(error), where=norm > 0).astype(np.float32)
    return np.asarray(shape * scale)

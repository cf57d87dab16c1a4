"""Do functionals depend on each other as in the reference? The largest difference of a rank correlation of a pair."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from sgdvi._internal.text import count, number
from sgdvi.diagnostics.case import Case
from sgdvi.diagnostics.declare import Outcome, Skip, graded
from sgdvi.diagnostics.distances import distance, shared
from sgdvi.diagnostics.findings import Details, Status
from sgdvi.diagnostics.measures import normal_scores
from sgdvi.diagnostics.run import Run
from sgdvi.diagnostics.thresholds import limits_of

_MOST_FUNCTIONALS = 1_000
_MOST_DRAWS = 20_000
_FEWEST_DRAWS = 50
# Beyond this share of equal values a rank correlation is that of rare events.
_MOST_TIES = 0.95
_LARGEST = 0.9999
# Autocorrelations below this are taken for noise, and with them all later ones.
_FAINT = 0.05
_BLOCK = 32


@dataclass(frozen=True, eq=False)
class Correlations:
    r"""Correlations of the normal scores of all pairs, and the variances of their Fisher transforms.

    Attributes
    ----------
    scores
        Normal scores with mean 0 and variance 1, (d, n).
    values
        Their correlations, (d, d).
    times
        How many draws of a product are worth one, (d, d): at least 1.

    Notes
    -----
    The variance of :math:`\mathrm{artanh}\, r` is :math:`\tau_{ij} \max(1, E\psi^2/(1-r^2)^2)/n` with the influence
    :math:`\psi = xy - r(x^2+y^2)/2` of the correlation and :math:`\tau_{ij} = 1 + 2 \sum_k \rho_i(k) \rho_j(k)`, as the
    autocorrelation of a product of unrelated chains is that of its factors multiplied.
    """

    scores: np.ndarray
    values: np.ndarray
    times: np.ndarray

    @property
    def least(self) -> np.ndarray:
        """What the variances are at least, (d, d)."""
        return self.times / self.scores.shape[1]

    def variances(self, rows: np.ndarray) -> np.ndarray:
        """Return the variances of the Fisher transforms of some rows, (k, d)."""
        x, y, r, n = self.scores[rows], self.scores, self.values[rows], self.scores.shape[1]
        squares = y**2
        own, fourth = squares[rows], np.einsum("dn,dn->d", squares, squares) / n
        even, odd = own @ squares.T / n, ((x * own) @ y.T + x @ (y * squares).T) / n
        influence = even * (1 + r**2 / 2) - r * odd + r**2 / 4 * (fourth[rows][:, None] + fourth)
        return np.asarray(self.least[rows] * np.maximum(influence / (1 - r**2) ** 2, 1.0))


def correlations(scores: np.ndarray, independent: bool = False) -> Correlations:
    """Correlate normal scores (d, chain, draw)."""
    flat = scores.reshape(len(scores), -1)
    flat = (flat - flat.mean(axis=1, keepdims=True)) / flat.std(axis=1, keepdims=True)
    r = np.clip(flat @ flat.T / flat.shape[1], -_LARGEST, _LARGEST)
    return Correlations(flat, r, np.ones(r.shape) if independent else _times(flat.reshape(scores.shape)))


def _times(scores: np.ndarray) -> np.ndarray:
    """Return how many draws of a product of two scores are worth one, shape (d, d)."""
    length = scores.shape[2]
    rho = np.empty((len(scores), length))
    for begin in range(0, len(scores), _BLOCK):  # the transform is larger than the scores
        power = np.abs(np.fft.rfft(scores[begin : begin + _BLOCK], 2 * length)) ** 2
        rho[begin : begin + _BLOCK] = np.fft.irfft(power.mean(axis=1))[:, :length] / length
    rho = np.where(np.minimum.accumulate(rho, axis=1) > _FAINT, rho, 0.0)[:, 1:]
    rho = rho[:, : np.count_nonzero(rho.any(axis=0))]
    return 1 + 2 * (rho @ rho.T)


@dataclass(frozen=True)
class Pair:
    """The pair whose correlation differs most beyond chance: names, both correlations, null level, p over all pairs."""

    names: tuple[str, str]
    run: float
    reference: float
    null: float
    p_value: float
    looked: int

    @property
    def gap(self) -> float:
        """Difference of the correlations."""
        return abs(self.run - self.reference)


def worst_pair(run: Correlations, reference: Correlations, names: Sequence[str], quantile: float) -> Pair:
    """Return the pair with the largest difference in standard errors; the null level is that of all pairs together."""
    gap = np.triu(np.abs(np.arctanh(run.values) - np.arctanh(reference.values)), 1)
    # the variances are costly and at least so large: most rows cannot have the worst pair
    most = (gap / np.sqrt(run.least + reference.least)).max(axis=1)
    order, largest, worst, error = np.argsort(-most, kind="stable"), -1.0, (0, 1), math.nan
    for begin in range(0, len(order), _BLOCK):
        rows = np.sort(order[begin : begin + _BLOCK])
        if most[order[begin]] <= largest:
            break
        errors = np.sqrt(run.variances(rows) + reference.variances(rows))
        away = np.where(rows[:, None] < np.arange(len(names)), gap[rows] / errors, -1.0)
        row, column = np.unravel_index(np.argmax(away), away.shape)
        if away[row, column] > largest:
            largest, worst, error = float(away[row, column]), (int(rows[row]), int(column)), float(errors[row, column])
    a, b, pairs = float(run.values[worst]), float(reference.values[worst]), len(names) * (len(names) - 1) // 2
    critical = float(stats.norm.isf((1 - quantile) / (2 * pairs)))
    middle = math.tanh((math.atanh(a) + math.atanh(b)) / 2)
    null = critical * error * (1 - middle**2)
    p_value = min(1.0, pairs * 2 * float(stats.norm.sf(largest)))
    # the two are on one side of each other in Fisher's scale and in that of the correlations
    beyond, apart = largest > critical, abs(a - b)
    null = min(null, 0.999 * apart) if beyond else max(null, apart)
    return Pair((names[worst[0]], names[worst[1]]), a, b, null, p_value, len(names))


def _chosen(case: Case, other: Run) -> list[str]:
    """Return the functionals that vary in both runs: all, or as many as can be paired, at random."""
    names = [name for name in shared(case) if not any(_tied(side.ranked[name].ordered) for side in (case.draws, other))]
    if len(names) <= _MOST_FUNCTIONALS:
        return names
    kept = np.random.default_rng(0).choice(len(names), _MOST_FUNCTIONALS, replace=False)
    return [names[k] for k in np.sort(kept)]


def _tied(ordered: np.ndarray) -> bool:
    fewer = int(_MOST_TIES * ordered.size)
    return bool((ordered[fewer:] == ordered[: ordered.size - fewer]).any())


def _scores(run: Run, names: Sequence[str]) -> np.ndarray:
    step = max(1, -(-run.usable(names[0]).size // _MOST_DRAWS))
    return np.stack([run.scores[name] if step == 1 else normal_scores(run.usable(name)[:, ::step]) for name in names])


@distance(
    "distance.dependence",
    "Dependence: worst pair",
    "Largest difference of a correlation of normal scores in standard errors, Fisher's transform; null level over all "
    "pairs by Bonferroni, with the autocorrelation of the products.",
    kinds=("compared",),
    thresholds=limits_of("dependence"),
    joint=True,
)
def dependence(case: Case) -> Outcome:
    """No pair of functionals has another rank correlation than in the reference."""
    names, other = shared(case), case.reference
    if len(names) < 2 or not isinstance(other, Run):
        raise Skip("With one functional there is no dependence to compare.")
    chosen = _chosen(case, other)
    if len(chosen) < 2:
        raise Skip("Fewer than two functionals vary in both runs.")
    both = [_scores(side, chosen) for side in (case.draws, other)]
    if min(each[0].size for each in both) < _FEWEST_DRAWS:
        raise Skip("Fewer than 50 draws: too few to compare correlations.", Status.UNKNOWN)
    first, second = (
        correlations(*each) for each in zip(both, (case.draws.independent, other.independent), strict=True)
    )
    pair = worst_pair(first, second, chosen, case.limits.null_quantile)
    start = f"The rank correlation of {pair.names[0]} and {pair.names[1]} is {number(pair.run, 2)} under "
    start += f"{case.run.name} and {number(pair.reference, 2)} under {other.name}"
    if len(chosen) > 2:
        start += f", the worst pair of {count(len(chosen), 'functional')}"
        start += " chosen at random" if len(chosen) == _MOST_FUNCTIONALS < len(names) else ""
    details: Details = {
        "against": other.name,
        "first": pair.names[0],
        "second": pair.names[1],
        "run": pair.run,
        "reference": pair.reference,
    }
    advice = "Means and intervals of single functionals can be used, those of sums and differences of these two not."
    limits = case.limits.of("dependence")
    return graded(
        start,
        pair.gap,
        pair.null,
        limits,
        p=pair.p_value,
        beyond="they depend on each other in another way",
        advice=advice,
        details=details,
    )

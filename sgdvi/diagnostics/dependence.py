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


@dataclass(frozen=True)
class Correlations:
    """Correlations of the normal scores of all pairs, shape (d, d), and the variances of their Fisher transforms."""

    values: np.ndarray
    variances: np.ndarray


def correlations(draws: np.ndarray, independent: bool = False) -> Correlations:
    r"""Correlate the normal scores of `draws` (chain, draw, d).

    Notes
    -----
    The variance of :math:`\mathrm{artanh}\, r` is :math:`\tau_{ij} \max(1, E\psi^2/(1-r^2)^2)/n` with the influence
    :math:`\psi = xy - r(x^2+y^2)/2` of the correlation and :math:`\tau_{ij} = 1 + 2 \sum_k \rho_i(k) \rho_j(k)`, as the
    autocorrelation of a product of unrelated chains is that of its factors multiplied.
    """
    chains, length, size = draws.shape
    flat = draws.reshape(chains * length, size)
    scores = stats.norm.ppf((stats.rankdata(flat, axis=0) - 0.375) / (len(flat) + 0.25))
    scores = (scores - scores.mean(axis=0)) / scores.std(axis=0)
    n = len(scores)
    r = np.clip(scores.T @ scores / n, -_LARGEST, _LARGEST)
    squares = scores**2
    even, odd = squares.T @ squares / n, (scores * squares).T @ scores / n
    fourth = np.diag(even)
    influence = even * (1 + r**2 / 2) - r * (odd + odd.T) + r**2 / 4 * (fourth[:, None] + fourth)
    tau = np.ones((size, size)) if independent else _times(scores.reshape(draws.shape))
    return Correlations(r, tau * np.maximum(influence / (1 - r**2) ** 2, 1.0) / n)


def _times(scores: np.ndarray) -> np.ndarray:
    """Return how many draws of a product of two scores are worth one, shape (d, d)."""
    chains, length, size = scores.shape
    power = np.abs(np.fft.rfft(scores, 2 * length, axis=1)) ** 2
    rho = np.fft.irfft(power, axis=1)[:, :length].mean(axis=0) / length
    rho = np.where(np.minimum.accumulate(rho, axis=0) > _FAINT, rho, 0.0)[1:]
    return 1 + 2 * (rho.T @ rho)


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
    first, second = np.triu_indices(len(names), 1)
    a, b = run.values[first, second], reference.values[first, second]
    error = np.sqrt(run.variances[first, second] + reference.variances[first, second])
    away = np.abs(np.arctanh(a) - np.arctanh(b)) / error
    k, pairs = int(np.argmax(away)), len(away)
    critical = float(stats.norm.isf((1 - quantile) / (2 * pairs)))
    middle = math.tanh((math.atanh(a[k]) + math.atanh(b[k])) / 2)
    null = critical * float(error[k]) * (1 - middle**2)
    p_value = min(1.0, pairs * 2 * float(stats.norm.sf(away[k])))
    pair = (names[first[k]], names[second[k]])
    # the two are on one side of each other in Fisher's scale and in that of the correlations
    beyond = float(away[k]) > critical
    gap = abs(float(a[k] - b[k]))
    null = min(null, 0.999 * gap) if beyond else max(null, gap)
    return Pair(pair, float(a[k]), float(b[k]), null, p_value, len(names))


def _chosen(case: Case, other: Run) -> list[str]:
    """Return the functionals that vary in both runs: all, or as many as can be paired, at random."""
    names = [name for name in shared(case) if not (_tied(case.values(name)) or _tied(other.values[name][other.keep]))]
    if len(names) <= _MOST_FUNCTIONALS:
        return names
    kept = np.random.default_rng(0).choice(len(names), _MOST_FUNCTIONALS, replace=False)
    return [names[k] for k in np.sort(kept)]


def _tied(values: np.ndarray) -> bool:
    _, counts = np.unique(values, return_counts=True)
    return bool(counts.max() > _MOST_TIES * values.size)


def _draws(run: Run, names: Sequence[str]) -> np.ndarray:
    step = max(1, -(-run.values[names[0]][run.keep].size // _MOST_DRAWS))
    return np.stack([run.values[name][run.keep][:, ::step] for name in names], axis=-1)


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
    both = [_draws(side, chosen) for side in (case.draws, other)]
    if min(each[..., 0].size for each in both) < _FEWEST_DRAWS:
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

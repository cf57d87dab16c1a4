"""Kernel Stein discrepancy: how far draws are from a law of which the score is known, without draws of that law."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from sgdvi._internal.text import number
from sgdvi.diagnostics.case import Case
from sgdvi.diagnostics.declare import NO_DRAWS, Outcome, Skip, check, graded
from sgdvi.diagnostics.facts import Facts
from sgdvi.diagnostics.findings import Details, Status
from sgdvi.diagnostics.joint import Gap, thin
from sgdvi.diagnostics.thresholds import limits_of
from sgdvi.laws.line import Points

LogProb = Callable[[np.ndarray], np.ndarray]

_NODES = 400
_NULL_DRAWS = 20_000


def stein_kernel(points: np.ndarray, scores: np.ndarray) -> np.ndarray:
    r"""Return the Stein kernel matrix of the inverse multiquadric :math:`k(x, y) = (1 + |x - y|^2)^{-1/2}`.

    Parameters
    ----------
    points, scores
        Points and the gradients of the log density there, shape (n, d).

    Returns
    -------
    numpy.ndarray
        Shape (n, n); under the law every row has mean 0 (Gorham, Mackey 2017, ICML, eq. 2).
    """
    difference = points[:, None, :] - points[None, :, :]
    base = 1 + (difference**2).sum(axis=-1)
    cross = ((scores[:, None, :] - scores[None, :, :]) * difference).sum(axis=-1)
    size = points.shape[1]
    trace = size * base**-1.5 - 3 * (base - 1) * base**-2.5
    return (scores @ scores.T) * base**-0.5 + cross * base**-1.5 + trace


def null_sums(law: Points, log_prob: LogProb, seed: int = 0) -> np.ndarray:
    """Draw n times the squared discrepancy of n independent draws of the law, whatever n, shape (20 000,).

    A sum of chi-squares, weighted with the eigenvalues of the Stein kernel at 400 quantiles of the law.
    """
    nodes = law.quantile((np.arange(_NODES) + 0.5) / _NODES)
    weights = np.clip(np.linalg.eigvalsh(_matrix(nodes, law, log_prob)) / _NODES, 0, None)
    weights = weights[weights > 1e-6 * weights[-1]]
    return np.random.default_rng(seed).chisquare(1, (_NULL_DRAWS, weights.size)) @ weights


def on_line(values: np.ndarray, law: Points, log_prob: LogProb, sums: np.ndarray, quantile: float) -> Gap:
    """Measure how far independent `values` (n,) are from a law on the line, given its `null_sums`.

    Values are in units of the law's 5 % to 95 % range over a Gaussian's.
    """
    null = sums / values.size
    observed = float(_matrix(values, law, log_prob).mean())
    if not math.isfinite(observed):  # a draw outside the support, or at its very edge
        return Gap(math.inf if not np.isnan(log_prob(values)).any() else math.nan, 0.0, 0.0)
    root = [math.sqrt(max(each - null.mean(), 0.0)) for each in (observed, float(np.quantile(null, quantile)))]
    return Gap(root[0], root[1], float((1 + (null >= observed).sum()) / (1 + null.size)))


def _matrix(at: np.ndarray, law: Points, log_prob: LogProb) -> np.ndarray:
    unit = law.spread
    step = 1e-4 * unit
    with np.errstate(invalid="ignore"):
        score = (log_prob(at + step) - log_prob(at - step)) / (2 * step)
    return stein_kernel(at[:, None] / unit, score[:, None] * unit)


def null_of(facts: Facts) -> np.ndarray:
    """Return `null_sums` of the exact posterior, once for all runs."""
    assert facts.posterior is not None
    assert facts.posterior_points is not None
    return null_sums(facts.posterior_points, facts.posterior.log_prob)


@check(
    "distance.ksd",
    "Kernel Stein discrepancy (KSD)",
    "Gorham, Mackey 2017, ICML (inverse multiquadric kernel). It cannot see modes that no draw visits: see the check "
    "of the modes.",
    cites=("gorham2017measuring",),
    thresholds=limits_of("ksd"),
)
def ksd(case: Case) -> Outcome:
    """KSD^2 = E k_p(x, x') with the Stein kernel k_p of the exact posterior p, whose density is known."""
    facts, name = case.facts, case.facts.functional
    law, points = facts.posterior, facts.posterior_points
    if law is None or points is None:
        raise Skip(facts.missing or facts.improper or "Needs a posterior with a known density on a functional.")
    if name not in case.draws.points:
        raise Skip(NO_DRAWS, Status.UNKNOWN)
    # Half as many as the draws are worth: the null level is that of independent ones.
    values = thin(case.values(name)[..., None], case.draws.points[name].effective / 2)[:, 0]
    gap = on_line(values, points, law.log_prob, facts.once(null_of), case.limits.null_quantile)
    run, against = case.run.name, "exact posterior"
    start = f"On {name}, the draws of {run} are {number(gap.value)} from the {against} by its score alone"
    advice = "Look at the densities: the discrepancy is largest where draws lie on the wrong side of a slope."
    details: Details = {"law": against, "p_value": gap.p_value}
    limits = case.limits.of("ksd")
    outcome = graded(start, gap.value, gap.null, limits, p=gap.p_value, advice=advice, details=details)
    if math.isinf(gap.value):
        outcome = replace(outcome, meaning=f"Draws of {run} lie where the {against} has no density.")
    return replace(outcome, functional=name)

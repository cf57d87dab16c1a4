"""Kernel Stein discrepancy: how far draws are from a law of which the score is known, without draws of that law."""

import math
from collections.abc import Callable

import numpy as np

from sgdvi._internal.text import number
from sgdvi.diagnostics.distances import grade
from sgdvi.diagnostics.findings import Finding, Status
from sgdvi.diagnostics.joint import Gap
from sgdvi.diagnostics.thresholds import Thresholds
from sgdvi.laws.line import Points

LogProb = Callable[[np.ndarray], np.ndarray]

_NODES = 400
_NULL_DRAWS = 20_000
MOST_POINTS = 1_000
_TITLE = "Kernel Stein discrepancy (KSD)"


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


def finding(run: str, functional: str, gap: Gap, law: str, thresholds: Thresholds) -> Finding:
    """Check the discrepancy of a run from a law whose density is known."""
    status = grade(gap.value, gap.null, thresholds.ksd_warn, thresholds.ksd_fail, thresholds.ksd_blind)
    start = f"On {functional}, the draws of {run} are {number(gap.value)} from the {law} by its score alone"
    chance = f"by chance up to {number(gap.null)}, p = {number(gap.p_value, 2)}"
    advice = ""
    if status is Status.UNKNOWN:
        meaning, advice = f"{start} ({chance}): too few draws to tell.", "Run longer."
    elif math.isinf(gap.value):
        meaning = f"Draws of {run} lie where the {law} has no density."
    elif gap.value <= gap.null:
        meaning = f"{start}, no more than chance explains ({chance})."
    elif status is Status.PASS:
        meaning = f"{start} ({chance}): more than chance, but too little to matter."
    else:
        meaning = f"{start} ({chance})."
        advice = "Look at the densities: the discrepancy is largest where draws lie on the wrong side of a slope."
    return Finding(
        check="distance.ksd",
        run=run,
        functional=functional,
        title=_TITLE,
        value=gap.value,
        threshold=thresholds.ksd_fail,
        status=status,
        meaning=meaning,
        advice=advice,
        source=(
            "Gorham, Mackey 2017, ICML (inverse multiquadric kernel). It cannot see modes that no draw visits: see the "
            "check of the modes."
        ),
        details={"law": law, "null_level": gap.null, "p_value": gap.p_value},
    )

"""Simulation-based calibration: are the ranks of the true values among the posterior draws uniform?"""

from typing import Any

import numpy as np
from numpy.polynomial import legendre
from scipy import stats

from sgdvi._internal.check import require, whole
from sgdvi._internal.text import count, number
from sgdvi.diagnostics.declare import Outcome, check
from sgdvi.diagnostics.findings import Details, Finding, Status
from sgdvi.diagnostics.thresholds import Thresholds

# Mean, spread, skewness and tails of the ranks: more terms find finer shapes, and these four with less power.
_TERMS = 4
# Below this, the statistic is not yet close to its chi-square law, and no error of interest could be seen.
_FEWEST = 50


def sbc(run: str, functional: str, ranks: Any, draws: int, thresholds: Thresholds | None = None) -> Finding:
    r"""Check that the ranks of simulation-based calibration are uniform.

    If the true value comes from the prior and the data from the model given it, the number of independent
    posterior draws below the true value is uniform on 0, ..., L (Talts et al. 2018). Neyman's smooth statistic
    :math:`\sum_{k=1}^K (n^{-1/2} \sum_i \pi_k(r_i))^2`, with the polynomials :math:`\pi_k` that are orthonormal
    under the uniform law on these whole numbers, then has a chi-square law with K degrees of freedom for large n;
    K = min(4, L).

    Parameters
    ----------
    run, functional
        Names of the method and of the scalar that was ranked.
    ranks
        One rank per simulated data set, shape (n,): whole numbers from 0 to `draws`.
    draws
        Number L of posterior draws per simulation. They must be independent: thin a chain first, because
        autocorrelated draws give ranks that are too often extreme.
    thresholds
        Uses `uniformity_level`, the p-value below which the check fails.

    Returns
    -------
    Finding
        ``calibration.sbc`` with the p-value; ``unknown`` with fewer than 50 simulations. The details have the
        number of simulations and the standardised location and spread of the ranks, which are standard normal
        for a calibrated method.

    Raises
    ------
    InputError
        If a rank is not a whole number from 0 to `draws`, or the ranks have another shape.
    """
    draws = whole("draws", draws, least=1)
    level = (thresholds or Thresholds()).uniformity_level
    array = np.asarray(ranks, dtype=np.float64)
    require(array.ndim == 1, "ranks must be a one-dimensional array", f"shape {array.shape}")
    good = (array >= 0) & (array <= draws) & (array == np.round(array))
    require(
        good.all(),
        f"ranks must be whole numbers from 0 to {draws}, the number of draws",
        array[~good][:1],
        "Count the draws below the true value; leave failed simulations out and say how many.",
    )
    return ranked.on(run, functional, array, draws, level)


@check(
    "calibration.sbc",
    "Simulation-based calibration",
    "Talts, Betancourt, Simpson, Vehtari, Gelman 2018, arXiv:1804.06788; Neyman 1937 (smooth test)",
    question="use",
    thresholds=("uniformity_level",),
    kinds=(),
)
def ranked(functional: str, ranks: np.ndarray, draws: int, level: float) -> Outcome:
    """The ranks are uniform on 0, ..., L, by Neyman's smooth statistic."""
    size = ranks.size
    details: Details = {"simulations": size, "draws": draws}
    if size < _FEWEST:
        meaning = f"{count(size, 'simulation')}: too few to say whether {functional} is calibrated."
        advice = f"Run at least {_FEWEST} simulations; 200 find a spread that is a quarter too large in two of three "
        return Outcome(Status.UNKNOWN, meaning, None, level, f"{advice}cases.", details, functional)
    scores = _scores(ranks.astype(int), draws)
    p_value = float(stats.chi2.sf(scores @ scores, scores.size))
    details |= {"location": float(scores[0]), "spread": float(scores[1]) if scores.size > 1 else None}
    meaning = f"The ranks of {functional} over {size:,} simulations are "
    if p_value >= level:
        meaning += f"as uniform as those of a calibrated method (p = {number(p_value)})."
        return Outcome(Status.PASS, meaning, p_value, level, "", details, functional)
    meaning += f"not uniform (p = {number(p_value)}): {_shape(scores)}."
    advice = "Do not use its intervals as they are: correct the draws, or use a calibrated reference."
    return Outcome(Status.FAIL, meaning, p_value, level, advice, details, functional)


def _scores(ranks: np.ndarray, draws: int) -> np.ndarray:
    # Orthonormal on the ranks themselves, not on an interval: no random tie-breaking, right for a single draw too.
    terms = min(_TERMS, draws)
    basis, triangle = np.linalg.qr(legendre.legvander(np.linspace(-1, 1, draws + 1), terms))
    basis *= np.sign(np.diag(triangle)) * np.sqrt(draws + 1)
    return basis[ranks, 1:].sum(axis=0) / np.sqrt(ranks.size)


def _shape(scores: np.ndarray) -> str:
    worst = int(np.argmax(np.abs(scores)))
    if worst == 0:
        return "the draws are too small" if scores[0] > 0 else "the draws are too large"
    if worst == 1:
        return "the draws are too narrow" if scores[1] > 0 else "the draws are too wide"
    return "the shape of the draws is wrong"


def vsbc(run: str, functional: str, probabilities: Any, thresholds: Thresholds | None = None) -> Finding:
    """Check that the probabilities of variational simulation-based calibration are symmetric about one half.

    For every simulated data set the probability is that of the approximation below the true value (Yao, Vehtari,
    Simpson, Gelman 2018, arXiv:1802.02538). Symmetry means that point estimates are not biased; it says nothing about
    the width, which `sbc` does.

    Parameters
    ----------
    run, functional
        Names.
    probabilities
        One per simulated data set, shape (n,), each from 0 to 1.
    thresholds
        Uses `uniformity_level`, the p-value of the test that the signs of p - 1/2 are fair coins.

    Returns
    -------
    Finding
        ``calibration.vsbc``; ``unknown`` with fewer than 50 simulations.

    Raises
    ------
    InputError
        If a probability is not a number from 0 to 1.
    """
    level = (thresholds or Thresholds()).uniformity_level
    values = np.asarray(probabilities, dtype=np.float64)
    require(values.ndim == 1, "probabilities must be a one-dimensional array", f"shape {values.shape}")
    good = (values >= 0) & (values <= 1)
    require(good.all(), "probabilities must be numbers from 0 to 1", values[~good][:1], "Leave failed fits out.")
    return centred.on(run, functional, values, level)


@check(
    "calibration.vsbc",
    "Variational simulation-based calibration",
    "Yao, Vehtari, Simpson, Gelman 2018, arXiv:1802.02538",
    question="use",
    thresholds=("uniformity_level",),
    kinds=(),
)
def centred(functional: str, values: np.ndarray, level: float) -> Outcome:
    """The probabilities are symmetric about one half: the signs of p - 1/2, by size, are fair coins."""
    details: Details = {"simulations": int(values.size)}
    if values.size < _FEWEST:
        meaning = f"{count(values.size, 'simulation')}: too few to say whether {functional} is biased."
        advice = f"Run at least {_FEWEST} simulations."
        return Outcome(Status.UNKNOWN, meaning, None, level, advice, details, functional)
    # Under symmetry the sign of p - 1/2 is a fair coin, given its size: a one-sample test on the signs, in the
    # order of the sizes, has the law of the two-sample statistic of p and 1 - p without counting each draw twice.
    order = np.argsort(-np.abs(values - 0.5), kind="stable")
    walk = np.cumsum(np.sign(values - 0.5)[order]) / np.sqrt(values.size)
    p_value = float(min(1.0, 4 * stats.norm.sf(np.abs(walk).max())))
    meaning = f"Over {values.size:,} simulations the approximation of {functional} is "
    if p_value >= level:
        meaning += f"centred as a calibrated one is (p = {number(p_value)})."
        return Outcome(Status.PASS, meaning, p_value, level, "", details, functional)
    meaning += f"biased (p = {number(p_value)}): its values are too {'small' if np.mean(values) > 0.5 else 'large'}."
    advice = "Use a richer family, or correct the draws."
    return Outcome(Status.FAIL, meaning, p_value, level, advice, details, functional)

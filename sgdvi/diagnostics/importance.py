"""Importance weights to the posterior: Pareto k-hat, where weights exist at all."""

import math

import numpy as np
from arviz_stats.base import array_stats

from sgdvi._internal.text import number, percent
from sgdvi.diagnostics.findings import Finding, Status
from sgdvi.diagnostics.thresholds import Thresholds

_TITLE = "Importance weights (Pareto k)"
_SOURCE = "Vehtari, Simpson, Gelman, Yao, Gabry 2024, JMLR 25 (72): k below min(1 - 1/log10(S), 0.7)."
_FEWEST = 25


def pareto_shape(log_weights: np.ndarray) -> float:
    """Return k-hat of importance weights from their logs, shape (S,).

    inf where a weight is, or where all are 0; -inf where the largest are all equal, as those of a law to itself.
    """
    logs = np.asarray(log_weights, dtype=np.float64).reshape(-1)
    if np.isnan(logs).any():
        return math.nan
    if np.isposinf(logs).any() or np.isneginf(logs).all():
        return math.inf
    try:
        # ArviZ takes log ratios with the sign of a log likelihood, that is negated.
        khat = float(array_stats.psislw(-np.maximum(logs - logs.max(), -700.0))[1])
    except ValueError:  # it refuses a tail of equal values: these weights have a bound that many of them reach
        return -math.inf
    return khat if math.isfinite(khat) else math.inf


def efficiency(log_weights: np.ndarray) -> float:
    """Return Kish's effective share of the draws, (sum w)^2 / (S sum w^2)."""
    logs = np.asarray(log_weights, dtype=np.float64).reshape(-1)
    weights = np.exp(logs - logs.max())
    return float(weights.sum() ** 2 / (weights @ weights) / weights.size)


def khat(
    run: str,
    log_weights: np.ndarray | None,
    thresholds: Thresholds,
    *,
    value: float | None = None,
    singular: str = "",
    missing: str = "",
    functional: str | None = None,
    missed: float = 0.0,
) -> Finding:
    """Check whether draws of a run can be reweighted to the posterior.

    Parameters
    ----------
    run, functional
        Names; `functional` where the weights are those of its law, not of the parameters.
    log_weights
        log posterior - log density of the run, up to a constant, at independent draws of the run, shape (S,); or None.
    thresholds
        Uses ``tail_khat``.
    value
        k-hat itself where it was computed before and the weights were not kept.
    singular
        Why the run has no density with respect to the posterior; "" where it has one. k-hat is blind to this: a guide
        with w = Delta(u) has finite weights and k of 0.2.
    missing
        Why there are no weights, where there are none.
    missed
        Posterior mass that no weight reaches, for the words.
    """
    size = None if log_weights is None else int(np.size(log_weights))
    advice, limit, share = "", thresholds.tail_khat, None
    if singular:
        status, found = Status.NOT_APPLICABLE, None
        meaning = (
            f"Not applicable: {singular}. Weights are ratios of densities, and the two laws have no common set on "
            "which both have one. A small k would say nothing."
        )
    elif log_weights is None and value is None:
        status, found, meaning = Status.NOT_APPLICABLE, None, missing or "The density of this run is not known."
    elif size is not None and size < _FEWEST:
        status, found, meaning = Status.UNKNOWN, None, f"Only {size} weights: too few to see their tail."
    else:
        found = pareto_shape(log_weights) if log_weights is not None else value
        if size is not None:
            limit = min(1 - 1 / math.log10(size), limit)
        what = f"the law of {functional}" if functional else "the posterior"
        if found is None or math.isnan(found):
            status, meaning = Status.UNKNOWN, "The weights cannot be computed: some are not numbers."
        elif found <= limit:
            status = Status.PASS
            meaning = f"Draws of {run} can be reweighted to {what}: k = {number(found, 2)}, below {number(limit, 2)}."
            if log_weights is not None:
                share = efficiency(log_weights)
                meaning += f" They are then worth {percent(share)} of their number."
        else:
            status = Status.WARN
            meaning = (
                f"Reweighting {run} to {what} fails: k = {number(found, 2)}, above {number(limit, 2)}; a few draws "
                "would carry all the weight."
            )
            advice = "Do not reweight these draws; sample the posterior itself."
        if missed > 0:
            meaning += f" No weight reaches the {percent(missed)} of the posterior at the other sign."
    return Finding(
        check="importance.khat",
        run=run,
        functional=functional,
        title=_TITLE,
        value=found,
        threshold=limit,
        status=status,
        meaning=meaning,
        advice=advice,
        source=_SOURCE,
        details={"weights": size, "efficiency": share, "missed_mass": missed},
    )

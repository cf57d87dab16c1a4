"""Importance weights by their logs: the shape of their largest ones, and the weights smoothed by it."""

import math

import numpy as np
from arviz_stats.base import array_stats

# Logs this close together, relative to their size, differ by rounding: the law that was sampled is the target.
_EQUAL = 1e-6


def pareto_shape(log_weights: np.ndarray) -> float:
    """Return k-hat, the shape of the Pareto law fitted to the largest weights; from logs, shape (S,).

    inf where a weight is, or where all are 0; -inf where all are equal, as those of a law to itself, or the largest.
    """
    return smoothed(log_weights)[1]


def smoothed(log_weights: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the logs of Pareto-smoothed weights, up to a constant, and k-hat, see `pareto_shape`.

    Notes
    -----
    Vehtari, Simpson, Gelman, Yao, Gabry 2024, JMLR 25 (72). Where there is no tail to smooth the logs are as they were.
    """
    logs = np.asarray(log_weights, dtype=np.float64).reshape(-1)
    if np.isnan(logs).any():
        return logs, math.nan
    if np.isposinf(logs).any() or np.isneginf(logs).all():
        return logs, math.inf
    if np.ptp(logs) <= _EQUAL * max(1.0, abs(logs.max())):
        return logs, -math.inf
    try:
        # ArviZ takes log ratios with the sign of a log likelihood, that is negated.
        smooth, khat = array_stats.psislw(-np.maximum(logs - logs.max(), -700.0))
    except ValueError:  # it refuses a tail of equal values: these weights have a bound that many of them reach
        return logs, -math.inf
    return np.asarray(smooth), float(khat) if math.isfinite(khat) else math.inf

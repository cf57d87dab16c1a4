"""Whether an evidence lower bound still rises at the end of a stochastic fit."""

import math

import numpy as np

# Standard errors, and nats, that the bound may rise from its last tenth but one to its last.
_MOST_ERRORS, _MOST_RISE = 3.0, 0.1


def rising(bounds: np.ndarray) -> str:
    """Say that a bound still rises, from its last tenth but one to its last; empty where it does not."""
    tenth = max(len(bounds) // 10, 1)
    last, before = bounds[-tenth:], bounds[-2 * tenth : -tenth]
    if not np.isfinite(last).all() or before.size < 2:
        return "the bound is not finite, or the fit too short to tell"
    rise = float(last.mean() - before.mean())
    error = math.sqrt((last.var() + before.var()) / tenth)
    if rise > max(_MOST_ERRORS * error, _MOST_RISE):
        return f"the bound still rises: by {rise:.3g} nats over the last tenth of the steps, standard error {error:.2g}"
    return ""

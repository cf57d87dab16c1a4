"""What the difference means for predictions: log predictive density by leave-one-out, and interval coverage."""

import math

import numpy as np
from arviz_stats.base import array_stats
from scipy import stats
from scipy.special import logsumexp

from sgdvi._internal.text import count, number, percent
from sgdvi.diagnostics.findings import Finding, Status
from sgdvi.diagnostics.thresholds import Thresholds

_LOO = "Vehtari, Gelman, Gabry 2017, Statistics and Computing 27, 1413 (PSIS-LOO); differences below 4 are small."
_INTERVAL = 0.9


def leave_one_out(log_likelihood: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the log predictive density of every row without it (N,), and the largest Pareto k; from (S, N)."""
    terms = np.asarray(log_likelihood, dtype=np.float64).T
    weights, shapes = array_stats.psislw(terms)
    return logsumexp(weights + terms, axis=1), float(np.max(shapes))


def loo(run: str, mine: np.ndarray | None, other: np.ndarray | None, against: str, thresholds: Thresholds) -> Finding:
    """Check whether the run predicts rows that were left out as well as the reference; log likelihoods (S, N) each."""
    value, advice, details = None, "", {}
    if mine is None or other is None:
        status, meaning = (
            Status.NOT_APPLICABLE,
            "Needs the log likelihood of each row (group log_likelihood) of both runs.",
        )
    elif not (np.isfinite(mine).all() and np.isfinite(other).all()):
        status, meaning = Status.UNKNOWN, "Some log likelihoods are not finite."
    else:
        (a, shape_a), (b, shape_b) = leave_one_out(mine), leave_one_out(other)
        each = a - b
        value = float(each.sum())
        error = math.sqrt(each.size * float(each.var(ddof=1))) if each.size > 1 else math.nan
        details = {"error": error, "khat_run": shape_a, "khat_reference": shape_b, "rows": int(each.size)}
        words = f"expected log predictive density is {number(abs(value))} nats {'higher' if value > 0 else 'lower'} "
        words += f"than that of {against} over {count(each.size, 'row')} (standard error {number(error)})"
        if max(shape_a, shape_b) > thresholds.tail_khat:
            status = Status.UNKNOWN
            meaning = f"The {words}, but leaving a row out changes a law too much for this to be reliable (Pareto k "
            meaning += f"{number(max(shape_a, shape_b))})."
        elif abs(value) < thresholds.elpd or abs(value) < 2 * error:
            status, meaning = Status.PASS, f"Predictions agree: the {words}."
        else:
            status = Status.WARN
            meaning = f"Predictions differ: the {words}."
            advice = "Judge by what the predictions are for: a wrong posterior can predict well, and the reverse."
    return Finding(
        check="predictive.loo",
        run=run,
        title="Prediction of left-out rows (LOO)",
        value=value,
        threshold=thresholds.elpd,
        status=status,
        meaning=meaning,
        advice=advice,
        source=_LOO,
        details=details,
    )


def coverage(run: str, drawn: np.ndarray | None, observed: np.ndarray | None, thresholds: Thresholds) -> Finding:
    """Check that central 90 % predictive intervals hold 90 % of the rows; draws (S, N), rows (N,)."""
    value, advice = None, ""
    if drawn is None or observed is None:
        status, meaning = (
            Status.NOT_APPLICABLE,
            "Needs predictive draws and data (groups posterior_predictive, observed_data).",
        )
    else:
        low, high = np.quantile(drawn, [(1 - _INTERVAL) / 2, (1 + _INTERVAL) / 2], axis=0)
        value = float(((observed >= low) & (observed <= high)).mean())
        size = observed.size
        level = (1 - thresholds.null_quantile) / 2
        least, most = (float(stats.binom.ppf(q, size, _INTERVAL)) / size for q in (level, 1 - level))
        # Few values (counts, classes): an interval of whole values holds more than it says, never less.
        discrete = np.unique(observed).size <= 20
        inside = value >= least and (discrete or value <= most)
        status = Status.PASS if inside else Status.WARN
        meaning = (
            f"Predictive 90 % intervals hold {percent(value)} of {count(size, 'row')}; by chance {percent(least)} to "
        )
        meaning += f"{percent(most)}."
        if not inside:
            advice = (
                f"Predictions are too {'narrow' if value < least else 'wide'} for these data: look at the model too."
            )
    return Finding(
        check="predictive.coverage",
        run=run,
        title="Coverage of predictive intervals",
        value=value,
        threshold=_INTERVAL,
        status=status,
        meaning=meaning,
        advice=advice,
        source="Binomial limits at level 1 %. The rows were used in the fit, so a little more than 90 % is normal.",
    )

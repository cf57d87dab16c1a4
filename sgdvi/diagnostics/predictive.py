"""What the difference means for predictions: log predictive density by leave-one-out, and interval coverage."""

import math
from functools import partial

import numpy as np
from arviz_stats.base import array_stats
from scipy import stats
from scipy.special import logsumexp

from sgdvi._internal.text import count, number, percent
from sgdvi.diagnostics.case import Case
from sgdvi.diagnostics.declare import Outcome, Skip, check
from sgdvi.diagnostics.findings import Details, Status
from sgdvi.diagnostics.run import Run

_INTERVAL = 0.9


def leave_one_out(log_likelihood: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the log predictive density of every row without it (N,), and the largest Pareto k; from (S, N)."""
    terms = np.asarray(log_likelihood, dtype=np.float64).T
    weights, shapes = array_stats.psislw(terms)
    return logsumexp(weights + terms, axis=1), float(np.max(shapes))


_declared = partial(check, question="use", kinds=("judged",), of_chains=False)


@_declared(
    "predictive.loo",
    "Prediction of left-out rows (LOO)",
    "Vehtari, Gelman, Gabry 2017, Statistics and Computing 27, 1413 (PSIS-LOO); differences below 4 are small.",
    cites=("vehtari2017practical", "vehtari2024pareto"),
    thresholds=("elpd", "tail_khat"),
)
def loo(case: Case) -> Outcome:
    """The run predicts rows that were left out as well as the reference: sum of log p(y_i | y_-i)."""
    mine, limits = case.draws.log_likelihood, case.limits
    other = case.against.log_likelihood if isinstance(case.against, Run) else None
    if case.against is None or mine is None or other is None:
        raise Skip("Needs the log likelihood of each row (group log_likelihood) of both runs.")
    if not (np.isfinite(mine).all() and np.isfinite(other).all()):
        raise Skip("Some log likelihoods are not finite.", Status.UNKNOWN)
    (a, shape_a), (b, shape_b) = leave_one_out(mine), leave_one_out(other)
    each = a - b
    value = float(each.sum())
    error = math.sqrt(each.size * float(each.var(ddof=1))) if each.size > 1 else math.nan
    details = {"error": error, "khat_run": shape_a, "khat_reference": shape_b, "rows": int(each.size)}
    words = f"expected log predictive density is {number(abs(value))} nats {'higher' if value > 0 else 'lower'} "
    words += f"than that of {case.against.name} over {count(each.size, 'row')} (standard error {number(error)})"
    status, advice = Status.PASS, ""
    if max(shape_a, shape_b) > limits.tail_khat:
        status = Status.UNKNOWN
        meaning = f"The {words}, but leaving a row out changes a law too much for this to be reliable (Pareto k "
        meaning += f"{number(max(shape_a, shape_b))})."
    elif abs(value) < limits.elpd or abs(value) < 2 * error:
        meaning = f"Predictions agree: the {words}."
    else:
        status, meaning = Status.WARN, f"Predictions differ: the {words}."
        advice = "Judge by what the predictions are for: a wrong posterior can predict well, and the reverse."
    return Outcome(status, meaning, value, limits.elpd, advice, details)


@check(
    "predictive.points",
    "Predictions of a test set",
    "Total variation: Levin and Peres 2017, Markov Chains and Mixing Times, 4.1; W1: Vallender 1974.",
    question="use",
    thresholds=("tv_warn", "tv_fail", "tv_blind", "points_warn", "points_fail", "null_quantile"),
    kinds=("predicted",),
    of_chains=False,
    of_reference=True,
)
def points(case: Case) -> Outcome:
    """The run predicts the points of a test set as the reference does: no more of them differ than by chance."""
    found = case.predictions
    assert found is not None, "a check of predictions is made of runs with predictions only"
    advice = "" if found.status in (Status.PASS, Status.UNKNOWN) else "The section on predictions says which to trust."
    if found.status is Status.UNKNOWN:
        advice = "Run longer, or thin less: the null level falls with the square root of the effective draws."
    names = ("apart_null", "distance", "distance_null", "agreement")
    details: Details = {**{name: found.numbers.get(name) for name in names}, **found.counts}
    return Outcome(found.status, found.meaning, found.numbers["apart"], case.limits.points_fail, advice, details)


@check(
    "predictive.calibration",
    "Calibration on a test set",
    "Broecker and Smith 2007, Weather and Forecasting 22, 651: labels drawn from the predictions themselves.",
    question="use",
    thresholds=("null_quantile",),
    kinds=("scored",),
    of_chains=False,
)
def calibrated(case: Case) -> Outcome:
    """What is predicted happens as often as it is said to."""
    assert case.predictions is not None, "a check of predictions is made of runs with predictions only"
    numbers = case.predictions.numbers
    error, null, bias = (numbers[f"calibration_{name}"] or 0.0 for name in ("error", "null", "bias"))
    meaning = f"The expected calibration error is {number(error)}; by chance up to {number(null)}."
    details: Details = {"null_level": null, "bias": bias, "coverage": numbers["coverage"]}
    if error <= null:
        return Outcome(Status.PASS, meaning, error, null, "", details)
    advice = f"Its predictions are {'over' if bias > 0 else 'under'}confident for these data: look at the model too."
    return Outcome(Status.WARN, meaning, error, null, advice, details)


@_declared(
    "predictive.coverage",
    "Coverage of predictive intervals",
    "Binomial limits at level 1 %. The rows were used in the fit, so a little more than 90 % is normal.",
    thresholds=("null_quantile",),
)
def coverage(case: Case) -> Outcome:
    """Central 90 % predictive intervals hold 90 % of the rows."""
    drawn, observed = case.draws.predicted, case.draws.observed
    if drawn is None or observed is None:
        raise Skip("Needs predictive draws and data (groups posterior_predictive, observed_data).")
    low, high = np.quantile(drawn, [(1 - _INTERVAL) / 2, (1 + _INTERVAL) / 2], axis=0)
    value, size = float(((observed >= low) & (observed <= high)).mean()), observed.size
    level = (1 - case.limits.null_quantile) / 2
    least, most = (float(stats.binom.ppf(q, size, _INTERVAL)) / size for q in (level, 1 - level))
    # Few values (counts, classes): an interval of whole values holds more than it says, never less.
    discrete = np.unique(observed).size <= 20
    meaning = f"Predictive 90 % intervals hold {percent(value)} of {count(size, 'row')}; by chance {percent(least)} to "
    meaning += f"{percent(most)}."
    if value >= least and (discrete or value <= most):
        return Outcome(Status.PASS, meaning, value, _INTERVAL)
    wrong = "narrow" if value < least else "wide"
    advice = f"Predictions are too {wrong} for these data: look at the model too."
    return Outcome(Status.WARN, meaning, value, _INTERVAL, advice)

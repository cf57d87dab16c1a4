"""Foreseen beside observed: what the law near the mode said of each run, and what the run then was."""

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.stats import wasserstein_distance

from sgdvi._internal.check import InputError
from sgdvi.comparison import Comparison
from sgdvi.experiment.flavours import run_of
from sgdvi.experiment.forecast_result import Flavour
from sgdvi.experiment.plan import Plan
from sgdvi.experiment.predicted import Predicted
from sgdvi.problem.base import Problem
from sgdvi.report import Foreseen


def foreseen_and_observed(
    problem: Problem, plan: Plan, flavours: Sequence[str], comparison: Comparison
) -> tuple[Foreseen, ...]:
    """Return a row for each flavour of SGD and functional; nothing where there is no forecast.

    Observed distances are to the reference, in its standard deviations, as the foreseen ones are to the posterior near
    the mode; None where the flavour was not run, all its chains overflowed, or there is no reference with draws.
    """
    return tuple(row for flavour in flavours for row in _rows(problem, plan, flavour, comparison))


def foreseen_of(problem: Problem, plan: Plan, flavour: str) -> Flavour | None:
    """Return what is foreseen of a flavour at the settings of the plan; None where no law is known of it."""
    forecast = plan.forecast
    if forecast is None or forecast.near is None:
        return None
    as_foreseen = forecast[flavour]
    settings = (plan.learning_rate, plan.batch_size, plan.batching)
    if flavour != "plain" or settings == (as_foreseen.learning_rate, as_foreseen.batch_size, "replacement"):
        return as_foreseen
    given = {"learning_rate": plan.learning_rate, "batch_size": plan.batch_size, "batching": plan.batching}
    try:
        return Predicted(problem, forecast.near).flavour(forecast.near.recipe("plain", **given))
    except InputError:  # batches without independent noise, or a rate at which there is no law
        return None


def _rows(problem: Problem, plan: Plan, flavour: str, comparison: Comparison) -> Iterator[Foreseen]:
    foreseen, run = foreseen_of(problem, plan, flavour), run_of(flavour)
    if foreseen is None:
        return
    drawn, truth = (comparison.values.get(name or "", {}) for name in (run, comparison.reference))
    for functional, distance in foreseen.w1.items():
        mine, other = _pooled(drawn.get(functional)), _pooled(truth.get(functional))
        w1 = ratio = None
        if mine is not None and other is not None and other.std() > 0:
            w1 = float(wasserstein_distance(mine, other) / other.std())
            ratio = float(mine.std() / other.std())
        yield Foreseen(run, functional, distance, w1, foreseen.sd_ratio[functional], ratio)


def _pooled(values: np.ndarray | None) -> np.ndarray | None:
    """Return the draws of the chains that are finite; None where there are none."""
    if values is None:
        return None
    kept = values[np.isfinite(values).all(axis=1)]
    return kept.ravel() if kept.size else None

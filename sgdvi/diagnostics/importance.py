"""Importance weights to the posterior: Pareto k-hat, where weights exist at all."""

import math
from dataclasses import replace

import numpy as np

from sgdvi._internal.pareto import pareto_shape
from sgdvi._internal.text import number, percent
from sgdvi.diagnostics.case import Case
from sgdvi.diagnostics.declare import Outcome, Skip, check
from sgdvi.diagnostics.findings import Status
from sgdvi.diagnostics.support import dimension
from sgdvi.diagnostics.thresholds import Thresholds

_FEWEST = 25


def efficiency(log_weights: np.ndarray) -> float:
    """Return Kish's effective share of the draws, (sum w)^2 / (S sum w^2)."""
    logs = np.asarray(log_weights, dtype=np.float64).reshape(-1)
    weights = np.exp(logs - logs.max())
    return float(weights.sum() ** 2 / (weights @ weights) / weights.size)


@check(
    "importance.khat",
    "Importance weights (Pareto k)",
    "Vehtari, Simpson, Gelman, Yao, Gabry 2024, JMLR 25 (72): k below min(1 - 1/log10(S), 0.7).",
    question="use",
    cites=("vehtari2024pareto",),
    thresholds=("tail_khat",),
    kinds=("judged", "independent"),
)
def khat(case: Case) -> Outcome:
    """Draws of the run can be reweighted to the posterior: in its parameters, or on v where its law is known."""
    run, facts = case.draws, case.facts
    lawful = case.sgd and facts.stationary is not None and facts.posterior is not None and not facts.collapsed
    if lawful and facts.functional in run.points:
        # On the line both have a density, whatever the parameters do.
        outcome = reweighted(run.name, _log_weights(case), case.limits, to=f"the law of {facts.functional}")
        return with_missed(replace(outcome, functional=facts.functional), facts.missed_mass)
    point = any(measured.trouble == "constant" for measured in run.mixing.values())
    if point or dimension(case).status is Status.FAIL:
        # k-hat is blind to this: a guide with w = Delta(u) has finite weights and k of 0.2
        lower = f"the law of {run.name} lives on a set of lower dimension than the posterior"
        what = f"{run.name} is a point mass" if point else lower
        raise Skip(
            f"Not applicable: {what}. Weights are ratios of densities, and the two laws have no common set on which "
            "both have one. A small k would say nothing."
        )
    if run.log_weights is None and run.khat is None:
        kept = "No importance weights were kept with the draws."
        raise Skip("The density of SGD is not known for this model." if case.sgd else kept)
    return reweighted(run.name, run.log_weights, case.limits, shape=run.khat)


def reweighted(
    run: str,
    log_weights: np.ndarray | None,
    limits: Thresholds,
    *,
    shape: float | None = None,
    to: str = "the posterior",
) -> Outcome:
    """Judge weights by their logs, shape (S,), or by their Pareto shape alone, where only that was kept."""
    size = None if log_weights is None else int(np.size(log_weights))
    limit = limits.tail_khat if size is None or size < _FEWEST else min(1 - 1 / math.log10(size), limits.tail_khat)
    details = {"weights": size, "efficiency": None, "missed_mass": 0.0}
    if size is not None and size < _FEWEST:
        meaning = f"Only {size} weights: too few to see their tail."
        return Outcome(Status.UNKNOWN, meaning, None, limit, details=details)
    value = shape if log_weights is None else pareto_shape(log_weights)
    if value is None or math.isnan(value):
        meaning = "The weights cannot be computed: some are not numbers."
        return Outcome(Status.UNKNOWN, meaning, value, limit, details=details)
    if value > limit:
        meaning = (
            f"Reweighting {run} to {to} fails: k = {number(value, 2)}, above {number(limit, 2)}; a few draws would "
        )
        advice = "Do not reweight these draws; sample the posterior itself."
        return Outcome(Status.WARN, f"{meaning}carry all the weight.", value, limit, advice, details)
    meaning = f"Draws of {run} can be reweighted to {to}: k = {number(value, 2)}, below {number(limit, 2)}."
    if log_weights is not None:
        details["efficiency"] = share = efficiency(log_weights)
        meaning += f" They are then worth {percent(share)} of their number."
    return Outcome(Status.PASS, meaning, value, limit, details=details)


def _log_weights(case: Case) -> np.ndarray:
    run, facts = case.draws, case.facts
    assert facts.posterior is not None
    assert facts.stationary is not None
    values = np.ravel(case.values(facts.functional))
    thinned = values[:: max(1, int(values.size // max(run.fewest, 1)))]
    logs = facts.posterior.log_prob(thinned) - facts.stationary.log_prob(thinned)
    return logs[~np.isnan(logs) & ~np.isposinf(logs)]  # draws outside the exact law's support: steps too large


def with_missed(outcome: Outcome, missed: float) -> Outcome:
    """Say which posterior mass no weight reaches."""
    if outcome.details["weights"] is not None and missed > 0 and outcome.value is not None:
        words = f" No weight reaches the {percent(missed)} of the posterior at the other sign."
        outcome = replace(outcome, meaning=outcome.meaning + words)
    return replace(outcome, details={**outcome.details, "missed_mass": missed})

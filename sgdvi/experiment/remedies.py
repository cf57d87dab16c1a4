"""What to do instead of SGD as it runs: every remedy with the distance to the posterior that it leaves."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import stats

from sgdvi._internal.check import InputError
from sgdvi._internal.text import number, percent
from sgdvi.comparison import Comparison
from sgdvi.diagnostics.distances import grade_both
from sgdvi.diagnostics.findings import Status
from sgdvi.diagnostics.thresholds import Thresholds
from sgdvi.experiment.descent import GAUGE, QUOTIENT
from sgdvi.experiment.flavours import RUNS
from sgdvi.experiment.near_mode import AVERAGES, SHIFTED
from sgdvi.experiment.plan import Plan
from sgdvi.laws.prior import known
from sgdvi.problem.base import Problem
from sgdvi.remedies import Remedies, remedies, reweight
from sgdvi.remedies.between import LEVELS, FromPosterior
from sgdvi.report import Instead, Stage
from sgdvi.report.context import RECOMMENDED

NOTHING = "SGD as it runs"
# Remedies that are runs of the comparison.
_BY_RUNS = {
    RUNS["completed"]: "SGD with the inverse curvature as its step and the noise that it lacks.",
    RUNS["mandt"]: "SGD with Mandt's matrix as its step: directions without noise of their own stay too narrow.",
    RUNS["sgld"]: "Langevin dynamics with the inverse curvature: variances about a tenth too large, small steps.",
    AVERAGES: "Averages of SGD over epochs: as wide as the sandwich, which is the posterior where the model is right.",
    SHIFTED: "A Gaussian with the curvature at the mode, about the mean that the skewness gives: no chain.",
    GAUGE: "SGD with moves along the orbits of the symmetries: on each orbit it has the posterior's law, with all "
    "signs there; its law across the orbits is another than SGD's.",
    "Laplace": "A Gaussian at the mode: one optimisation, no chain.",
    QUOTIENT: "Draws of the posterior by NUTS on what the symmetries leave alone, orbits refilled by the prior's law.",
}
# Draws that weights are made for: more of them are correlated.
_WEIGHTED = 4_000


def exact_remedies(problem: Problem, plan: Plan) -> Remedies | None:
    """Return the remedies by the exact laws on v; None where no exact posterior or no temperature is known."""
    network = problem.exact
    if network is None or plan.temperature is None:
        return None
    if not (network.proper_posterior and known(network.depth + 1, network.width)):
        return None
    return remedies(network, plan.temperature)


def measure_remedies(
    problem: Problem, plan: Plan, comparison: Comparison, stages: Sequence[Stage] = ()
) -> tuple[Instead, ...]:
    """Return "SGD as it runs" and every remedy, measured, or with the reason why it does not apply.

    Distances of runs are those of the comparison, with their null levels; tuning is measured between exact laws;
    weights are made for the draws of SGD themselves. ``stages`` say how long runs took, or why they did not take place.
    """
    seconds = {stage.name: stage.seconds for stage in stages}
    skipped = {stage.name: stage.skipped for stage in stages}
    exact = exact_remedies(problem, plan)
    rows = [_run(comparison, "SGD", NOTHING, "The draws of SGD, unchanged.")]
    if skipped.get("SGD"):
        rows = [_left_out(NOTHING, skipped["SGD"])]
    rows += [_tune(exact), _weights(problem, plan, comparison, exact), _signs(problem, rows[0])]
    for name, text in _BY_RUNS.items():
        if name in comparison.runs:
            rows.append(_run(comparison, name, name, text))
        elif skipped.get(name):
            rows.append(_left_out(name, skipped[name]))
    if "NUTS" in comparison.runs:
        rows.append(_nuts(comparison, exact))
    elif skipped.get("NUTS"):
        rows.append(_left_out("NUTS", skipped["NUTS"]))
    rows = [replace(row, seconds=seconds.get("SGD" if row.name == NOTHING else row.name)) for row in rows]
    chosen = _recommend(rows, exact)
    return tuple(replace(row, recommended=row.name == chosen) for row in rows)


def recommend(comparison: Comparison, rows: tuple[Instead, ...]) -> Comparison:
    """Return the comparison with the recommended remedy first among what would change the verdict."""
    verdict = comparison.verdict
    row = next((row for row in rows if row.recommended), None)
    if (row is not None and row.name == NOTHING) or verdict.status in (Status.PASS, Status.NOT_APPLICABLE):
        return comparison
    if row is None:
        mixed = comparison.reference != "NUTS" or _reference_status(comparison) is not Status.FAIL
        if comparison.reference is None or not mixed:
            return comparison
        text = f"No remedy that was measured is near: use the draws of {comparison.reference} themselves."
        if any(each.status == Status.UNKNOWN for each in rows):
            text = f"Too few effective draws to say which remedy is near: give {comparison.reference} more."
        return replace(comparison, verdict=replace(verdict, changes=(*verdict.changes, text)))
    before = rows[0]
    gain = "" if before.ks is None or row.ks is None else f" (KS {number(before.ks)} before, {number(row.ks)} after)"
    changes = (f"{RECOMMENDED}{row.name}{gain}. {row.meaning}", *verdict.changes)
    return replace(comparison, verdict=replace(verdict, changes=changes))


def _run(comparison: Comparison, run: str, name: str, meaning: str) -> Instead:
    distances = {f.check: f for f in comparison.findings if f.run == run and f.check in ("distance.w1", "distance.ks")}
    if len(distances) < 2 or any(f.value is None for f in distances.values()):
        missing = next((f.meaning for f in distances.values() if f.value is None), "")
        return _left_out(name, missing or "There is no reference to measure from.")
    ks, w1 = distances["distance.ks"], distances["distance.w1"]
    worst = max((ks.status, w1.status), key=lambda status: status.severity)
    ks_null, w1_null = (float(f.details["null_level"] or 0.0) for f in (ks, w1))
    return Instead(name, ks.value, w1.value, ks_null, w1_null, str(worst), meaning)


def _left_out(name: str, reason: str) -> Instead:
    reason = reason[:1].upper() + reason[1:]  # messages of errors begin with a small letter
    return Instead(name, None, None, None, None, str(Status.NOT_APPLICABLE), reason)


def _tune(exact: Remedies | None) -> Instead:
    name = "tune the temperature"
    if exact is None:
        reason = "Needs the exact laws of SGD and of the posterior; 'sgdvi sweep' tunes by runs."
        return _left_out(name, reason)
    row = next(one for one in exact.each if one.name == name)
    status = grade_both(row.w1, row.ks, 0.0, 0.0, Thresholds())
    return Instead(name, row.ks, row.w1, 0.0, 0.0, str(status), row.meaning)


def _weights(problem: Problem, plan: Plan, comparison: Comparison, exact: Remedies | None) -> Instead:
    """Weights for the draws of SGD themselves, with the law of the discrete steps at depth 1."""
    name, network = "reweight", problem.exact
    if exact is None or network is None or "SGD" not in comparison.values:
        reason = "Needs the density of SGD, which is known for linear networks with a known posterior alone."
        return _left_out(name, reason)
    values = np.concatenate([chain for chain in comparison.values["SGD"]["v"] if np.isfinite(chain).all()] or [[]])
    values = values[:: max(1, values.size // _WEIGHTED)]
    try:
        weighted = reweight(network, values, plan.temperature)
    except InputError as error:
        return _left_out(name, str(error))
    gap = FromPosterior(network.posterior)
    # Against the whole posterior: what is missing at the other sign is part of the distance.
    ks = float(np.max(np.abs(weighted.cdf(gap.quantiles) - LEVELS)))
    w1 = float(stats.wasserstein_distance(weighted.values, gap.quantiles, u_weights=weighted.weights)) / gap.sd
    size, effective = len(weighted.values), weighted.effective_draws
    ks_null, w1_null = gap.null(effective)
    text = f"k-hat {number(weighted.khat, 2)}; {number(effective)} effective of {size} draws."
    text += "" if weighted.reliable else " Too large a k-hat: do not rely on the weights."
    if weighted.missed > 0:
        text += f" {percent(weighted.missed)} of the posterior, at the other sign, stay missing."
    status = grade_both(w1, ks, w1_null, ks_null, Thresholds()) if weighted.reliable else Status.FAIL
    return Instead(name, ks, w1, ks_null, w1_null, str(status), text)


def _signs(problem: Problem, before: Instead) -> Instead:
    name, network = "restore signs", problem.exact
    if network is None:
        reason = "For linear networks alone; of other models gauge noise and NUTS on the quotient have all signs."
        return _left_out(name, reason)
    if network.depth == 0:
        return _left_out(name, "There is no product of factors whose signs could be exchanged.")
    patterns = 2**network.depth
    text = f"Gives the {patterns} sign patterns of the factors their equal probability; v stays as it is."
    return replace(before, name=name, meaning=text)


def _nuts(comparison: Comparison, exact: Remedies | None) -> Instead:
    text = "Draws of the posterior itself, with all signs, for gradients of all rows."
    if exact is not None:  # what it samples is known, and what the others are far from
        return Instead("NUTS", 0.0, 0.0, None, None, str(_reference_status(comparison)), text)
    if comparison.reference == "NUTS":
        reason = "The reference: the others are measured from it, so nothing is told of it by a distance."
        return _left_out("NUTS", reason)
    row, own = _run(comparison, "NUTS", "NUTS", text), _reference_status(comparison)
    return replace(row, status=str(max(Status(row.status), own, key=lambda status: status.severity)))


def _reference_status(comparison: Comparison) -> Status:
    of_nuts = {f.check: f.status for f in comparison.findings if f.run == "NUTS"}
    own = [of_nuts[check] for check in ("mixing.rhat", "mixing.ess") if check in of_nuts]
    if of_nuts.get("hmc.divergences") is Status.FAIL:  # a few are a warning of the comparison, no reason to drop it
        own.append(Status.FAIL)
    return max(own, key=lambda status: status.severity, default=Status.UNKNOWN)


def _recommend(rows: list[Instead], exact: Remedies | None) -> str:
    """Return the cheapest that is near: by the exact laws where they are known, else by the time that runs took."""
    if exact is not None:
        return NOTHING if exact.recommended.name == "none" else exact.recommended.name
    near = [row for row in rows if row.status == Status.PASS and row.ks is not None and row.name != "restore signs"]
    # SGD has run already
    return min(near, key=lambda row: (row.name != NOTHING, row.seconds or 0.0)).name if near else ""

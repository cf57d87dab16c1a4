"""How far a run is from its own exact law: for SGD the discretisation gap, for NUTS the error of the reference."""

import math

from sgdvi._internal.text import number
from sgdvi.diagnostics.case import Case
from sgdvi.diagnostics.declare import NO_DRAWS, Outcome, Skip, check, grade
from sgdvi.diagnostics.distances import difference, measure
from sgdvi.diagnostics.facts import Facts
from sgdvi.diagnostics.findings import Details, Status
from sgdvi.diagnostics.thresholds import ZIYIN, limits_of
from sgdvi.laws.line import Points

_OF_STEPS = "The exact law of SGD with these steps on these data"


@check(
    "law.gap",
    lambda case: "Discretisation gap to the exact law" if case.sgd else "Distance to the exact law",
    "Exact posterior.",
    cites=("ziyin2025noise",),
    thresholds=(*limits_of("ks"), "null_quantile"),
    kinds=("judged", "reference"),
    always=True,
)
def gap(case: Case) -> Outcome:
    """The Kolmogorov distance of a run of SGD to its exact law, or of another run to the exact posterior."""
    facts, points, limits = case.facts, _law(case), case.limits.of("ks")
    name = facts.functional
    distance = measure(case.draws.points[name], points, case.limits.null_quantile)
    status = grade(distance.ks, distance.ks_null, *limits)
    # At depth 2 and above that is the law without the prior's decay: see LinearNetwork.law.
    bare = " (without the prior's weight decay)" if len(facts.factors) > 2 else ""
    law = f"exact stationary law of SGD{bare}" if case.sgd else "exact posterior"
    measured = f"KS = {number(distance.ks)}, W1 = {number(distance.w1)} sd; by chance up to {number(distance.ks_null)}"
    advice = ""
    if status is Status.UNKNOWN:
        meaning, advice = f"{measured}: the draws are too few to see a gap to the {law}.", "Run longer."
    elif distance.ks <= distance.ks_null:
        meaning = f"The draws follow the {law} ({measured})."
    elif status is Status.PASS:
        meaning = f"The draws follow the {law} up to a small gap ({measured})."
    else:
        meaning = f"The draws differ from the {law}: {difference(distance, 'sd')} ({measured})."
        advice = "Run longer; if the gap stays, do not use this run as a reference."
        if case.sgd:
            advice = "The theory is exact for small steps: lower the learning rate and the batch size together (same "
            advice += "temperature), or run a longer warmup."
    nulls = {"w1_null_level": distance.w1_null, "null_level": distance.ks_null}
    details: Details = {"w1": distance.w1, **nulls, "shift": distance.shift, "widening": distance.widening}
    source = ""
    if case.sgd:
        source = f"{ZIYIN}: the law holds for the flow, the limit of small steps."
    if case.sgd and facts.discrete_law is not None and not case.draws.settings.get("momentum"):
        meaning = f"{meaning} {steps_in_words(facts)}"
        details |= {"discrete_law": facts.discrete_law.status, "discrete_law_ks": facts.discrete_distance}
    return Outcome(status, meaning, distance.ks, limits[1], advice, details, name, source=source)


def steps_in_words(facts: Facts) -> str:
    """Say in one sentence what the finite steps of SGD alone make of its law; "" where that is not known."""
    law, distance = facts.discrete_law, facts.discrete_distance
    if law is None:
        return ""
    if math.isnan(distance):
        return f"{_OF_STEPS}: {law.status}."
    leave = "overflow" if law.depth == 1 else "leave it (overflow, or end at 0)"
    left = f", and chains {leave} once in {number(law.horizon)} steps" if math.isfinite(law.horizon) else ""
    return f"{_OF_STEPS} is KS = {number(distance)} from that of the flow{left}."


def _law(case: Case) -> Points:
    facts = case.facts
    if case.sgd and facts.collapsed:
        raise Skip(f"The exact law is the point mass at {facts.functional} = 0: see the check of collapse.")
    points = facts.stationary_points if case.sgd else facts.posterior_points
    if points is None:
        raise Skip((facts.missing if case.sgd else facts.improper) or "No exact law is known for this run.")
    if facts.functional not in case.draws.points:
        raise Skip(NO_DRAWS, Status.UNKNOWN)
    return points

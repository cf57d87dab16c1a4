"""How far a run is from its own exact law: for SGD the discretisation gap, for NUTS the error of the reference."""

import math

from sgdvi._internal.text import number
from sgdvi.diagnostics.distances import Distance, difference, grade
from sgdvi.diagnostics.facts import Facts
from sgdvi.diagnostics.findings import Finding, Status
from sgdvi.diagnostics.thresholds import ZIYIN, Thresholds


def steps_in_words(facts: Facts) -> str:
    """Say in one sentence what the finite steps of SGD alone make of its law; "" where that is not known."""
    law, distance = facts.discrete_law, facts.discrete_distance
    if law is None:
        return ""
    if math.isnan(distance):
        return f"The exact law of SGD with these steps on these data: {law.status}."
    overflow = f", and chains overflow once in {number(law.horizon)} steps" if math.isfinite(law.horizon) else ""
    where = "The exact law of SGD with these steps on these data"
    return f"{where} is KS = {number(distance)} from that of the flow{overflow}."


def gap(
    run: str,
    functional: str,
    distance: Distance,
    law: str,
    thresholds: Thresholds,
    *,
    discrete: bool,
    steps: Facts | None = None,
) -> Finding:
    """Check the Kolmogorov distance of a run to the law it should have.

    `law` names that law in words; `discrete` says that the run takes steps and the law does not (SGD), so that the
    distance is the discretisation gap; `steps` says how large that is by theory, where it is known.
    """
    limits = (thresholds.ks_warn, thresholds.ks_fail, thresholds.ks_blind)
    status = grade(distance.ks, distance.ks_null, *limits)
    measured = f"KS = {number(distance.ks)}, W1 = {number(distance.w1)} sd; by chance up to {number(distance.ks_null)}"
    advice = ""
    if status is Status.UNKNOWN:
        meaning = f"{measured}: the draws are too few to see a gap to the {law}."
        advice = "Run longer."
    elif distance.ks <= distance.ks_null:
        meaning = f"The draws follow the {law} ({measured})."
    elif status is Status.PASS:
        meaning = f"The draws follow the {law} up to a small gap ({measured})."
    else:
        meaning = f"The draws differ from the {law}: {difference(distance, 'sd')} ({measured})."
        advice = (
            "The theory is exact for small steps: lower the learning rate and the batch size together (same "
            "temperature), or run a longer warmup."
            if discrete
            else "Run longer; if the gap stays, do not use this run as a reference."
        )
    law_of_steps = None if steps is None else steps.discrete_law
    if steps is not None and law_of_steps is not None:
        meaning = f"{meaning} {steps_in_words(steps)}"
    return Finding(
        check="law.gap",
        run=run,
        functional=functional,
        title="Discretisation gap to the exact law" if discrete else "Distance to the exact law",
        value=distance.ks,
        threshold=limits[1],
        status=status,
        meaning=meaning,
        advice=advice,
        source=f"{ZIYIN}: the law holds for the flow, the limit of small steps." if discrete else "Exact posterior.",
        details={
            "w1": distance.w1,
            "w1_null_level": distance.w1_null,
            "null_level": distance.ks_null,
            "shift": distance.shift,
            "widening": distance.widening,
            **(
                {}
                if steps is None or law_of_steps is None
                else {"discrete_law": law_of_steps.status, "discrete_law_ks": steps.discrete_distance}
            ),
        },
    )

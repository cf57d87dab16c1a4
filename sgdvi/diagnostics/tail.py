"""How heavy the tails are: the tail index of the draws beside the exact one, and which moments exist."""

import math

from sgdvi._internal.text import number
from sgdvi.diagnostics.case import Case
from sgdvi.diagnostics.declare import Outcome, Skip, check, usable
from sgdvi.diagnostics.findings import Status
from sgdvi.diagnostics.thresholds import ZIYIN


@check(
    "tail.index",
    "Tail index",
    "Vehtari, Simpson, Gelman, Yao, Gabry 2024, JMLR 25 (72): Pareto k beyond 0.7 makes means useless. "
    f"Exact index 4 - 3/n for depth 1 and above: {ZIYIN}.",
    question="use",
    cites=("vehtari2024pareto",),
    thresholds=("tail_khat",),
    kinds=("draws",),
    each=usable,
    lowest=True,
)
def index(case: Case, name: str) -> Outcome:
    """Mean and variance exist: P(|v| > x) ~ x^-index, with an index above 1 and 2."""
    if name in case.draws.still:
        raise Skip(f"All runs hold {name} at one value.")
    tail = case.tail(case.draws, name)
    shown = "no power law" if math.isinf(tail.estimate) else f"index about {number(tail.estimate, 2)}"
    seen = "too few draws to see the tail" if math.isnan(tail.khat) else f"the draws show {shown}"
    exact = ""
    if not math.isnan(tail.exact):
        of_law = "has no power-law tail" if math.isinf(tail.exact) else f"has tail index {number(tail.exact)}"
        exact = f"The exact law {of_law}; "
    mean, variance = (tail.has_moment(order, case.limits) for order in (1, 2))
    status, advice = Status.WARN, ""
    if math.isnan(tail.khat) and math.isnan(tail.exact):
        status, meaning = Status.UNKNOWN, f"Too few effective draws of {name} to see how heavy its tails are."
        advice = "Run longer."
    elif mean and variance:
        status, meaning = Status.PASS, f"{exact}{seen}: mean and variance of {name} exist."
        if exact and math.isfinite(tail.exact) and not tail.estimate < 2 * tail.exact:
            meaning += " The exact power law sets in beyond what these draws reach."
    else:
        lost = "variance" if mean else "mean"
        meaning = f"{exact}{seen}: the {lost} of {name} does not exist, nor does what rests on it."
        if not exact:
            meaning = f"{seen} (Pareto k = {number(tail.khat, 2)}): the {lost} of {name} does not exist, or no run of "
            meaning += "this length settles it."
        advice = f"Report median and quantiles of {name}, not {'its sd' if mean else 'mean or sd'}; distances that "
        advice += "rest on moments are left out below."
    khat, law = (None if math.isnan(number_) else number_ for number_ in (tail.khat, tail.exact))
    details = {"khat": khat, "exact_index": law, "mean_exists": mean, "variance_exists": variance}
    value = law if law is not None else None if khat is None else tail.estimate
    return Outcome(status, meaning[0].upper() + meaning[1:], value, 2.0, advice, details)

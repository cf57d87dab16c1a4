"""R-hat and effective draws, behind a gate that constants, NaN and single chains do not pass."""

import math
from collections.abc import Sequence

from sgdvi._internal.text import count, number
from sgdvi.diagnostics.case import Case
from sgdvi.diagnostics.declare import Outcome, Skip, check, usable
from sgdvi.diagnostics.findings import Details, Status
from sgdvi.diagnostics.measures import Mixing
from sgdvi.diagnostics.thresholds import VEHTARI

_TROUBLES = {
    "constant": (
        Status.FAIL,
        "All draws of {name} are equal, so {what} does not exist.",
        "",
    ),
    "stuck": (
        Status.FAIL,
        "At least one chain of {name} never moved, so {what} has no meaning.",
        "",
    ),
    "short": (Status.UNKNOWN, "Fewer than 8 draws per chain: too few for {what}.", "Run longer."),
    "non-finite": (Status.FAIL, "No chain with finite draws of {name} is left.", ""),
}


def _every(case: Case) -> Sequence[str]:
    return list(case.draws.mixing)


@check(
    "mixing.rhat",
    "R-hat",
    VEHTARI,
    question="arrive",
    cites=("vehtari2021rank",),
    thresholds=("rhat_warn", "rhat_fail"),
    kinds=("draws",),
    each=_every,
    gate=True,
    untested=True,
)
def rhat(case: Case, name: str) -> Outcome:
    """The chains agree with each other."""
    measured, limits = case.draws.mixing[name], case.limits
    details: Details = {"chains": measured.chains, "draws": measured.draws}
    value = None if math.isnan(measured.rhat) else measured.rhat
    if measured.trouble:
        return _troubled(measured, name, "R-hat", limits.rhat_warn, details, case)
    if measured.independent:
        raise Skip("The draws are independent: there are no chains that could disagree.")
    if measured.chains < 2:
        status, meaning = Status.UNKNOWN, "One chain only: whether chains from other starts agree was not tested."
        advice = "Run at least 4 chains from different starts."
    elif not math.isfinite(measured.rhat):
        status, meaning = Status.FAIL, f"R-hat of {name} is {number(measured.rhat)}."
        advice = "Run longer."
    else:
        status = Status.FAIL if measured.rhat > limits.rhat_fail else Status.WARN
        advice = "Run longer, with a longer warmup."
        if measured.rhat <= limits.rhat_warn:
            status, advice = Status.PASS, ""
        words = {Status.PASS: "agree", Status.WARN: "do not quite agree", Status.FAIL: "disagree"}[status]
        meaning = f"The {measured.chains} chains of {name} {words} with each other."
    return Outcome(status, meaning, value, limits.rhat_warn, advice, details)


@check(
    "mixing.ess",
    "Effective draws",
    VEHTARI,
    question="arrive",
    cites=("vehtari2021rank",),
    thresholds=("ess_warn", "ess_fail"),
    kinds=("draws",),
    each=_every,
    lowest=True,
    gate=True,
)
def ess(case: Case, name: str) -> Outcome:
    """There are enough effective draws, the smaller of bulk and tail."""
    measured, limits = case.draws.mixing[name], case.limits
    total = measured.chains * measured.draws
    if measured.trouble:
        return _troubled(measured, name, "the number of effective draws", limits.ess_warn, {"draws": total}, case)
    if not math.isfinite(measured.ess):
        value = None if math.isnan(measured.ess) else measured.ess
        meaning = f"The effective draws of {name} cannot be counted."
        return Outcome(Status.FAIL, meaning, value, limits.ess_warn, "Run longer.", {"draws": total})
    meaning = f"{count(total, 'draw')} of {name} are worth {number(measured.ess)} independent ones."
    status, advice = Status.PASS, ""
    if measured.ess < limits.ess_warn:
        status = Status.FAIL if measured.ess < limits.ess_fail else Status.WARN
        advice = f"Run longer or with more chains, for at least {number(limits.ess_warn)} effective draws."
    return Outcome(status, meaning, measured.ess, limits.ess_warn, advice, {"draws": total})


@check(
    "mixing.mcse",
    "Standard error of the mean",
    VEHTARI,
    question="arrive",
    cites=("vehtari2021rank",),
    thresholds=("mcse_warn",),
    kinds=("draws",),
    each=usable,
)
def mcse(case: Case, name: str) -> Outcome:
    """The Monte Carlo standard error of the mean is small."""
    measured, limit = case.draws.mixing[name], case.limits.mcse_warn
    if measured.trouble:
        return _troubled(measured, name, "the standard error of the mean", limit, {"error": None}, case)
    if not case.tail(case.draws, name).has_moment(2, case.limits):
        raise Skip(f"{name} has no usable variance (see the tail index), so its mean has no standard error.")
    if math.isnan(measured.mcse):
        raise Skip(f"The standard error of the mean of {name} cannot be computed.", Status.UNKNOWN)
    error = measured.mcse * case.draws.points[name].sd
    meaning = f"The mean of {name} is known to {number(measured.mcse)} sd ({number(error)})."
    good = measured.mcse <= limit
    advice = "" if good else "Run longer: the error falls with the square root of the effective draws."
    return Outcome(Status.PASS if good else Status.WARN, meaning, measured.mcse, limit, advice, {"error": error})


def _troubled(measured: Mixing, name: str, what: str, limit: float, details: Details, case: Case) -> Outcome:
    if measured.trouble == "fixed":
        raise Skip(f"All runs hold {name} at one value.")
    others = [other for other in case.draws.mixing.values() if not other.trouble]
    if measured.trouble == "constant" and "reference" in case.kinds and others and measured.chains > 1:
        raise Skip(f"{case.run.name} holds {name} at one value, while it moves in others: taken as known.")
    status, words, advice = _TROUBLES[measured.trouble]
    if measured.trouble == "non-finite":
        advice = "Lower the learning rate." if case.sgd else "Look at what wrote the draws."
    return Outcome(status, words.format(name=name, what=what), None, limit, advice, details)

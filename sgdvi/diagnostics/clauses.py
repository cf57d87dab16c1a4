"""The parts of the verdict's sentence: what is wrong with a run, in a few words each."""

import math
from collections.abc import Sequence

from sgdvi._internal.text import number, percent
from sgdvi.diagnostics.distances import MOST_JUMP
from sgdvi.diagnostics.facts import Facts
from sgdvi.diagnostics.findings import Finding, Status
from sgdvi.diagnostics.judged import Judged

# A distance within this factor of its null level is just beyond chance.
_BARELY = 1.15


def in_parameters(judged: Judged, facts: Facts) -> str:
    """Say what is wrong in parameter space, as the end of a sentence; "" where nothing is."""
    if not judged.any("in_parameters", Status.FAIL):
        return ""
    names = f"({', '.join(facts.factors)})" if facts.factors else "parameter space"
    one_sign = one_sign_only(judged, facts)
    if judged.status("support.balance") is Status.FAIL:
        line = " = ".join(f"|{name}|" for name in facts.factors)
        where = f"in {names} its draws lie on {line}{one_sign}"
        return f"{where}, a set to which the posterior gives probability 0 (KL = infinity)"
    if judged.status("kl.parameters") is Status.FAIL:
        what = "its law has a support" if facts.singular else "its draws fill a set"
        return f"in {names} {what} of lower dimension than the posterior's (KL = infinity){one_sign}"
    return f"in {names} it covers only one of the sign patterns that are equally probable"


def one_sign_only(judged: Judged, facts: Facts) -> str:
    """Say that the chains are locked to one sign, as a part of a sentence; "" where they are not."""
    parts = []
    sign, factors = judged.get("sign.functional"), judged.get("sign.factors")
    # posterior mass that is missed at the other sign has a clause of its own
    if sign is not None and sign.status is Status.PASS and sign.details.get("covered_side"):
        parts.append(f"{sign.functional} {'>' if sign.details['covered_side'] == 1 else '<'} 0")
    if factors is not None and factors.status is not Status.PASS:
        locked, signs = factors.details.get("locked"), factors.details.get("signs")
        name = facts.factors[0] if facts.factors else "its factors"
        if signs and locked == signs:
            parts.append(f"no chain changes the sign of {name}")
    return f" and on one sign only ({', '.join(parts)})" if parts else ""


def missed(judged: Judged, name: str) -> str:
    """Say which sign of a functional is left out; "" where none is."""
    sign = judged.get("sign.functional")
    # a warning with the value 0 is one about chains that were left out
    if sign is None or not sign.value or sign.status not in (Status.WARN, Status.FAIL):
        return ""
    relation = "<" if sign.details.get("covered_side") == 1 else ">"
    name = sign.functional or name
    return f"it leaves out the {percent(sign.value)} of the posterior at {name} {relation} 0"


def modes(judged: Judged) -> str:
    """Say how much of the posterior lies in modes that are missed."""
    finding = judged["coverage.modes"]
    return f"it misses {percent(finding.value or 0.0)} of the posterior, in modes of {finding.functional}"


def lead(judged: Judged) -> Finding | None:
    """Return the distance that the sentence is about: W1 of the worst functional, or KS where that is worse."""
    w1, ks = judged.get("distance.w1"), judged.get("distance.ks")
    if w1 is None or ks is None or w1.value is None:
        return ks if ks is not None and ks.value is not None else w1
    return ks if ks.status.severity > w1.status.severity else w1


def numbers(judged: Judged) -> str:
    """Return the distances of one functional, that of `lead`."""
    chosen, parts = lead(judged), []
    if chosen is not None and chosen.value is not None:
        each = {"distance.w1": None, "distance.ks": None, chosen.check: chosen.value}
        for check, detail in (("distance.w1", "w1"), ("distance.ks", "ks")):
            other = chosen.details.get(detail)
            if check != chosen.check and check in judged and judged[check].value is not None:
                each[check] = other if isinstance(other, float) else None
        for check, form in (("distance.w1", "W1 = {} sd"), ("distance.ks", "KS = {}")):
            if each[check] is not None:
                parts.append(form.format(number(each[check], 2)))
    exact = judged.get("kl.functional")
    if exact is not None and exact.value is not None:
        parts.append(f"KL = {number(exact.value, 2)} nats")
    return ", ".join(parts) or "no distances"


def differences(judged: Judged) -> list[str]:
    """Say how the law of the leading functional differs, and how many others do, in which direction."""
    finding = lead(judged)
    if finding is None:
        return []
    shift, widening = finding.details.get("shift"), finding.details.get("widening")
    parts = []
    if isinstance(widening, float) and math.isfinite(widening) and not 0.95 < widening < 1.05:
        parts.append(f"its spread is {number(widening, 2)} times the posterior's")
    w1 = finding.details.get("w1")
    if isinstance(shift, float) and isinstance(w1, float) and 0.1 <= abs(shift) <= MOST_JUMP * w1:
        parts.append(f"its median is {number(abs(shift), 2)} sd too {'high' if shift > 0 else 'low'}")
    others = finding.details.get("other_failures")
    if isinstance(others, str) and others:
        parts.append(others)
    return parts


def dependence(judged: Judged) -> str:
    """Say that functionals agree one by one only, and which pair shows it most."""
    pair = judged.get("distance.dependence")
    words = "each functional alone agrees, but not how they depend on each other"
    if pair is None or pair.status is not Status.FAIL:
        return words
    run, reference = (number(float(str(pair.details[side])), 2) for side in ("run", "reference"))
    return (
        f"{words} (rank correlation of {pair.details['first']} and {pair.details['second']}: {run} against {reference})"
    )


def barely(failing: Sequence[Finding]) -> str:
    """Say by how little what fails is beyond chance; "" where one of them is by more, or has no null level."""
    parts = []
    for finding in failing:
        null = finding.details.get("null_level")
        if not isinstance(null, float) or finding.value is None or not finding.value < _BARELY * null:
            return ""
        parts.append(f"{number(finding.value)} against {number(null)}")
    if not parts:
        return ""
    of = failing[0].details.get("functionals", 1)
    return f"just beyond chance: {parts[0]}" + (f" for {of} functionals" if of != 1 else "") + "; more draws decide"


def why_not_mixed(judged: Judged) -> tuple[str | None, str]:
    """Return the functional whose chains have not mixed, and what is wrong with them."""
    ess, rhat = judged["mixing.ess"], judged["mixing.rhat"]
    if judged.fails("chains.copies"):
        return judged["chains.copies"].functional, "has chains that are copies of each other"
    if rhat.status is Status.FAIL and rhat.value is not None:
        return rhat.functional, f"has chains that disagree (R-hat {number(rhat.value)})"
    if ess.value is not None:
        return ess.functional, f"has only {number(ess.value)} effective draws"
    return ess.functional, "has chains that do not move"

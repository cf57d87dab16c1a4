"""From findings to one sentence: is what SGD gives a posterior?"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sgdvi._internal.text import number, percent
from sgdvi.diagnostics.declare import Check
from sgdvi.diagnostics.facts import Facts
from sgdvi.diagnostics.findings import Finding, Status
from sgdvi.diagnostics.table import TABLE

_MOST_CHANGES = 5


class _Found(dict[str, Finding]):
    """The findings on one run by check, and what the declarations of the checks say of them."""

    def __init__(self, findings: Iterable[Finding], checks: Sequence[Check]) -> None:
        super().__init__({finding.check: finding for finding in findings})
        self.checks = checks

    def those(self, role: str) -> list[Finding]:
        """Return the findings of the checks that are declared with this role in the verdict, in their order."""
        return [self[check.id] for check in self.checks if getattr(check, role) and check.id in self]

    def any(self, role: str, status: Status) -> bool:
        """Whether one of them has this status."""
        return any(finding.status is status for finding in self.those(role))


@dataclass(frozen=True)
class Verdict:
    """The answer.

    Attributes
    ----------
    sentence
        The answer in one sentence.
    status
        pass: a posterior in every respect that was checked; warn: one in some respects; fail: none; unknown: it
        cannot be told from these runs; not-applicable: there is no posterior.
    reasons
        What the answer rests on, one sentence or two each: failures first, then warnings, then the rest, each in the
        order of how much they matter.
    changes
        What would change the answer, the most important first.
    """

    sentence: str
    status: Status
    reasons: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.sentence


def judge(
    runs: Sequence[str],
    findings: Iterable[Finding],
    facts: Facts,
    reference: str | None,
    reference_trouble: str = "",
    others: Sequence[str] = (),
    checks: Sequence[Check] = TABLE,
) -> Verdict:
    """Put the findings on `runs` (those of SGD) together.

    Parameters
    ----------
    runs
        Names of the runs that are judged; of several, the verdict is that of the worst.
    findings
        All findings.
    facts
        What is known in closed form.
    reference
        Name of the law that stands for the posterior, or None where there is none.
    reference_trouble
        Why the reference cannot be relied on; "" where it can.
    others
        Runs that are mentioned for comparison.
    checks
        Those that were made: their declarations say what part each has in the verdict.
    """
    findings = list(findings)
    each = [
        _judge_one(
            run, _Found((f for f in findings if f.run == run), checks), findings, facts, reference, reference_trouble
        )
        for run in runs
    ]
    if not each:
        return Verdict("Cannot tell: there is no run of SGD to judge.", Status.UNKNOWN)
    chosen = max(each, key=lambda verdict: verdict.status.severity)
    beside = [f.meaning for f in findings if f.run in others and f.check == "distance.w1" and f.value is not None]
    reasons = (*chosen.reasons, *(f"For comparison: {text}" for text in beside))
    return Verdict(chosen.sentence, chosen.status, reasons, chosen.changes)


def _judge_one(
    run: str, found: _Found, findings: list[Finding], facts: Facts, reference: str | None, trouble: str
) -> Verdict:
    # of one chain of the reference nothing is wrong, so it is no trouble, but all distances rest on it
    unsure = [f for f in findings if f.run == reference and f.check == "mixing.rhat" and f.status is Status.UNKNOWN]
    unsure = [replace(f, meaning=f"{f.meaning} This is about the reference, {reference}.") for f in unsure]
    sentence, status = _answer(run, found, facts, reference, trouble, unsure)
    reasons = [trouble] if trouble else []
    # failures that override all others come first, then what is always named
    always = found.those("always")
    first = [finding for finding in reversed(found.those("first")) if finding.status is Status.FAIL]
    ordered = list({finding.check: finding for finding in [*first, *always, *found.values()]}.values())
    # stable: the order above breaks ties
    ranked = sorted([*ordered, *unsure], key=lambda finding: -finding.status.severity)
    for finding in ranked:
        if finding.status is Status.NOT_APPLICABLE:
            continue
        if finding in always or finding.status is not Status.PASS:
            reasons.append(finding.meaning)
    reasons += [reason for reason in (facts.improper, facts.no_temperature) if reason]
    return Verdict(sentence, status, tuple(dict.fromkeys(reasons)), _changes(status, ranked))


def _changes(status: Status, ranked: Sequence[Finding]) -> tuple[str, ...]:
    """Say what would change the answer: what to do about each thing that speaks against it, or what was not tested."""
    if status is Status.PASS:
        open_ = [finding.title for finding in ranked if finding.status is Status.UNKNOWN]
        return (f"Nothing that was checked. Not known: {', '.join(open_)}." if open_ else "Nothing that was checked.",)
    advice = [finding.advice for finding in ranked if finding.advice and finding.status is not Status.PASS]
    return tuple(dict.fromkeys(advice))[:_MOST_CHANGES]


def _answer(
    run: str, found: _Found, facts: Facts, reference: str | None, trouble: str, unsure: list[Finding]
) -> tuple[str, Status]:
    name = found["distance.w1"].functional if "distance.w1" in found else facts.functional
    name = name or facts.functional or "the functionals"
    aside = _in_parameters(found, facts)
    blocked = _unusable(run, found, facts)
    if blocked:
        return blocked
    if facts.improper and reference is None:
        return f"There is no posterior to compare {run} with: {facts.improper}", Status.NOT_APPLICABLE
    also = f" What is certain: {aside}." if aside else ""
    if reference is None:
        advice = "Run NUTS, or give draws of the posterior."
        return f"Cannot tell: there is no reference to compare {run} with on {name}. {advice}{also}", Status.UNKNOWN
    if trouble and "distance.w1" not in _known_values(found):
        return f"Cannot tell on {name}: the reference {reference} cannot be relied on.{also}", Status.UNKNOWN
    if _status(found, "mixing.rhat") is Status.FAIL or _status(found, "mixing.ess") is Status.FAIL:
        where, why = _why_not_mixed(found)
        if not facts.singular and _status(found, "support.balance") is not Status.FAIL:
            also = ""  # the dimension that such chains seem to have is that of where they have been
        return f"Cannot tell yet on {where or name}: {run} {why}.{also}", Status.UNKNOWN
    return _compare(run, name, found, aside, unsure)


def _compare(run: str, name: str, found: _Found, aside: str, unsure: list[Finding]) -> tuple[str, Status]:
    """Answer where both sides are usable."""
    on_functional = [finding.status for finding in found.those("on_functional")]
    numbers = _numbers(found)
    missed = _missed(found, name)
    extra = f", but {missed}" if missed else ""
    modes = _status(found, "coverage.modes")
    together = [finding for finding in found.those("joint") if finding.functional is None]
    dependence = Status.FAIL not in on_functional and Status.FAIL in [finding.status for finding in together]
    if Status.FAIL in on_functional or modes is Status.FAIL or dependence:
        unseen = _modes(found) if modes is Status.FAIL and not missed else ""
        apart = "each functional alone agrees, but not how they depend on each other" if dependence else ""
        clauses = [clause for clause in (*_differences(found), missed, unseen, apart, aside) if clause]
        how = ": " + "; ".join(clauses) if clauses else ""
        return f"No: on {name}, {run} is not the posterior ({numbers}){how}.", Status.FAIL
    if Status.UNKNOWN in on_functional:
        also = f" What is certain: {aside}." if aside else ""
        return f"Cannot tell on {name}: too few effective draws ({numbers}).{also}", Status.UNKNOWN
    near = Status.WARN in on_functional
    if aside:
        start = f"Roughly, and only on {name}" if near else f"Only on {name}"
        matches = "is close to the posterior" if near else "matches the posterior"
        return (
            f"{start}: there {run} {matches} ({numbers}){extra}{', and ' if extra else ', but '}{aside}.",
            Status.WARN,
        )
    if near:
        return f"Nearly: {run} is close to the posterior on {name} ({numbers}){extra}.", Status.WARN
    rest = [f for f in found.values() if f.status in (Status.WARN, Status.FAIL)]
    untested = [finding for finding in found.those("untested") if finding.status is Status.UNKNOWN] + unsure
    if untested and not rest:
        return (
            f"Yes, with a reservation: {run} matches the posterior on {name} ({numbers}){extra}, but one thing was "
            f"not tested. {untested[0].meaning}",
            Status.WARN,
        )
    if rest:
        return (
            f"Yes, with reservations: {run} matches the posterior on {name} ({numbers}){extra}; see the warnings.",
            Status.WARN,
        )
    return f"Yes, as far as these checks see: {run} matches the posterior on {name} ({numbers}){extra}.", Status.PASS


def _unusable(run: str, found: _Found, facts: Facts) -> tuple[str, Status] | None:
    """Answer where the run is no sample of anything: overflowed, collapsed, or on its way to 0."""
    overflow = found.get("chains.overflow")
    if overflow is not None and overflow.value == 1:
        return f"No: every chain of {run} overflowed, so there is nothing to compare with a posterior.", Status.FAIL
    collapse, heat = found.get("phase.collapse"), found.get("phase.temperature")
    if collapse is not None and collapse.status is Status.FAIL:
        at = f" at T = {number(heat.value)} Tc" if heat is not None and heat.value is not None else ""
        name = collapse.functional
        return f"No: {run} has collapsed to {name} = 0{at}: a point mass, not a posterior.", Status.FAIL
    if facts.collapsed:
        name = facts.functional
        ratio = f" (T = {number(heat.value)} Tc)" if heat is not None and heat.value is not None else ""
        return (
            f"No: at this temperature{ratio} the only stationary law of {run} is the point mass at {name} = 0; "
            "what the run shows is on its way there.",
            Status.FAIL,
        )
    distinct = found.get("draws.distinct")
    if distinct is not None and distinct.status is Status.FAIL:
        return f"No: {run} is no sample. {distinct.meaning}", Status.FAIL
    return None


def _in_parameters(found: _Found, facts: Facts) -> str:
    """Say what is wrong in parameter space, as the end of a sentence; "" where nothing is."""
    if not found.any("in_parameters", Status.FAIL):
        return ""
    names = f"({', '.join(facts.factors)})" if facts.factors else "parameter space"
    one_sign = _one_sign(found, facts)
    if _status(found, "support.balance") is Status.FAIL:
        line = " = ".join(f"|{name}|" for name in facts.factors)
        where = f"in {names} its draws lie on {line}{one_sign}"
        return f"{where}, a set to which the posterior gives probability 0 (KL = infinity)"
    if _status(found, "kl.parameters") is Status.FAIL:
        what = "its law has a support" if facts.singular else "its draws fill a set"
        return f"in {names} {what} of lower dimension than the posterior's (KL = infinity){one_sign}"
    return f"in {names} it covers only one of the sign patterns that are equally probable"


def _one_sign(found: _Found, facts: Facts) -> str:
    """Say that the chains are locked to one sign, as a part of a sentence; "" where they are not."""
    parts = []
    sign, factors = found.get("sign.functional"), found.get("sign.factors")
    # posterior mass that is missed at the other sign has a clause of its own
    if sign is not None and sign.status is Status.PASS and sign.details.get("covered_side"):
        parts.append(f"{sign.functional} {'>' if sign.details['covered_side'] == 1 else '<'} 0")
    if factors is not None and factors.status is not Status.PASS:
        locked, signs = factors.details.get("locked"), factors.details.get("signs")
        name = facts.factors[0] if facts.factors else "its factors"
        if signs and locked == signs:
            parts.append(f"no chain changes the sign of {name}")
    return f" and on one sign only ({', '.join(parts)})" if parts else ""


def _missed(found: _Found, name: str) -> str:
    sign = found.get("sign.functional")
    # a warning with the value 0 is one about chains that were left out
    if sign is None or not sign.value or sign.status not in (Status.WARN, Status.FAIL):
        return ""
    relation = "<" if sign.details.get("covered_side") == 1 else ">"
    name = sign.functional or name
    return f"it leaves out the {percent(sign.value)} of the posterior at {name} {relation} 0"


def _modes(found: _Found) -> str:
    finding = found["coverage.modes"]
    return f"it misses {percent(finding.value or 0.0)} of the posterior, in modes of {finding.functional}"


def _numbers(found: _Found) -> str:
    parts = []
    for check, form in (("distance.w1", "W1 = {} sd"), ("distance.ks", "KS = {}"), ("kl.functional", "KL = {} nats")):
        finding = found.get(check)
        if finding is not None and finding.value is not None:
            parts.append(form.format(number(finding.value, 2)))
    return ", ".join(parts) or "no distances"


def _differences(found: _Found) -> list[str]:
    """Say whether the law is shifted or has another width, from the details of the distance."""
    finding = found.get("distance.w1")
    if finding is None:
        return []
    shift, widening = finding.details.get("shift"), finding.details.get("widening")
    parts = []
    if isinstance(widening, float) and math.isfinite(widening) and not 0.95 < widening < 1.05:
        parts.append(f"its spread is {number(widening, 2)} times the posterior's")
    if isinstance(shift, float) and abs(shift) >= 0.1:
        parts.append(f"its median is {number(abs(shift), 2)} sd too {'high' if shift > 0 else 'low'}")
    return parts


def _why_not_mixed(found: _Found) -> tuple[str | None, str]:
    """Return the functional whose chains have not mixed, and what is wrong with them."""
    ess, rhat = found["mixing.ess"], found["mixing.rhat"]
    if rhat.status is Status.FAIL and rhat.value is not None:
        return rhat.functional, f"has chains that disagree (R-hat {number(rhat.value)})"
    if ess.value is not None:
        return ess.functional, f"has only {number(ess.value)} effective draws"
    return ess.functional, "has chains that do not move"


def _status(found: _Found, check: str) -> Status | None:
    return found[check].status if check in found else None


def _known_values(found: _Found) -> set[str]:
    return {check for check, finding in found.items() if finding.status is not Status.UNKNOWN}

"""The three questions of the verdict, each answered from the findings on one run."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sgdvi._internal.text import listed, number
from sgdvi.diagnostics import clauses
from sgdvi.diagnostics.declare import WORST, Check, Question
from sgdvi.diagnostics.facts import Facts
from sgdvi.diagnostics.findings import Finding, Status
from sgdvi.diagnostics.judged import Judged

# W1 beyond this many times its failure, and its null level: no mixing of the chains brings it back.
_FAR, _FAR_NULLS = 10.0, 3.0
_HALF = 0.5
_MIXED = ("chains.copies", "mixing.rhat", "mixing.ess")
_USES = {
    "means": ("use.means",),
    "intervals": ("use.intervals",),
    "tails": ("use.tails",),
    "predictions": ("predictive.loo", "predictive.coverage", "predictive.points"),
}
USES = tuple(_USES)
# Whether a run can be used for a purpose: a deviation that is seen is no plain yes.
USABLE: Mapping[Status, str] = {
    Status.PASS: "yes",
    Status.WARN: "roughly",
    Status.FAIL: "no",
    Status.NOT_APPLICABLE: "unknown",
    Status.UNKNOWN: "unknown",
}


@dataclass(frozen=True)
class Answer:
    """The answer to one question.

    Attributes
    ----------
    status
        pass, warn, fail, unknown or not-applicable.
    sentence
        It in one sentence, with the one thing that limits it.
    check
        Identifier of the check that limits it; "" for none.
    decides
        Whether it is the answer to all: there is nothing to compare.
    """

    status: Status
    sentence: str
    check: str = ""
    decides: bool = field(default=False, compare=False)


def arrived(run: str, judged: Judged, facts: Facts) -> Answer:
    """Answer whether the run ran and arrived: finite, moved, arrived, mixed."""
    blocked = _unusable(run, judged, facts)
    if blocked is not None:
        return blocked
    if judged.fails(*_MIXED):
        check = next(check for check in _MIXED if judged.fails(check))
        where, why = clauses.why_not_mixed(judged)
        return Answer(Status.FAIL, f"{run} {why}{f' on {where}' if where else ''}.", check)
    worst = _worst(judged.on(Question.ARRIVE))
    if worst is None or worst.status is Status.PASS:
        return Answer(Status.PASS, f"{run} ran, moved and mixed, as far as its chains show.")
    return Answer(worst.status, worst.meaning, worst.check)


def same_law(
    run: str, judged: Judged, facts: Facts, reference: str | None, trouble: str, unsure: list[Finding]
) -> Answer:
    """Answer whether the law of the run is that of the reference on what was asked for."""
    chosen = clauses.lead(judged)
    name = (chosen.functional if chosen is not None else None) or facts.functional or "the functionals"
    aside = clauses.in_parameters(judged, facts)
    if facts.improper and reference is None:
        return Answer(Status.NOT_APPLICABLE, f"There is no posterior to compare {run} with: {facts.improper}")
    also = f" What is certain: {aside}." if aside else ""
    if reference is None:
        advice = "Run NUTS, or give draws of the posterior."
        sentence = f"Cannot tell: there is no reference to compare {run} with on {name}. {advice}{also}"
        return Answer(Status.UNKNOWN, sentence)
    w1 = judged.get("distance.w1")
    if trouble and (w1 is None or w1.status is Status.UNKNOWN):
        return Answer(Status.UNKNOWN, f"Cannot tell on {name}: the reference {reference} cannot be relied on.{also}")
    fit = judged.status("fit.convergence")
    if judged.fails("draws.reference") or fit is Status.UNKNOWN:
        unsettled = judged["draws.reference" if judged.fails("draws.reference") else "fit.convergence"]
        return Answer(Status.UNKNOWN, f"Cannot tell on {name}. {unsettled.meaning}{also}", unsettled.check)
    if judged.fails(*_MIXED) and not _far(w1):
        where, why = clauses.why_not_mixed(judged)
        if not facts.singular and not judged.fails("support.balance"):
            also = ""  # the dimension that such chains seem to have is that of where they have been
        check = next(check for check in _MIXED if judged.fails(check))
        return Answer(Status.UNKNOWN, f"Cannot tell yet on {where or name}: {run} {why}.{also}", check)
    return _compared(run, name, judged, aside, unsure)


def usable_for(judged: Judged, arrive: Answer) -> tuple[Answer, dict[str, Status]]:
    """Answer what can be used of the run: means, intervals, tails, predictions, or nothing."""
    uses = {}
    for name, checks in _USES.items():
        worst = _worst([judged[check] for check in checks if check in judged])
        if worst is not None:
            uses[name] = Status.FAIL if arrive.decides else worst.status
    if not uses:
        return Answer(Status.UNKNOWN, f"There is no reference to hold it against. {_of_its_own(judged, arrive)}"), uses
    good = [name for name, status in uses.items() if status is Status.PASS]
    near = [name for name, status in uses.items() if status is Status.WARN]
    sentence = f"Good for {listed(good)}" if good else "Good for nothing that was checked"
    sentence += f"; roughly for {listed(near)}." if near else "."
    unknown = all(status is Status.UNKNOWN for status in uses.values())
    status = Status.PASS if len(good) == len(uses) else Status.UNKNOWN if unknown else Status.WARN
    status = Status.FAIL if not good and not near and not unknown else status
    return Answer(status, sentence), uses


def uses_of(run: str, findings: Iterable[Finding], checks: Sequence[Check]) -> dict[str, Status]:
    """Return for each of `USES` whether any run, not only one that is judged, can stand for the reference.

    Parameters
    ----------
    run
        Its name; of a run that is no sample at all nothing can be used, and of one that has not mixed nothing passes.
    findings
        Those on all runs.
    checks
        The checks that were made.
    """
    judged = Judged((finding for finding in findings if finding.run == run), checks)
    _, uses = usable_for(judged, Answer(Status.UNKNOWN, "", decides=judged.any("first", Status.FAIL)))
    if judged.fails("mixing.rhat", "mixing.ess"):
        uses = {use: status if status is Status.FAIL else Status.UNKNOWN for use, status in uses.items()}
    return {use: uses.get(use, Status.UNKNOWN) for use in USES}


def without_reference(arrive: Answer, same: Answer) -> Answer:
    """Answer where there is nothing to compare with: that of the run alone, and why the law is not known."""
    if arrive.status is Status.FAIL:
        return Answer(Status.FAIL, f"No: {arrive.sentence} That is so whatever the posterior is.", arrive.check)
    return Answer(same.status, f"{arrive.sentence.split(WORST)[0]} {same.sentence}", same.check)


def _of_its_own(judged: Judged, arrive: Answer) -> str:
    """Say how well a run is known as a sample of its own law, whatever that is."""
    if arrive.status is Status.FAIL:
        return "Nothing of its own law is known either: it did not run and arrive."
    parts = []
    error, effective = judged.get("mixing.mcse"), judged.get("mixing.ess")
    if error is not None and error.value is not None and math.isfinite(error.value):
        parts.append(f"means are known to {number(error.value, 2)} sd")
    if effective is not None and effective.value is not None and math.isfinite(effective.value):
        parts.append(f"intervals and tails rest on {number(effective.value)} effective draws")
    if not parts:
        return "How well its own law is known cannot be told."
    return f"Of its own law, on the worst functional, {listed(parts)}."


def _far(w1: Finding | None) -> bool:
    """Whether a distance exceeds its null level by so much that it does not matter how the chains mixed."""
    if w1 is None or w1.value is None or w1.threshold is None or w1.status is not Status.FAIL:
        return False
    null = w1.details.get("null_level")
    return isinstance(null, float) and w1.value > max(_FAR * w1.threshold, _FAR_NULLS * null)


def _worst(findings: list[Finding]) -> Finding | None:
    applicable = [finding for finding in findings if finding.status is not Status.NOT_APPLICABLE]
    return max(applicable, key=lambda finding: finding.status.severity, default=None)


def _compared(run: str, name: str, judged: Judged, aside: str, unsure: list[Finding]) -> Answer:
    """Answer where both sides are usable."""
    on_functional = [finding.status for finding in judged.those("on_functional")]
    numbers = clauses.numbers(judged)
    missed = clauses.missed(judged, name)
    extra = f", but {missed}" if missed else ""
    modes = judged.status("coverage.modes")
    failing = [finding for finding in judged.those("on_functional") if finding.status is Status.FAIL]
    together = [f for f in judged.those("joint") if f.functional is None and f.status is Status.FAIL]
    apart = clauses.dependence(judged) if together and not failing else ""
    if apart and modes is not Status.FAIL:
        # no functional is wrong alone: one that is named would be taken for the cause
        soft = clauses.barely(together)
        how = "; ".join(part for part in (soft, apart, missed, aside) if part)
        answer = "Probably not" if soft else "No"
        return Answer(Status.FAIL, f"{answer}: {run} is not the posterior: {how}.", together[0].check)
    if failing or modes is Status.FAIL:
        unseen = clauses.modes(judged) if modes is Status.FAIL and not missed else ""
        soft = "" if modes is Status.FAIL else clauses.barely(failing)
        parts = [part for part in (soft, *clauses.differences(judged), missed, unseen, apart, aside) if part]
        how = ": " + "; ".join(parts) if parts else ""
        answer = "Probably not" if soft else "No"
        check = "coverage.modes" if unseen else together[0].check if apart else "distance.w1"
        return Answer(Status.FAIL, f"{answer}: on {name}, {run} is not the posterior ({numbers}){how}.", check)
    tail = next((finding for finding in reversed(judged.those("tails")) if finding.status is Status.FAIL), None)
    if tail is not None:
        soft = clauses.barely([tail])
        answer = f"Probably not: {soft}" if soft else "No"
        where = tail.functional or name
        how = tail.meaning.split(WORST)[0].removesuffix(".")
        middle = f"{run} is near the posterior in the middle of {where} and not in its tails ({numbers})"
        return Answer(Status.FAIL, f"{answer}: {middle}: {how}.", tail.check)
    points = judged.get("predictive.points")
    if points is not None and points.status is Status.FAIL:
        alike = not {Status.WARN, Status.UNKNOWN} & set(on_functional)
        also = f" On {name} it matches the posterior ({numbers})." if alike else ""
        text = f"No: {run} does not predict the test set as the posterior does: {points.meaning}{also}"
        return Answer(Status.FAIL, text, points.check)
    if Status.UNKNOWN in on_functional:
        also = f" What is certain: {aside}." if aside else ""
        return Answer(Status.UNKNOWN, f"Cannot tell on {name}: too few effective draws ({numbers}).{also}")
    near = Status.WARN in on_functional
    if aside:
        start = f"Roughly, and only on {name}" if near else f"Only on {name}"
        matches = "is close to the posterior" if near else "matches the posterior"
        joined = f"{extra}{', and ' if extra else ', but '}{aside}"
        return Answer(Status.WARN, f"{start}: there {run} {matches} ({numbers}){joined}.")
    if near:
        return Answer(Status.WARN, f"Nearly: {run} is close to the posterior on {name} ({numbers}){extra}.")
    rest = [f for f in judged.values() if f.status in (Status.WARN, Status.FAIL)]
    untested = [finding for finding in judged.those("untested") if finding.status is Status.UNKNOWN] + unsure
    matches = f"{run} matches the posterior on {name} ({numbers}){extra}"
    if untested and not rest:
        sentence = f"Yes, with a reservation: {matches}, but one thing was not tested. {untested[0].meaning}"
        return Answer(Status.WARN, sentence, untested[0].check)
    if rest:
        worst = max(rest, key=lambda finding: finding.status.severity)
        where = "what fails" if worst.status is Status.FAIL else "the warnings"
        return Answer(Status.WARN, f"Yes, with reservations: {matches}; see {where}.", worst.check)
    return Answer(Status.PASS, f"Yes, as far as these checks see: {matches}.")


def _diverged(overflow: Finding) -> bool:
    return bool(overflow.details.get("recorded")) or (overflow.value or 0.0) >= _HALF


def _unusable(run: str, judged: Judged, facts: Facts) -> Answer | None:
    """Answer where the run is no sample of anything: overflowed, collapsed, or on its way to 0."""

    def no(sentence: str, check: str) -> Answer:
        return Answer(Status.FAIL, sentence, check, decides=True)

    overflow = judged.get("chains.overflow")
    if overflow is not None and overflow.value == 1:
        text = f"No: every chain of {run} overflowed, so there is nothing to compare with a posterior."
        return no(text, overflow.check)
    # a NaN draw in a file of another tool is no divergence, unless half of the chains have some
    if overflow is not None and overflow.status is Status.FAIL and _diverged(overflow):
        return no(f"No: {run} diverged. {overflow.meaning}", overflow.check)
    collapse, heat = judged.get("phase.collapse"), judged.get("phase.temperature")
    warm = heat.value if heat is not None and heat.value is not None else math.nan
    if collapse is not None and collapse.status is Status.FAIL:
        at = "" if math.isnan(warm) else f" at T = {number(warm)} Tc"
        text = f"No: {run} has collapsed to {collapse.functional} = 0{at}: a point mass, not a posterior."
        return no(text, collapse.check)
    if facts.collapsed:
        ratio = "" if math.isnan(warm) else f" (T = {number(warm)} Tc)"
        text = f"No: at this temperature{ratio} the only stationary law of {run} is the point mass at "
        return no(f"{text}{facts.functional} = 0; what the run shows is on its way there.", "phase.temperature")
    distinct = judged.get("draws.distinct")
    if distinct is not None and distinct.status is Status.FAIL:
        return no(f"No: {run} is no sample. {distinct.meaning}", distinct.check)
    spread = judged.get("stationarity.spread")
    if spread is not None and spread.status is Status.FAIL:
        return no(f"No: {run} has no law. {spread.meaning}", spread.check)
    reached = judged.get("arrival.posterior")
    if reached is not None and reached.status is Status.FAIL:
        return no(f"No: {reached.meaning}", reached.check)
    return None

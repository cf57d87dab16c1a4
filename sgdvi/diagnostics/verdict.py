"""From findings to one sentence: is what SGD gives a posterior?"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sgdvi._internal.card import card
from sgdvi._internal.text import listed
from sgdvi.diagnostics.answers import USABLE, Answer, arrived, same_law, usable_for, without_reference
from sgdvi.diagnostics.declare import LEFT_OUT, WORST, Check, Question
from sgdvi.diagnostics.facts import Facts
from sgdvi.diagnostics.findings import Finding, Status
from sgdvi.diagnostics.judged import Judged
from sgdvi.diagnostics.table import TABLE

_MOST_CHANGES = 5
# Distances that say the same of one functional: the first that is as bad as any of them speaks for all.
_SAME = (
    "distance.w1",
    "distance.ks",
    "distance.w2",
    "use.means",
    "use.intervals",
    "use.tails",
    "distance.mmd",
    "distance.energy",
    "distance.sliced",
)
# What makes a run that has no law, or not yet: of its distances one is told then.
_LOST = ("chains.overflow", "arrival.posterior", "stationarity.spread")
_ONE = "distance.w1"


@dataclass(frozen=True)
class Verdict:
    """The answer.

    Attributes
    ----------
    sentence
        The answer in one sentence: that to the first question that is answered with no.
    status
        pass: a posterior in every respect that was checked; warn: one in some respects; fail: none; unknown: it
        cannot be told from these runs; not-applicable: there is no posterior.
    reasons
        What the answer rests on, one sentence or two each, in the order of how much they matter, each thing once.
    changes
        What would change the answer, the most important first.
    answers
        Question -> its answer for the run that the sentence is about: "arrive" (did it run and arrive?), "same" (is it
        the same law on what was asked for?), "use" (what can be used?).
    uses
        "means", "intervals", "tails", "predictions" -> whether the run can be used for them; those that were checked.
    runs
        Run that is judged -> the status of its own verdict.
    """

    sentence: str
    status: Status
    reasons: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    answers: Mapping[str, Answer] = field(default_factory=dict)
    uses: Mapping[str, Status] = field(default_factory=dict)
    runs: Mapping[str, Status] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.sentence

    def __repr__(self) -> str:
        return f"<Verdict {self.status.value}: {self.sentence}>"

    def _repr_html_(self) -> str:
        uses = {f"good for {use}": USABLE[status] for use, status in self.uses.items()}
        return card(f"Verdict: {self.status.value}", uses, self.sentence)


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
        Names of the runs that are judged; of several, the verdict is that of the worst, and names those that pass.
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
    each = {
        run: _judge_one(
            run, Judged((f for f in findings if f.run == run), checks), findings, facts, reference, reference_trouble
        )
        for run in runs
    }
    if not each:
        return Verdict("Cannot tell: there is no run of SGD to judge.", Status.UNKNOWN)
    chosen = max(each.values(), key=lambda verdict: verdict.status.severity)
    good = [run for run, verdict in each.items() if verdict.status is Status.PASS]
    sentence = chosen.sentence
    if good and chosen.status is not Status.PASS:
        sentence += f" {listed(good)} {'does' if len(good) == 1 else 'do'} match the posterior."
    beside = [f.meaning for f in findings if f.run in others and f.check == "distance.w1" and f.value is not None]
    reasons = (*chosen.reasons, *(f"For comparison: {text}" for text in beside))
    statuses = {run: verdict.status for run, verdict in each.items()}
    return replace(chosen, sentence=sentence, reasons=reasons, runs=statuses)


def _judge_one(
    run: str, judged: Judged, findings: list[Finding], facts: Facts, reference: str | None, trouble: str
) -> Verdict:
    # of one chain of the reference nothing is wrong, so it is no trouble, but all distances rest on it
    unsure = [f for f in findings if f.run == reference and f.check == "mixing.rhat" and f.status is Status.UNKNOWN]
    unsure = [replace(f, meaning=f"{f.meaning} This is about the reference, {reference}.") for f in unsure]
    arrive = arrived(run, judged, facts)
    same = same_law(run, judged, facts, reference, trouble, unsure)
    use, uses = usable_for(judged, arrive)
    sentence, status, alone = same.sentence, same.status, None
    if arrive.decides:
        sentence, status = arrive.sentence, arrive.status
    elif reference is None and same.status is Status.UNKNOWN:
        alone = without_reference(arrive, same)
        sentence, status = alone.sentence, alone.status
    exchanged = [f for f in findings if f.check == "symmetry.labels" and f.status is Status.WARN]
    switched = [finding for finding in exchanged if finding.run in (run, reference)]
    if switched and status in (Status.FAIL, Status.UNKNOWN):
        sentence += f" {switched[0].meaning}"
    ranked = _ranked(judged, unsure)
    reasons = [trouble] if trouble else [use.sentence] if alone and alone.status is not Status.FAIL else []
    always = judged.those("always")
    for finding in _once(ranked, judged, arrive.decides and arrive.check in _LOST):
        told = finding.status is not Status.PASS and LEFT_OUT not in finding.details
        if told or finding in always:
            reasons.append(finding.meaning.split(WORST)[0])
    reasons += [finding.meaning for finding in switched if finding.run != run]
    reasons += [reason for reason in (facts.improper, facts.no_temperature) if reason]
    answers = {Question.ARRIVE.value: arrive, Question.SAME.value: same, Question.USE.value: use}
    return Verdict(sentence, status, tuple(dict.fromkeys(reasons)), _changes(status, ranked), answers, uses)


def _ranked(judged: Judged, unsure: list[Finding]) -> list[Finding]:
    """Order findings by weight: failures before warnings, what overrides the rest first, then what is always named."""
    first = [finding for finding in reversed(judged.those("first")) if finding.status is Status.FAIL]
    ordered = {finding.check: finding for finding in [*first, *judged.those("always"), *judged.values()]}
    # stable: the order above breaks ties
    ranked = sorted([*ordered.values(), *unsure], key=lambda finding: -finding.status.severity)
    return [finding for finding in ranked if finding.status is not Status.NOT_APPLICABLE]


def _once(ranked: Sequence[Finding], judged: Judged, lost: bool) -> Iterable[Finding]:
    """Leave out what another finding says of the same functional: one distance speaks for all of a shift.

    Of a run that did not run or arrive (`lost`) only that is told, and how far it is: its law is that of its way.
    """
    said: set[str | None] = set()
    told = {finding.check for finding in judged.on(Question.ARRIVE)} | {_ONE}
    for finding in ranked:
        if lost and (finding.status is not Status.FAIL or finding.check not in told):
            continue
        if finding.check in _SAME:
            if finding.functional in said:
                continue
            said.add(finding.functional)
        yield finding


def _changes(status: Status, ranked: Sequence[Finding]) -> tuple[str, ...]:
    """Say what would change the answer: what to do about each thing that speaks against it, or what was not tested."""
    if status is Status.PASS:
        open_ = [finding.title for finding in ranked if finding.status is Status.UNKNOWN]
        return (f"Nothing that was checked. Not known: {', '.join(open_)}." if open_ else "Nothing that was checked.",)
    advice = [finding.advice for finding in ranked if finding.advice and finding.status is not Status.PASS]
    return tuple(dict.fromkeys(advice))[:_MOST_CHANGES]

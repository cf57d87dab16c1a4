"""A check is one function with one declaration: what it is called, where it comes from, what it is about."""

import enum
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sgdvi._internal.text import count, number
from sgdvi.diagnostics.case import Case
from sgdvi.diagnostics.findings import Details, Finding, Status
from sgdvi.diagnostics.run import Run

_MOST_LISTED = 20
_NARROW, _WIDE = 0.95, 1.05
# Detail of a finding that would pass but for the chains that are left out.
LEFT_OUT = "only_chains_left_out"
# How the meaning of the worst of several functionals goes on.
WORST = " This is the worst of "
NO_DRAWS = "No chain with finite draws is left."


class Question(enum.StrEnum):
    """What a reader asks, and a check answers a part of."""

    ARRIVE = "arrive"  # did it run and arrive?
    SAME = "same"  # is it the same law?
    USE = "use"  # what can be used?


@dataclass(frozen=True)
class Outcome:
    """What the function of a check returns; `Check` makes it a `Finding`.

    Attributes
    ----------
    status, meaning, value, threshold, advice, details
        As in `Finding`.
    functional
        Name of the functional that was looked at, where the check itself chose it.
    title, source
        In place of those of the declaration, where the outcome decides them.
    """

    status: Status
    meaning: str
    value: float | None = None
    threshold: float | None = None
    advice: str = ""
    details: Mapping[str, float | int | str | bool | None] = field(default_factory=dict)
    functional: str | None = None
    title: str = ""
    source: str = ""


class Skip(Exception):
    """Raised by a check that has nothing to say, with the reason; ``status`` is not-applicable or unknown."""

    def __init__(self, reason: str, status: Status = Status.NOT_APPLICABLE) -> None:
        super().__init__(reason)
        self.reason, self.status = reason, status


@dataclass(frozen=True, eq=False)
class Check:
    """A declared check: call it with a `Case` for its `Finding`. See `check` for the attributes."""

    function: Callable[..., Outcome]
    id: str
    title: str | Callable[[Case], str]
    source: str
    question: Question
    cites: tuple[str, ...] = ()
    thresholds: tuple[str, ...] = ()
    kinds: frozenset[str] = frozenset({"compared"})
    each: Callable[[Case], Sequence[str]] | None = None
    lowest: bool = False
    of_chains: bool = True
    of_reference: bool = False
    gate: bool = False
    first: bool = False
    always: bool = False
    on_functional: bool = False
    joint: bool = False
    tails: bool = False
    in_parameters: bool = False
    untested: bool = False

    def applies(self, case: Case) -> bool:
        """Whether the check is made of this run at all."""
        return not self.kinds.isdisjoint(case.kinds)

    def __call__(self, case: Case) -> Finding:
        """Return what the check says of the run, made at the first call; the worst functional where it has several."""
        if self.id not in case.findings:
            case.findings[self.id] = self._finding(case)
        return case.findings[self.id]

    def on(self, run: str, *arguments: Any, **options: Any) -> Finding:
        """Return what the check says of the run of this name, where its function takes other things than a case."""
        try:
            return self.finding(run, self.function(*arguments, **options))
        except Skip as skip:
            return self.skipped(run, skip)

    def finding(self, run: str, outcome: Outcome, functional: str | None = None, title: str = "") -> Finding:
        """Return an outcome as a finding on the run of this name."""
        declared = self.title if isinstance(self.title, str) else ""
        return Finding(
            check=self.id,
            run=run,
            value=outcome.value,
            threshold=outcome.threshold,
            status=outcome.status,
            meaning=outcome.meaning,
            advice=outcome.advice,
            source=outcome.source or self.source,
            functional=outcome.functional or functional,
            title=outcome.title or title or declared,
            details=outcome.details,
        )

    def skipped(self, run: str, skip: Skip, functional: str | None = None, title: str = "") -> Finding:
        """Return the finding of a check that had nothing to say."""
        return self.finding(run, Outcome(skip.status, skip.reason), functional, title)

    def _finding(self, case: Case) -> Finding:
        try:
            names = (None,) if self.each is None else self.each(case)
            finding = worst([self._one(case, name) for name in names], lowest=self.lowest)
        except Skip as skip:
            finding = self.skipped(case.run.name, skip, title=self._title(case))
        if self.of_chains and isinstance(case.run, Run):
            finding = survivors(case.run, finding)
        unconverged = case.run.unconverged if isinstance(case.run, Run) else ""
        if unconverged and self.question is not Question.ARRIVE and finding.status is not Status.NOT_APPLICABLE:
            meaning = f"The fit of {case.run.name} has not converged. As it is: {finding.meaning}"
            finding = replace(finding, status=Status.UNKNOWN, meaning=meaning, advice="")
        if self.of_reference and case.trouble:
            meaning = f"{case.trouble} Measured against it: {finding.meaning}"
            finding = replace(finding, status=Status.UNKNOWN, meaning=meaning, advice="")
        return finding

    def _one(self, case: Case, name: str | None) -> Finding:
        try:
            outcome = self.function(case) if name is None else self.function(case, name)
        except Skip as skip:
            return self.skipped(case.run.name, skip, name, self._title(case))
        return self.finding(case.run.name, outcome, name, self._title(case))

    def _title(self, case: Case) -> str:
        return self.title if isinstance(self.title, str) else self.title(case)


def check(
    id: str,
    title: str | Callable[[Case], str],
    source: str,
    *,
    question: str = Question.SAME,
    cites: Sequence[str] = (),
    thresholds: Sequence[str] = (),
    kinds: Sequence[str] = ("compared",),
    each: Callable[[Case], Sequence[str]] | None = None,
    **fields: bool,
) -> Callable[[Callable[..., Outcome]], Check]:
    """Declare a check: the function below takes a `Case` and returns an `Outcome`, or raises `Skip`.

    Parameters
    ----------
    id
        Stable identifier, ``family.name``.
    title
        Its name as a person reads it; or a function of the case.
    source
        Where the check and its threshold come from.
    question
        Which question it answers a part of: "arrive" (did it run and arrive?), "same" (is it the same law?) or "use"
        (what can be used?).
    cites
        Keys of the works that the report cites where the check was made.
    thresholds
        Names of the `Thresholds` that it uses.
    kinds
        Of which runs it is made, see `Case.kinds`: those that are compared with the reference, unless said.
    each
        Function of the case that returns the functionals to look at: the function is then called with each name as
        second argument, and the worst outcome counts. None: it is called once.
    fields
        ``lowest``: the smallest value of several functionals is the worst, not the largest. ``of_chains=False``: says
        nothing that chains left out could change. ``of_reference``: says nothing where the reference cannot be relied
        on. For the verdict: ``gate`` (a reference that fails it is no reference), ``first`` (a failure comes before all
        other reasons), ``always`` (a reason also where it passes), ``on_functional`` and ``in_parameters`` (decide the
        answer there), ``joint`` (sees dependence), ``tails`` (sees tails and small modes), ``untested`` ("unknown" is a
        reservation).

    Returns
    -------
    Callable
        The decorator, which turns the function into a `Check`.

    Examples
    --------
    >>> from sgdvi.diagnostics import Outcome, Status, check
    >>> @check("mine.mean", "Mean above 0", "a rule of thumb")
    ... def mean(case):
    ...     value = float(case.values("v").mean())
    ...     return Outcome(Status.PASS if value > 0 else Status.WARN, f"The mean of v is {value:.3g}.", value)
    >>> mean.id
    'mine.mean'
    """

    def declared(function: Callable[..., Outcome]) -> Check:
        answers, made = Question(question), frozenset(kinds)
        return Check(function, id, title, source, answers, tuple(cites), tuple(thresholds), made, each, **fields)

    return declared


def usable(case: Case) -> list[str]:
    """Return the functionals of which there are usable chains, for ``each``."""
    names = list(case.draws.points)
    if not names:
        raise Skip(NO_DRAWS, Status.UNKNOWN)
    return names


def graded(
    start: str,
    value: float,
    null: float,
    limits: tuple[float, float, float],
    *,
    p: float | None = None,
    unit: str = "",
    beyond: str = "",
    advice: str = "",
    details: Details | None = None,
) -> Outcome:
    """Judge a distance by its null level and its limits, and say so in one sentence.

    Parameters
    ----------
    start
        How far what is from what: the beginning of the sentence.
    value, null, unit
        The distance, its null level, and their unit with a space before.
    limits
        Warning, failure, and the null level from which the draws are too few to tell.
    p
        Probability of a distance as large by chance, where it is known.
    beyond, advice
        What the difference is, and what to do about it, where it matters.
    details
        Further numbers of the finding.
    """
    status, words = grade(value, null, *limits), "" if p is None else f", p = {number(p, 2)}"
    chance = f"by chance it would be up to {number(null)}{unit}{words}"
    if status is Status.UNKNOWN:
        meaning = f"{start}; {chance}, so these draws are too few to tell."
        advice = "Run longer: the null level falls with the square root of the effective draws."
    elif value <= null:
        meaning, advice = f"{start}, no more than chance explains ({chance}).", ""
    elif status is Status.PASS:
        meaning = f"{start}: more than chance ({number(null)}{unit}{words}), but too little to matter."
        advice = ""
    else:
        meaning = f"{start}: {beyond} ({chance})." if beyond else f"{start}; {chance}."
    return Outcome(status, meaning, value, limits[1], advice, {"null_level": null, **(details or {})})


def grade(value: float, null: float, warn: float, fail: float, blind: float) -> Status:
    """Turn a distance into a status: small, or within its null level, or too large, or too few draws to tell."""
    if math.isnan(value) or math.isnan(null):
        return Status.UNKNOWN
    if value > null:
        return Status.FAIL if value >= fail else Status.WARN if value >= warn else Status.PASS
    return Status.UNKNOWN if null > blind else Status.PASS


def beyond(value: float, warn: float, fail: float) -> Status:
    """Turn a number into a status: a warning above the first limit, a failure above the second; nan is unknown."""
    if math.isnan(value):
        return Status.UNKNOWN
    return Status.FAIL if value > fail else Status.WARN if value > warn else Status.PASS


def worst(each: Sequence[Finding], *, lowest: bool = False) -> Finding:
    """Return the worst of several findings of one check, one per functional, and say how many there were.

    Among equal statuses the one with the largest value counts as worst, or the smallest if `lowest`.
    """
    if len(each) == 1:
        return each[0]

    def rank(finding: Finding) -> tuple[int, float]:
        value = finding.value if finding.value is not None and not math.isnan(finding.value) else -math.inf
        return finding.status.severity, -value if lowest else value

    each = [finding for finding in each if finding.status is not Status.NOT_APPLICABLE] or list(each)
    chosen = max(each, key=rank)
    listed = {f"value of {f.functional}": f.value for f in each[:_MOST_LISTED]}
    if chosen.status is Status.NOT_APPLICABLE:
        return chosen
    tail = f"{WORST}{count(len(each), 'functional')}."
    details = {**chosen.details, **listed, "functionals": len(each), "other_failures": _others(chosen, each)}
    return replace(chosen, meaning=chosen.meaning + tail, details=details)


def _others(chosen: Finding, each: Sequence[Finding]) -> str:
    """Say how many others fail too, and in which direction where their spread is known; "" for none."""
    others = [finding for finding in each if finding.status is Status.FAIL and finding is not chosen]
    widths = [width for finding in others if isinstance(width := finding.details.get("widening"), float)]
    narrow, wide = sum(width < _NARROW for width in widths), sum(width > _WIDE for width in widths)
    parts = [f"{size} too {word}" for size, word in ((narrow, "narrow"), (wide, "wide")) if size]
    words = f" ({', '.join(parts)})" if parts else ""
    if not others:
        return ""
    return f"{count(len(others), 'other functional')} {'fails' if len(others) == 1 else 'fail'} too{words}"


def survivors(run: Run, finding: Finding) -> Finding:
    """Say that chains were left out, and let no check pass on what is left."""
    if run.keep.all() or not run.keep.any() or finding.status is Status.NOT_APPLICABLE:
        return finding
    note = f" (From {int(run.keep.sum())} of {count(len(run.keep), 'chain')}: the others hold NaN or infinite draws.)"
    if finding.status is not Status.PASS:
        return replace(finding, meaning=finding.meaning + note)
    details = {**finding.details, LEFT_OUT: True}
    return replace(finding, status=Status.WARN, meaning=finding.meaning + note, details=details)

"""The reasons of the verdict, grouped by the three questions; what is about the parameters alone is folded."""

from sgdvi.diagnostics.declare import Question
from sgdvi.diagnostics.findings import Finding, Status
from sgdvi.diagnostics.record import Record
from sgdvi.diagnostics.table import TABLE
from sgdvi.report._format import WORST, anchor
from sgdvi.report._render import Section, render
from sgdvi.report.context import Context
from sgdvi.report.sections.verdict import split

QUESTIONS = {
    Question.ARRIVE: "Did it run and arrive?",
    Question.SAME: "Is it the same law?",
    Question.USE: "What can be used?",
}
ASKED = {check.id: check.question for check in TABLE}
_STRUCTURE = {check.id for check in TABLE if check.in_parameters} | {"memory.parameters"}
_COMPARED = "For comparison: "


def section(record: Record, context: Context) -> Section | None:
    """Return what the verdict rests on, or None where it has no reasons."""
    _, _, reasons = split(record)
    findings = {finding.meaning.split(WORST)[0]: finding for finding in reversed(record.findings)}
    groups: dict[Question, list[dict[str, str]]] = {question: [] for question in QUESTIONS}
    structure = []
    for text in reasons:
        finding = findings.get(text.removeprefix(_COMPARED).split(WORST)[0])
        item = {
            "text": text,
            "status": Status(finding.status) if finding else "",
            "anchor": anchor(finding) if finding else "",
        }
        if finding and (finding.check in _STRUCTURE or finding.check.startswith("balance.")):
            structure.append(item)
        else:
            groups[asked(finding)].append(item)
    if not reasons:
        return None
    shown = [(QUESTIONS[question], items) for question, items in groups.items() if items]
    return Section("reasons", "Why", render("reasons", groups=shown, structure=structure))


def asked(finding: Finding | None) -> Question:
    """Return the question that a finding answers a part of; a check of a user's own is about the law."""
    return ASKED.get(finding.check, Question.SAME) if finding else Question.SAME


def said(record: Record) -> set[str]:
    """Return the meanings that the page shows above the checks, so that no sentence is there twice."""
    return {text.removeprefix(_COMPARED).split(WORST)[0] for text in record.verdict.reasons}

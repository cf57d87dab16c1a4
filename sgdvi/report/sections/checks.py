"""Every check: what was measured, what it means, what to do, and where the check comes from."""

from typing import Any

from sgdvi.diagnostics.findings import Finding, Status
from sgdvi.diagnostics.record import Record
from sgdvi.report._format import WORST, anchor, title
from sgdvi.report._render import Section, render
from sgdvi.report.context import Context
from sgdvi.report.sections.reasons import QUESTIONS, asked, said

# More failures than these would push everything else off the page.
MOST_OPEN = 6
# The value of every other functional: report.json has them.
_EACH = "value of "
_FOLDED = {
    Status.WARN: "warnings",
    Status.UNKNOWN: "could not be told",
    Status.PASS: "pass",
}


def section(record: Record, context: Context) -> Section | None:
    """Return all findings by question: failures of the runs that are judged open, all others folded."""
    if not record.findings:
        return None
    above = said(record)
    groups, shown = [], set(above)
    for question, heading in QUESTIONS.items():
        made = [finding for finding in record.findings if asked(finding) is question]
        failed = [finding for finding in made if finding.status is Status.FAIL]
        open_ = sorted(failed, key=lambda finding: not _judged(record, finding))[:MOST_OPEN]
        rest = [finding for finding in failed if not any(finding is one for one in open_)]
        folded = [("further failures", rest)] if rest else []
        folded += [(words, [f for f in made if f.status is status]) for status, words in _FOLDED.items()]
        group = {
            "heading": heading,
            "open": [_item(finding, shown) for finding in open_],
            "folded": [(words, [_item(f, shown) for f in findings]) for words, findings in folded if findings],
        }
        if group["open"] or group["folded"]:
            groups.append(group)
    idle = [finding for finding in record.findings if finding.status is Status.NOT_APPLICABLE]
    html = render("checks", groups=groups, idle=_idle(idle), table=_table(record, context))
    return Section("checks", "The checks", html)


def _judged(record: Record, finding: Finding) -> bool:
    return record.kinds.get(finding.run) == "sgd"


def _item(finding: Finding, shown: set[str]) -> dict[str, Any]:
    """Return what a card shows; a meaning, an advice or a source that is on the page already is not repeated."""
    details = [
        (name.replace("_", " "), value)
        for name, value in finding.details.items()
        if value is not None and not name.startswith(_EACH)
    ]
    texts = {}
    for name in ("meaning", "advice", "source"):
        text = getattr(finding, name)
        start = text.split(WORST)[0]
        texts[name] = "" if start in shown else text
        shown.add(start)
    return {"finding": finding, "title": title(finding), "anchor": anchor(finding), "details": details, **texts}


def _idle(findings: list[Finding]) -> list[dict[str, Any]]:
    """Return one line for each check and reason, with the runs to which it does not apply."""
    lines: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        lines.setdefault((title(finding), finding.meaning), []).append(finding)
    reasons: set[str] = set()
    rows = []
    for (name, reason), each in lines.items():
        places = [(finding.run, anchor(finding)) for finding in each]
        rows.append({"title": name, "places": places, "reason": "" if reason in reasons else reason})
        reasons.add(reason)
    return rows


def _table(record: Record, context: Context) -> dict[str, Any]:
    """Return the table of every check that applies, run by run."""
    checked = {finding.run for finding in record.findings}
    # runs with draws first: on a narrow screen the last columns are off to the right
    runs = sorted((run for run in record.runs if run in checked), key=lambda run: run not in record.values)
    runs += sorted(checked - set(runs)) + [run for run in context.skipped if run not in runs]
    checks = list(dict.fromkeys(f.check for f in record.findings if f.status is not Status.NOT_APPLICABLE))
    return {"runs": runs, "rows": [_row(check, runs, record, context) for check in checks]}


def _row(check: str, runs: list[str], record: Record, context: Context) -> dict[str, Any]:
    findings = [finding for finding in record.findings if finding.check == check]
    cells = []
    for run in runs:
        of_run = [finding for finding in findings if finding.run == run]
        worst = max(of_run, key=lambda finding: Status(finding.status).severity, default=None)
        cells.append(
            {
                "finding": worst,
                "anchor": anchor(worst) if worst else "",
                "count": len(of_run),
                "skipped": context.skipped.get(run, ""),
            }
        )
    return {"title": title(findings[0]), "cells": cells}

"""The verdict in one sentence, its reasons, the table of all checks and what to do next."""

from sgdvi.diagnostics.findings import Finding, Status
from sgdvi.diagnostics.record import Record
from sgdvi.report._format import anchor, title
from sgdvi.report._render import Section, render
from sgdvi.report.context import RECOMMENDED, Context

_LABELS = {
    Status.PASS: "the checks pass",
    Status.WARN: "in part, or with reservations",
    Status.FAIL: "not the posterior",
    Status.NOT_APPLICABLE: "cannot be decided here",
    Status.UNKNOWN: "not known",
}
MOST_ADVICE = 8


def section(record: Record, context: Context) -> Section:
    """Return the top of the page."""
    verdict = record.verdict
    status = Status(verdict.status)
    checked = {finding.run for finding in record.findings}
    # runs with draws first: on a narrow screen the last columns are off to the right
    runs = sorted((run for run in record.runs if run in checked), key=lambda run: run not in record.values)
    runs += sorted(checked - set(runs)) + [run for run in context.skipped if run not in runs]
    checks = list(dict.fromkeys(finding.check for finding in record.findings))
    table = [_row(check, runs, record, context) for check in checks]
    html = render(
        "verdict",
        status=status,
        label=_LABELS[status],
        sentence=verdict.sentence,
        reasons=verdict.reasons,
        runs=runs,
        rows=[row for row in table if row["applies"]],
        idle=[row for row in table if not row["applies"]],
        advice=[*_recommended(record), *_advice(record)],
    )
    return Section("verdict", "", html)


def _row(check: str, runs: list[str], record: Record, context: Context) -> dict:
    findings = [finding for finding in record.findings if finding.check == check]
    cells = []
    for run in runs:
        of_run = [finding for finding in findings if finding.run == run]
        worst = max(of_run, key=_severity, default=None)
        cells.append(
            {
                "finding": worst,
                "anchor": anchor(worst) if worst else "",
                "count": len(of_run),
                "skipped": context.skipped.get(run, ""),
            }
        )
    applies = any(finding.status is not Status.NOT_APPLICABLE for finding in findings)
    return {"title": title(findings[0]), "cells": cells, "applies": applies}


def _severity(finding: Finding) -> int:
    return Status(finding.status).severity


def _recommended(record: Record) -> list[dict]:
    # What was measured comes before what each check advises.
    texts = [change for change in record.verdict.changes if change.startswith(RECOMMENDED)]
    return [{"text": text, "anchor": "instead", "title": "What to do instead", "run": ""} for text in texts]


def _advice(record: Record) -> list[dict]:
    # The same advice for several runs is given once, for the worst of them.
    items: dict[str, dict] = {}
    for finding in sorted(record.findings, key=_severity, reverse=True):
        drawn = finding.run in record.values
        if drawn and finding.advice and finding.status in (Status.FAIL, Status.WARN, Status.UNKNOWN):
            entry = {"text": finding.advice, "anchor": anchor(finding), "title": title(finding), "run": finding.run}
            items.setdefault(finding.advice, entry)
    return list(items.values())[:MOST_ADVICE]

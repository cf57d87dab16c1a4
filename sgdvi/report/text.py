"""A record in the terminal: the verdict, its reasons, what would change it and two tables, 100 columns wide."""

import math
import textwrap
from collections.abc import Sequence

from sgdvi._internal.text import number, table
from sgdvi.diagnostics.findings import Status
from sgdvi.diagnostics.record import Record

_MARKS = {Status.PASS: "pass", Status.WARN: "WARN", Status.FAIL: "FAIL", Status.UNKNOWN: "unknown"}
_COLUMNS = {"mean": "mean", "sd": "sd", "q5": "5 %", "q50": "median", "q95": "95 %", "ess": "ESS", "rhat": "R-hat"}
_WIDTH = 100
# With more functionals their tables would push the checks off the screen; the record and the page have all.
_MOST_TABLES = 3


def as_text(record: Record) -> str:
    """Return what `print` shows of a comparison."""
    verdict = record.verdict
    lines = [*textwrap.wrap(verdict.sentence, _WIDTH), "", *_items(verdict.reasons)]
    if verdict.changes:
        lines += ["", "What would change it:", *_items(verdict.changes)]
    for functional in record.functionals if len(record.functionals) <= _MOST_TABLES else ():
        lines += ["", *_summaries(record, functional)]
    lines += ["", *_checks(record)]
    skipped = sum(finding.status is Status.NOT_APPLICABLE for finding in record.findings)
    if skipped:
        lines.append(f"({skipped} checks do not apply; .findings has them with their reasons.)")
    return "\n".join(lines)


def _items(texts: Sequence[str]) -> list[str]:
    return [line for text in texts for line in textwrap.wrap(text, _WIDTH, initial_indent="- ", subsequent_indent="  ")]


def _summaries(record: Record, functional: str) -> list[str]:
    rows = [[functional, *_COLUMNS.values()]]
    for run, summaries in record.summaries.items():
        if functional in summaries:
            rows.append([run, *(_cell(summaries[functional].get(column)) for column in _COLUMNS)])
    return table(rows, left=len(rows[0]))


def _checks(record: Record) -> list[str]:
    rows = [["status", "run", "check", "value"]]
    for run in record.runs:
        for finding in record.findings:
            if finding.run == run and finding.status in _MARKS:
                value = "" if finding.value is None else number(finding.value)
                rows.append([_MARKS[finding.status], run, finding.title, value])
    return table(rows, left=len(rows[0]))


def _cell(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else number(value, 4)

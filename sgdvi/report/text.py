"""A record in the terminal: the answer, what each run is good for, why, and what to do next, 100 columns wide."""

import math
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence

from sgdvi._internal.style.palette import EXACT_POSTERIOR
from sgdvi._internal.text import number, table
from sgdvi.diagnostics.answers import USABLE, USES, uses_of
from sgdvi.diagnostics.findings import Status
from sgdvi.diagnostics.record import Record
from sgdvi.diagnostics.table import TABLE
from sgdvi.report._format import WORDS
from sgdvi.report.actions import actions
from sgdvi.report.context import Context

_MARKS = {Status.PASS: "pass", Status.WARN: "WARN", Status.FAIL: "FAIL", Status.UNKNOWN: "unknown"}
_COLUMNS = {"mean": "mean", "sd": "sd", "q5": "5 %", "q50": "median", "q95": "95 %", "ess": "ESS", "rhat": "R-hat"}
_WIDTH = 100
# With more functionals their tables would push the checks off the screen; the record and the page have all.
_MOST_TABLES = 3
# What a screen of 40 lines has room for.
_MOST_RUNS, _MOST_REASON_LINES, _MOST_LINES = 12, 9, 36


def as_text(record: Record, context: Context | None = None, *, verbose: bool = True) -> str:
    """Return a comparison as text.

    Parameters
    ----------
    record
        The record of a comparison.
    context
        Command or Python call, for what to do next.
    verbose
        Whether all reasons, summaries and checks are shown; without them the text has less than 40 lines.
    """
    lines = textwrap.wrap(record.verdict.sentence, _WIDTH)
    if verbose:
        return "\n".join([*lines, "", *_everything(record)])
    lines += ["", *_uses(record)]
    todo: list[str] = []
    for action in actions(record, context or Context()):
        todo += ["", *textwrap.wrap(action.text, _WIDTH)[:2], *([f"  {action.command}"] if action.command else [])]
    counts = Counter(finding.status for finding in record.findings)
    order = (Status.FAIL, Status.WARN, Status.UNKNOWN, Status.PASS, Status.NOT_APPLICABLE)
    todo += ["", ", ".join(f"{counts[status]} {WORDS[status]}" for status in order if counts[status])]
    why = _items(record.verdict.reasons)
    room = min(_MOST_REASON_LINES, _MOST_LINES - len(lines) - len(todo) - 2)
    if why and room > 0:
        lines += ["", *why[:room], *(["  ..."] if len(why) > room else [])]
    return "\n".join([*lines, *todo])


def _uses(record: Record) -> list[str]:
    """Return the table of what each run is good for."""
    rows = [[run, *words.values()] for run, words in _answers(record).items()]
    return table([["good for", *USES], *rows[:_MOST_RUNS]], left=1 + len(USES))


def _answers(record: Record) -> Mapping[str, Mapping[str, str]]:
    """Return run -> purpose -> whether it can be used for it; runs that stand for the posterior are left out."""
    runs = [run for run in record.runs if run not in (record.reference, EXACT_POSTERIOR)]
    answers = {run: uses_of(run, record.findings, TABLE) for run in runs}
    return {run: {use: USABLE[status] for use, status in uses.items()} for run, uses in answers.items()}


def uses_in_words(record: Record) -> dict[str, str]:
    """Return run -> what it is good for, "means yes, intervals no, tails no, predictions unknown"."""
    return {run: ", ".join(map(" ".join, words.items())) for run, words in _answers(record).items()}


def _everything(record: Record) -> list[str]:
    verdict = record.verdict
    lines = _items(verdict.reasons)
    if verdict.changes:
        lines += ["", "What would change it:", *_items(verdict.changes)]
    for functional in record.functionals if len(record.functionals) <= _MOST_TABLES else ():
        lines += ["", *_summaries(record, functional)]
    lines += ["", *_checks(record)]
    skipped = sum(finding.status is Status.NOT_APPLICABLE for finding in record.findings)
    if skipped:
        lines.append(f"({skipped} checks do not apply; the report has their reasons.)")
    return lines


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

"""The first screen: the answer, why, how far every run is, what each is good for, what to do, how many checks fail."""

import re
from collections import Counter
from typing import Any

from sgdvi._internal.style.figure import Picture, picture
from sgdvi._internal.style.palette import EXACT_POSTERIOR
from sgdvi._internal.text import listed
from sgdvi.diagnostics.answers import USABLE, USES, uses_of
from sgdvi.diagnostics.findings import Status
from sgdvi.diagnostics.record import Record
from sgdvi.diagnostics.table import TABLE
from sgdvi.report import figures, series
from sgdvi.report._render import Section, render
from sgdvi.report.actions import actions
from sgdvi.report.context import Context

MOST_IN_FOREST = 10
_MOST_ROWS = 40
# Inches: beside a higher forest there is room for what to do.
_HIGH = 4.0
# The end of the answer and the start of what limits it, in the sentences of the verdict.
_TURN = re.compile(r"(?<=\))(?:: |, but |, and |; )|(?<=overflowed), |(?<=[a-z)])\. (?=[A-Z])")


def section(record: Record, context: Context) -> Section:
    """Return the top of the page."""
    answer, why, _ = split(record)
    todo = actions(record, context)
    names = series.worst_first(record)
    counts = Counter(finding.status for finding in record.findings)
    html = render(
        "verdict",
        status=Status(record.verdict.status),
        answer=answer,
        why=why,
        first=todo[0] if todo else None,
        others=todo[1:],
        forest=_forest(record, names[:MOST_IN_FOREST]) if names else None,
        all_forest=_forest(record, names[:_MOST_ROWS]) if len(names) > MOST_IN_FOREST else None,
        beside=figures.forest_size(record, names[:MOST_IN_FOREST])[1] > _HIGH,
        most=min(len(names), _MOST_ROWS),
        purposes=USES,
        rows=_rows(record),
        skipped=context.skipped,
        counts=[(status, counts[status]) for status in _ORDER if counts[status]],
    )
    return Section("verdict", "", html)


_ORDER = (Status.FAIL, Status.WARN, Status.UNKNOWN, Status.PASS, Status.NOT_APPLICABLE)


def split(record: Record) -> tuple[str, str, tuple[str, ...]]:
    """Return the answer, what limits it, and the reasons that neither of them says already."""
    sentence, reasons = record.verdict.sentence, record.verdict.reasons
    turn = _TURN.search(sentence)
    if turn is not None:
        why = sentence[turn.end() :]
        return sentence[: turn.start()] + ".", why[:1].upper() + why[1:], reasons
    return sentence, reasons[0] if reasons else "", reasons[1:]


def _rows(record: Record) -> list[dict[str, Any]]:
    rows = []
    for run in record.runs:
        cells = [(status, USABLE[status]) for status in uses_of(run, record.findings, TABLE).values()]
        rows.append({"run": run, "cells": cells, "note": _note(record, run)})
    return sorted(rows, key=lambda row: row["note"] != "")


def _note(record: Record, run: str) -> str:
    """Return what stands in place of answers for a run that stands for the posterior itself."""
    if run == record.reference:
        gates = {check.id for check in TABLE if check.gate}
        failed = [f for f in record.findings if f.run == run and f.check in gates and f.status is Status.FAIL]
        return "the reference, which cannot be relied on" if failed else "the reference"
    return "the posterior, in closed form" if run == EXACT_POSTERIOR else ""


def _forest(record: Record, names: list[str]) -> Picture:
    runs = [run for run in record.runs if run != record.reference]
    against = record.reference or "the posterior"
    return picture(
        lambda theme: figures.forest(record, names, theme),
        f"Mean and 5 % to 95 % range of {listed(names)} under {listed(runs)}, in standard deviations of {against}.",
        f"Mean and 5 % to 95 % range, as {against} sees it. Dark band: what chance explains.",
    )

"""Foreseen beside observed: how far the forecast of each flavour of SGD was right."""

from sgdvi.diagnostics.record import Record
from sgdvi.report._render import Section, render
from sgdvi.report.context import Context, Foreseen

_MOST_ROWS = 10


def section(record: Record, context: Context) -> Section | None:
    """Return the table of what was foreseen and observed, or None where nothing was foreseen."""
    if not context.foreseen:
        return None
    by_run: dict[str, list[Foreseen]] = {}
    for row in context.foreseen:
        by_run.setdefault(row.run, []).append(row)
    rows = [row for of_run in by_run.values() for row in sorted(of_run, key=_size)[:_MOST_ROWS]]
    largest = max(map(len, by_run.values()))
    html = render("foreseen", rows=rows, reference=record.reference, most=_MOST_ROWS if largest > _MOST_ROWS else 0)
    return Section("foreseen", "Foreseen and observed", html)


def _size(row: Foreseen) -> float:
    return -max(row.w1, row.observed_w1 or 0.0)

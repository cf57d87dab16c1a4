"""What to do instead: every remedy with its distance to the posterior, before and after."""

from sgdvi.diagnostics.record import Record
from sgdvi.report._render import Section, render
from sgdvi.report.context import Context


def section(record: Record, context: Context) -> Section | None:
    """Return the table of the remedies, or None where they were not measured."""
    if not context.remedies:
        return None
    return Section("instead", "What to do instead", render("remedies", rows=context.remedies))

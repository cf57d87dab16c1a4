"""What to do instead: every remedy with its distance to the posterior, before and after."""

from sgdvi.comparison import Comparison
from sgdvi.report._render import render
from sgdvi.report.context import Context
from sgdvi.report.section import Section


def section(comparison: Comparison, context: Context) -> Section | None:
    """Return the table of the remedies, or None where they were not measured."""
    if not context.remedies:
        return None
    return Section("instead", "What to do instead", render("instead", rows=context.remedies))

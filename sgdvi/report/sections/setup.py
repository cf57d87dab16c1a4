"""What was run: the problem, every setting with the rule it follows, the runs with their times."""

from sgdvi.comparison import Comparison
from sgdvi.report._render import render
from sgdvi.report.context import Context
from sgdvi.report.section import Section


def section(comparison: Comparison, context: Context) -> Section | None:
    """Return the settings, or None where the comparison came without them."""
    if not (context.problem or context.settings or context.stages):
        return None
    html = render("setup", problem=context.problem, settings=context.settings, stages=context.stages)
    return Section("setup", "What was run", html)

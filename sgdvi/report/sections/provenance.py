"""Where the report comes from: command, versions, methods and references."""

from sgdvi.comparison import Comparison
from sgdvi.report._render import render
from sgdvi.report.cite import methods
from sgdvi.report.context import Context
from sgdvi.report.section import Section


def section(comparison: Comparison, context: Context) -> Section:
    """Return the last part of the page."""
    html = render(
        "provenance",
        command=context.command,
        call=context.call,
        environment=list(context.environment.items()),
        **methods(comparison),
    )
    return Section("provenance", "Provenance", html)

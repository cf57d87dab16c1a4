"""Where the report comes from: what was run, command, versions, methods and references."""

from sgdvi.diagnostics.record import Record
from sgdvi.report._render import Section, render
from sgdvi.report.cite import methods
from sgdvi.report.context import Context


def setup(record: Record, context: Context) -> Section | None:
    """Return the problem, every setting with its rule and the runs with their times; None where they are not known."""
    if not (context.problem or context.settings or context.stages):
        return None
    html = render("setup", problem=context.problem, settings=context.settings, stages=context.stages)
    return Section("setup", "What was run", html)


def section(record: Record, context: Context) -> Section:
    """Return the last part of the page."""
    html = render(
        "provenance",
        command=context.command,
        call=context.call,
        environment=list(context.environment.items()),
        **methods(record),
    )
    return Section("provenance", "Provenance", html)

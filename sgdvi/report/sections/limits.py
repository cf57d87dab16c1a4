"""The thresholds that were used, each with its reason and source, and how to change them."""

from sgdvi.comparison import Comparison
from sgdvi.diagnostics.thresholds import Thresholds
from sgdvi.report._render import render
from sgdvi.report.context import Context
from sgdvi.report.section import Section


def section(comparison: Comparison, context: Context) -> Section:
    """Return the table of the thresholds; those that were changed are marked."""
    changed, reasons = comparison.thresholds.changed(), Thresholds.sources()
    rows, before = [], ""
    for name, value in comparison.thresholds.to_dict().items():
        reason = reasons[name]
        rows.append(
            {"name": name, "value": value, "changed": name in changed, "why": "" if reason == before else reason}
        )
        before = reason
    return Section("thresholds", "Thresholds", render("limits", rows=rows))

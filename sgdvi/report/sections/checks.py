"""Every check: what was measured, what it means, what to do, and where the check comes from."""

from sgdvi.diagnostics.findings import Finding, Status
from sgdvi.diagnostics.record import Record
from sgdvi.report._format import anchor, title
from sgdvi.report._render import Section, render
from sgdvi.report.context import Context


def section(record: Record, context: Context) -> Section | None:
    """Return all findings, one article per check."""
    checks = dict.fromkeys(finding.check for finding in record.findings)
    if not checks:
        return None
    groups = [_group([f for f in record.findings if f.check == check]) for check in checks]
    return Section("checks", "The checks", render("checks", groups=groups))


def _group(findings: list[Finding]) -> dict:
    # With many functionals only the worst of each run stays open; every cell of the status table leads to an open one.
    worst: dict[str, Finding] = {}
    for finding in findings:
        if finding.run not in worst or _severity(finding) > _severity(worst[finding.run]):
            worst[finding.run] = finding
    shown = list(worst.values())
    folded = [finding for finding in findings if not any(finding is kept for kept in shown)]
    return {
        "id": "family-" + findings[0].check.replace(".", "-"),
        "title": title(findings[0]),
        "check": findings[0].check,
        "shown": [_item(finding) for finding in shown],
        "folded": [_item(finding) for finding in folded],
        "sources": list(dict.fromkeys(finding.source for finding in findings if finding.source)),
    }


def _item(finding: Finding) -> dict:
    details = [(name.replace("_", " "), value) for name, value in finding.details.items() if value is not None]
    return {"finding": finding, "anchor": anchor(finding), "details": details}


def _severity(finding: Finding) -> int:
    return Status(finding.status).severity

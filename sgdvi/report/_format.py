"""Words for statuses, durations and places, as the report shows them."""

import math
from collections.abc import Mapping

from sgdvi._internal.text import power_of_ten
from sgdvi.diagnostics.findings import Finding, Status

WORDS: Mapping[Status, str] = {
    Status.PASS: "pass",
    Status.WARN: "warn",
    Status.FAIL: "fail",
    Status.NOT_APPLICABLE: "n/a",
    Status.UNKNOWN: "unknown",
}
GLYPHS: Mapping[Status, str] = {
    Status.PASS: "✓",
    Status.WARN: "!",
    Status.FAIL: "✕",
    Status.NOT_APPLICABLE: "–",
    Status.UNKNOWN: "?",
}
# What a meaning ends in where several functionals were looked at; the reasons leave it out.
WORST = " This is the worst of "


def power(value: float) -> str:
    """Write a power of ten, for the ticks of a logarithmic axis: 10⁻³."""
    return power_of_ten(round(math.log10(value)))


def seconds(value: float) -> str:
    """Write a duration: 0.4 s, 12 s, 3 min 5 s."""
    if value < 10:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def anchor(finding: Finding) -> str:
    """Return the id of the finding's place in the page."""
    parts = [finding.check, finding.run, finding.functional or ""]
    text = "-".join(part for part in parts if part)
    return "check-" + "".join(char if char.isalnum() else "-" for char in text).lower()


def title(finding: Finding) -> str:
    """Return the name of the check as a person reads it."""
    return finding.title or finding.check.replace(".", ": ").replace("_", " ")

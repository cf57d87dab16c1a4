"""Numbers and words as the report shows them."""

import math
from collections.abc import Mapping
from typing import Any

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
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: Any, digits: int = 3) -> str:
    """Write a number with `digits` significant digits: 0.0123, 1 250, 3.2 × 10⁻⁷, ∞; other values as they are."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    value = float(value)
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    if value.is_integer() and abs(value) < 1e7:
        return _minus(f"{value:,.0f}".replace(",", "\u202f"))
    if 1 < abs(value) < 1.1:
        digits = max(digits, 4)  # R-hat and ratios: what matters is the distance from 1
    exponent = math.floor(math.log10(abs(value)))
    if -4 <= exponent < 6:
        text = f"{value:.{max(digits - 1 - exponent, 0)}f}"
        whole, _, fraction = text.partition(".")
        fraction = fraction.rstrip("0")
        whole = f"{int(whole):,}".replace(",", "\u202f") if abs(value) >= 1000 else whole
        return _minus(f"{whole}.{fraction}" if fraction else whole)
    mantissa, exponent_text = f"{value:.{digits - 1}e}".split("e")
    return _minus(f"{mantissa}\u00a0×\u00a0{_ten_to(int(exponent_text))}")


def power(value: float) -> str:
    """Write a power of ten, for the ticks of a logarithmic axis: 10⁻³."""
    return _ten_to(round(math.log10(value)))


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


def _ten_to(exponent: int) -> str:
    return f"10{str(exponent).translate(_SUPERSCRIPTS)}"


def _minus(text: str) -> str:
    return text.replace("-", "−", 1) if text.startswith("-") else text

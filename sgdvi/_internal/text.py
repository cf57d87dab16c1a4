"""Numbers as a person reads them, for the sentences of findings and verdicts."""

import math
from collections.abc import Sequence


def number(value: float | None, digits: int = 3) -> str:
    """Return `value` with a few significant digits; infinity and nan in words."""
    if value is None or math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "infinity" if value > 0 else "minus infinity"
    if 0 < abs(abs(value) - 1) < 0.1:
        digits = max(digits, 4)  # R-hat and ratios: what matters is the distance from 1
    if value != 0 and (abs(value) >= 1e5 or abs(value) < 1e-3):
        return f"{value:.{digits - 1}e}"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def percent(share: float) -> str:
    """Return a share as a percentage, "0.4 %"."""
    if math.isnan(share):
        return "an unknown share"
    if share == 0:
        return "0 %"
    if 0 < share < 1e-6:
        return "less than 0.0001 %"
    return f"{100 * share:.2g} %" if 1e-5 <= share < 0.995 else f"{100 * share:.3g} %"


def count(items: int, noun: str) -> str:
    """Return "1 chain", "4 chains"."""
    return f"{items:,} {noun}" if items == 1 else f"{items:,} {noun}s"


def listed(names: Sequence[str], word: str = "and") -> str:
    """Return "u and w", "u, w and z"; with another word "u or w"."""
    return f" {word} ".join(", ".join(part) for part in (names[:-1], names[-1:]) if part)

"""Numbers, counts and tables as a person reads them."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Literal

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float | str | None, digits: int = 3, style: Literal["ascii", "typeset"] = "ascii") -> str:
    """Return `value` with a few significant digits; texts as they are.

    "ascii" is for sentences in a terminal: 1,250, 3.2e-07, infinity. "typeset" is for pages and figures, where a table
    has many numbers: 1 250, 3.2 × 10⁻⁷, ∞, no zeros at the end, nothing for None, yes and no.
    """
    if isinstance(value, str):
        return value
    return _typeset(value, digits) if style == "typeset" else _ascii(value, digits)


typeset = partial(number, style="typeset")


def _ascii(value: float | None, digits: int) -> str:
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


def _typeset(value: float | None, digits: int) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    value = float(value)
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    if value.is_integer() and abs(value) < 1e7:
        return _with_signs(f"{value:,.0f}")
    if 1 < abs(value) < 1.1:
        digits = max(digits, 4)  # as above
    exponent = math.floor(math.log10(abs(value)))
    if -4 <= exponent < 6:
        text = f"{value:,.{max(digits - 1 - exponent, 0)}f}"
        return _with_signs(text.rstrip("0").rstrip(".") if "." in text else text)
    mantissa, power = f"{value:.{digits - 1}e}".split("e")
    return _with_signs(f"{mantissa}\u00a0×\u00a0") + power_of_ten(int(power))


def _with_signs(text: str) -> str:
    return text.replace(",", "\u202f").replace("-", "−")


def power_of_ten(exponent: int) -> str:
    """Return "10⁻³"."""
    return f"10{str(exponent).translate(_SUPERSCRIPTS)}"


def table(rows: Sequence[Sequence[str]], left: int = 0) -> list[str]:
    """Return the rows as lines of aligned columns: the last `left` of them to the left, the others to the right."""
    aligned = []
    for place, column in enumerate(zip(*rows, strict=True), left - len(rows[0])):
        width = max(map(len, column))
        aligned.append([cell.ljust(width) if place >= 0 else cell.rjust(width) for cell in column])
    return ["  ".join(row).rstrip() for row in zip(*aligned, strict=True)]


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

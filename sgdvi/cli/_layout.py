"""Aligned text for the terminal, 80 columns wide."""

import math
import textwrap
from collections.abc import Sequence

from sgdvi._internal.text import table

WIDTH = 80
_LABEL = 16


def num(value: float, digits: int = 4) -> str:
    """Write a number with significant digits: 0.1667, 1.2e-05, ∞, −0.5."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:.{digits}g}"
    if "e" in text and abs(value) < 1e7 and abs(value) >= 1e-4:
        text = f"{value:.0f}"  # 30000, where four digits alone would give 3e+04
    return text.replace("-", "−", 1) if value < 0 else text


def line(name: str, text: str) -> str:
    """Put a name in front of a text, wrapped under itself."""
    first = f"  {name:<{_LABEL - 2}}"
    return "\n".join(textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=" " * _LABEL))


def indented_table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 0) -> str:
    """Align rows under their heads, see `sgdvi._internal.text.table`, under the names of `line`."""
    return "\n".join(f"  {row}" for row in table([head, *rows], left))

"""Aligned text for the terminal, 80 columns wide."""

import math
import textwrap
from collections.abc import Sequence

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


def table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 0) -> str:
    """Align rows under their heads, numbers to the right; the last ``left`` columns to the left."""
    cells = [list(head), *map(list, rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    texts = []
    for row in cells:
        right = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)][: len(row) - left]
        texts.append(("  " + "  ".join([*right, *row[len(row) - left :]])).rstrip())
    return "\n".join(texts)

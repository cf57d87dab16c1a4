"""Whether what a call must hold fits in memory: said before it begins, with the sizes."""

import math
import os

from sgdvi._internal.check import require


def total_memory() -> float:
    """Return the bytes of memory of this machine; infinity where the system does not say."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return math.inf


def require_memory(what: str, needed: float, sizes: str, advice: str) -> None:
    """Raise `InputError` if `needed` bytes are more than there are; `sizes` says of what."""
    total = total_memory()
    rule = f"{what} must fit in memory, {total / 1e9:.3g} GB"
    require(needed <= total, rule, f"{needed / 1e9:.3g} GB for {sizes}", advice)

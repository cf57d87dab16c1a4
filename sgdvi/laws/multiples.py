"""Temperatures as a person writes them: numbers, or multiples of the critical temperature such as "0.5Tc"."""

import math
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike

from sgdvi._internal.check import positive, require

Temperature = ArrayLike | str


class Multiple(np.float64):
    """A multiple of Tc, rounded, that keeps the multiple to all its digits: near Tc laws depend on 1 - T/Tc alone."""

    def __new__(cls, value: float, multiple: Fraction) -> "Multiple":
        """Make it from its value and the multiple."""
        made = super().__new__(cls, value)
        made.multiple = multiple
        return made

    multiple: Fraction

    def lost(self, kept: Any, room: Any, noise: Any) -> float:
        """Return what `kept`, the value as a law holds it, lacks of the multiple of Tc = room/noise; 0 for arrays."""
        if any(np.size(each) != 1 for each in (kept, room, noise)) or not (room > 0 and noise > 0):
            return 0.0
        return float(self.multiple * Fraction(float(room)) / Fraction(float(noise)) - Fraction(float(kept)))


def parse_temperature(value: float | str, critical: Any) -> Any:
    """Return a temperature from a number or a multiple of Tc such as ``"0.5Tc"``.

    Parameters
    ----------
    value
        A number, or a text with a number, "Tc" or both.
    critical
        Tc; an array gives an array, a number a `Multiple`.

    Raises
    ------
    InputError
        If it is neither, if it is not above 0, or if a multiple is asked for where Tc is 0 or infinite.
    """
    if not isinstance(value, str):
        return positive("temperature", value)
    match = re.fullmatch(r"\s*([-+0-9.eE]*)\s*\*?\s*(tc)?\s*", value, flags=re.IGNORECASE)
    try:
        number = float(match[1] or 1.0) if match and (match[1] or match[2]) else math.nan
    except ValueError:
        number = math.nan
    advice = "Write a number such as 0.01, or a multiple of the critical temperature such as 0.5Tc."
    require(not math.isnan(number), "temperature must be a number or a multiple of Tc", repr(value), advice)
    require(math.isfinite(number) and number > 0, "temperature must be above 0", repr(value), advice)
    assert match is not None  # the line above has refused everything that does not match
    if not match[2]:
        return number
    if not isinstance(critical, jax.core.Tracer):
        rule = "a multiple of Tc needs a problem with a critical temperature (depth 1)"
        known = np.all(np.isfinite(critical)) and np.all(np.asarray(critical) > 0)
        require(known, rule, f"Tc = {np.min(critical):g}", "Give a number.")
    value_of = number * critical
    return Multiple(value_of, Fraction(match[1] or 1)) if isinstance(value_of, float) else value_of


def resolve(temperature: Any, critical: Callable[[], Any]) -> Any:
    """Return what a text such as "0.5Tc" stands for; numbers and arrays as they are, without asking for Tc."""
    return parse_temperature(temperature, critical()) if isinstance(temperature, str) else temperature

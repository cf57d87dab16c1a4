"""Temperatures as a person writes them: numbers, or multiples of the critical temperature such as "0.5Tc"."""

import math
import re
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike

from sgdvi._internal.check import positive, require

Temperature = ArrayLike | str


def parse_temperature(value: float | str, critical: Any) -> Any:
    """Return a temperature from a number or a multiple of Tc such as ``"0.5Tc"``.

    Parameters
    ----------
    value
        A number, or a text with a number, "Tc" or both.
    critical
        Tc; an array gives an array.

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
    return number * critical


def resolve(temperature: Any, critical: Callable[[], Any]) -> Any:
    """Return what a text such as "0.5Tc" stands for; numbers and arrays as they are, without asking for Tc."""
    return parse_temperature(temperature, critical()) if isinstance(temperature, str) else temperature

"""Argument checks. Every message has one form: what must hold; what was got; what to do."""

import math
import numbers
from typing import Any

import numpy as np


class InputError(ValueError):
    """Bad input from the caller: the message says what is wrong, what was got and what to do."""

    __module__ = "sgdvi"  # where a person finds it, and what a traceback names


def message(rule: str, got: Any, advice: str = "") -> str:
    """Put the three parts of an error message together."""
    text = f"{rule}; got {got}."
    return f"{text} {advice}" if advice else text


def require(condition: Any, rule: str, got: Any, advice: str = "") -> None:
    """Raise `InputError` unless `condition` holds."""
    if not condition:
        raise InputError(message(rule, got, advice))


def positive(name: str, value: Any, advice: str = "") -> float:
    """Return `value` as a float; it must be a finite number above zero."""
    number = _number(name, value, advice)
    require(math.isfinite(number) and number > 0, f"{name} must be a finite number above 0", value, advice)
    return number


def non_negative(name: str, value: Any, advice: str = "") -> float:
    """Return `value` as a float; it must be a finite number of at least zero."""
    number = _number(name, value, advice)
    require(math.isfinite(number) and number >= 0, f"{name} must be a finite number of at least 0", value, advice)
    return number


def whole(name: str, value: Any, least: int = 0, advice: str = "") -> int:
    """Return `value` as an int; it must be a whole number of at least `least`."""
    is_whole = isinstance(value, numbers.Integral) or (isinstance(value, numbers.Real) and float(value).is_integer())
    rule = f"{name} must be a whole number of at least {least}"
    require(is_whole and not isinstance(value, bool) and value >= least, rule, value, advice)
    return int(value)


def finite_vector(name: str, values: Any) -> np.ndarray:
    """Return `values` as a one-dimensional float64 array; every entry must be finite."""
    array = np.asarray(values, dtype=np.float64)
    require(array.ndim == 1, f"{name} must be a one-dimensional array", f"shape {array.shape}")
    bad = np.flatnonzero(~np.isfinite(array))
    if bad.size:
        got = f"{array[bad[0]]} in row {bad[0]} ({bad.size} of {array.size} rows)"
        raise InputError(message(f"{name} must be finite", got, "Remove or impute these rows."))
    return array


def _number(name: str, value: Any, advice: str) -> float:
    scalar = isinstance(value, numbers.Real) or (isinstance(value, np.ndarray) and value.ndim == 0)
    if isinstance(value, bool) or not scalar:
        raise InputError(message(f"{name} must be a number", repr(value), advice))
    return float(value)

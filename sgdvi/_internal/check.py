"""Argument checks. Every message has one form: what must hold; what was got; what to do."""

import math
import numbers
import sys
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


def finite(name: str, value: Any, advice: str = "") -> float:
    """Return `value` as a float; it must be a finite number."""
    number = _number(name, value, advice)
    require(math.isfinite(number), f"{name} must be finite", value, advice)
    return number


def whole(name: str, value: Any, least: int = 0, advice: str = "") -> int:
    """Return `value` as an int; it must be a whole number of at least `least`."""
    is_whole = isinstance(value, numbers.Integral) or (isinstance(value, numbers.Real) and _is_integer(value))
    rule = f"{name} must be a whole number of at least {least}"
    require(is_whole and not isinstance(value, bool) and value >= least, rule, _got(value, bare=True), advice)
    require(value < 2**63, f"{name} must be below 2^63", "a larger number", advice)
    return int(value)


def require_settings() -> None:
    """Raise `InputError` for settings of JAX that turn what sgdvi, NumPyro and optax do in every line into errors."""
    if "jax" not in sys.modules:  # `sgdvi --help` must not wait for it
        return
    config = sys.modules["jax"].config
    promotion, guard = config.jax_numpy_rank_promotion, config.jax_transfer_guard
    advice = "Set them around code of your own, as contexts."
    require(promotion != "raise", "jax_numpy_rank_promotion must be 'allow' or 'warn'", repr(promotion), advice)
    require("disallow" not in (guard or ""), "jax_transfer_guard must be 'allow' or 'log'", repr(guard), advice)


def finite_vector(name: str, values: Any) -> np.ndarray:
    """Return `values` as a one-dimensional float64 array; every entry must be finite."""
    array = real_array(name, values).astype(np.float64)
    require(array.ndim == 1, f"{name} must be a one-dimensional array", f"shape {array.shape}")
    bad = np.flatnonzero(~np.isfinite(array))
    if bad.size:
        got = f"{array[bad[0]]} in row {bad[0]} ({bad.size} of {array.size} rows)"
        raise InputError(message(f"{name} must be finite", got, "Remove or impute these rows."))
    return array


def real_array(name: str, values: Any) -> Any:
    """Return `values` as an array of real numbers; JAX arrays, also traced ones, and the precision stay as they are.

    Lists, and columns and tables of pandas, polars and xarray, are taken. Texts, complex numbers, dates and objects are
    not, and neither is an array with masked entries: NumPy would drop the mask.
    """
    if _is_jax(values):
        require(values.dtype.kind != "c", f"{name} must be real", "complex numbers", "Give their real part.")
        return values
    rule = f"{name} must be a number or an array of numbers"
    require(not np.ma.is_masked(values), rule, "masked entries", "Remove or impute them.")
    try:
        array = np.asarray(values)
    except Exception as error:
        raise InputError(message(rule, " ".join(str(error).split())[:100])) from error
    if array.dtype == object:
        # whole numbers above 64 bits, and fractions, are objects to NumPy
        try:
            array = array.astype(np.float64) if all(isinstance(v, numbers.Real) for v in array.ravel()) else array
        except OverflowError:
            raise InputError(message(rule, "a number that is too large")) from None
    advice = "Give a table's numbers with .to_numpy(float)."
    require(
        array.dtype.kind in "iufb" or array.dtype.name == "bfloat16", rule, f"{_got(values)} ({array.dtype})", advice
    )
    return array


def one_of(name: str, value: Any, choices: tuple[Any, ...], words: str = "") -> Any:
    """Return the one of `choices`, numbers or None, that `value` is."""
    plain = value is None or (isinstance(value, numbers.Real) and not isinstance(value, bool))
    listed = words or ", ".join(map(str, choices))
    require(plain and value in choices, f"{name} must be {listed}", _got(value))
    return value


def _is_jax(value: Any) -> bool:
    # `sgdvi --help` must not wait for JAX
    return "jax" in sys.modules and isinstance(value, sys.modules["jax"].Array)


def _is_integer(value: Any) -> bool:
    try:
        return float(value).is_integer()
    except OverflowError:
        return False


def _got(value: Any, bare: bool = False) -> str:
    """Return a value for a message: never many lines, nor more digits than Python writes."""
    if isinstance(value, int) and abs(value) >= 10**40:
        return "a number that is too large"
    text = " ".join((repr(value) if isinstance(value, str) and not bare else f"{value}").split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def _number(name: str, value: Any, advice: str) -> float:
    scalar = isinstance(value, numbers.Real) or (
        (isinstance(value, np.ndarray) or _is_jax(value)) and value.ndim == 0 and value.dtype.kind in "iuf"
    )
    if isinstance(value, bool) or not scalar or np.ma.is_masked(value):
        raise InputError(message(f"{name} must be a number", _got(value), advice))
    try:
        return float(value)
    except OverflowError:
        raise InputError(message(f"{name} must be a number", "one that is too large", advice)) from None

"""Arguments held against their annotations, so that a public callable refuses what it cannot mean before any work."""

import collections.abc
import inspect
import numbers
import os
import types
import typing
from collections.abc import Callable, Mapping
from functools import cache, wraps
from typing import Any, Union, get_args, get_origin

import jax
import numpy as np
from jax.typing import ArrayLike

from sgdvi._internal.check import InputError, message, real_array, require, require_settings
from sgdvi._internal.tree import require_key

_MOST_WHOLE = 2**63 - 1
_NUMBERS = (np.ndarray, jax.Array)
_ARRAYS = get_args(ArrayLike)


def checked[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a public callable: arguments of other kinds than it is annotated with are an `InputError`.

    Whole and real numbers (no nan, no bool, no complex), texts, flags, functions, sequences and mappings with their
    items, classes of this package, and arrays of real numbers are looked at; values within a kind are the callable's.
    """
    signature = inspect.signature(function)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        _check(signature.bind(*args, **kwargs).arguments, _kinds(function))
        return function(*args, **kwargs)

    return call


def check_fields(record: Any) -> None:
    """Check the fields of a dataclass as `checked` does arguments; for its ``__post_init__``."""
    kind: Any = type(record)
    _check(vars(record), _kinds(kind))


def _check(given: Mapping[str, Any], kinds: Mapping[str, Any]) -> None:
    require_settings()
    for name, kind in kinds.items():
        value = given.get(name)
        if isinstance(value, dict):  # JAX puts the names of a dict in order
            names = {type(one) for one in value}
            require(len(names) <= 1, f"the keys of {name} must be of one type", _short(list(value)))
        if name == "key" and given.get(name) is not None:
            require_key(given[name])
        elif name in given and not _fits(given[name], kind):
            got = f"{type(given[name]).__name__} {_short(given[name])}"
            raise InputError(message(f"{name} must be {_words(kind)}", got))


@cache
def _kinds(function: Callable[..., Any]) -> dict[str, Any]:
    kinds = typing.get_type_hints(function)
    parameters = inspect.signature(function).parameters.values()
    plain = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_ONLY)
    return {one.name: kinds[one.name] for one in parameters if one.kind in plain and one.name in kinds}


def _fits(value: Any, kind: Any) -> bool:
    if kind is Any:
        return True
    if kind == ArrayLike or kind in _NUMBERS:
        return _is_key(value) or _is_real(value)
    if kind is None or kind is types.NoneType:
        return value is None
    origin, items = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return any(_fits(value, one) for one in _members(items))
    if kind is bool:
        return isinstance(value, bool | np.bool_)
    if kind in (int, float):
        return _is_number(value, whole=kind is int)
    if kind is collections.abc.Callable or origin is collections.abc.Callable:
        return callable(value)
    if origin in (collections.abc.Mapping, dict):
        fits = isinstance(value, Mapping) and all(_fits(name, items[0]) for name in value)
        return fits and all(_fits(one, items[1]) for one in value.values())
    if origin in (collections.abc.Sequence, list, tuple):
        counted = hasattr(value, "__len__") and hasattr(value, "__iter__")
        if not counted or isinstance(value, str | bytes | Mapping) or getattr(value, "ndim", 1) != 1:
            return False
        return origin is tuple or all(_fits(one, items[0]) for one in value)
    if isinstance(origin, type):
        return isinstance(value, origin) and getattr(value, "ndim", 1) > 0  # NumPy's scalars do not iterate
    if isinstance(kind, type) and not getattr(kind, "_is_protocol", False):
        return isinstance(value, kind)
    return True


def _members(items: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the members of a union with ArrayLike as one, which Python takes apart."""
    whole = set(_ARRAYS) <= set(items)
    return (ArrayLike, *(one for one in items if one not in _ARRAYS)) if whole else items


def _is_number(value: Any, whole: bool) -> bool:
    if isinstance(value, jax.core.Tracer):
        return True
    if isinstance(value, np.ndarray | jax.Array) and value.ndim == 0 and value.dtype.kind in "iuf":
        value = value.item()
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        return False
    if isinstance(value, numbers.Integral):
        return abs(int(value)) <= _MOST_WHOLE
    return float(value).is_integer() if whole else value == value


def _is_real(value: Any) -> bool:
    try:
        real_array("", value)
    except InputError:
        return False
    return True


def _is_key(value: Any) -> bool:
    return isinstance(value, jax.Array) and jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key)


def _words(kind: Any) -> str:
    if kind == ArrayLike or kind in _NUMBERS:
        return "a number or an array of numbers"
    origin, items = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_words(one) for one in _members(items)))
    if origin in (collections.abc.Mapping, dict):
        return f"a dict of {_words(items[1])} by name"
    if origin in (collections.abc.Sequence, collections.abc.Iterable, list, tuple):
        return f"a sequence of {_words(items[0])}"
    if kind is collections.abc.Callable or origin is collections.abc.Callable:
        return "a function"
    if origin is os.PathLike:
        return "a path"
    simple = {int: "a whole number", float: "a number", str: "a text", bool: "True or False", types.NoneType: "None"}
    simple[Any] = "anything"
    name = getattr(kind, "__name__", str(kind))
    return simple.get(kind) or (f"sgdvi.{name}" if getattr(kind, "__module__", "").startswith("sgdvi") else name)


def _short(value: Any) -> str:
    text = " ".join(repr(value).split()) if not isinstance(value, int) or abs(value) < 10**40 else "of many digits"
    return text if len(text) <= 60 else f"{text[:57]}..."

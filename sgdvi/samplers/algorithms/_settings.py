"""Settings that the samplers share: rates that may be schedules, and the extra package that some steps come from."""

import importlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from sgdvi._internal.check import InputError, message, non_negative, positive

Schedule = Callable[[Any], Any]


def as_schedule(name: str, value: float | Schedule) -> Schedule:
    """Return the schedule of a rate: a function of the number of steps taken, or a number for all of them.

    Raises
    ------
    InputError
        For a number that is not above 0, and a schedule whose first value is none.
    """
    if not callable(value):
        return optax.constant_schedule(positive(name, value))
    try:
        first = float(value(jnp.int32(0)))
    except Exception as error:
        rule = f"{name} must be a number or a function of the number of steps"
        raise InputError(message(rule, f"{type(error).__name__}: {error}", "Take one of optax's schedules.")) from error
    non_negative(f"the first {name}", first)
    return value


def shown(value: float | Schedule) -> float | str:
    """Return a learning rate as a JSON type."""
    return "schedule" if callable(value) else positive("learning_rate", value)


def as_before(new: Any, old: Any) -> Any:
    """Return a pytree with the types of another: what a step gives back."""
    return jax.tree.map(lambda one, other: one.astype(other.dtype), new, old)


def blackjax_module(name: str) -> Any:
    """Return a module of blackjax.

    Raises
    ------
    InputError
        If it is not installed.
    """
    try:
        return importlib.import_module(f"blackjax.{name}")
    except ImportError as error:
        rule = "this sampler takes its step from blackjax, which must be installed"
        raise InputError(message(rule, str(error), "pip install 'sgdvi[blackjax]'")) from error

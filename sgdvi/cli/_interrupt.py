"""Ctrl-C that Python would drop."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def no_lost_interrupt() -> Iterator[Callable[[], None]]:
    """Yield a function that raises the `KeyboardInterrupt` that was dropped inside this context, if one was.

    Python drops an exception that is raised in a callback of its garbage collector, and JAX has such a callback: a
    Ctrl-C that arrives there would be written to stderr and forgotten.
    """
    lost: list[bool] = []
    usual = sys.unraisablehook

    def note(unraisable: "sys.UnraisableHookArgs") -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            lost.append(True)
        else:
            usual(unraisable)

    def again() -> None:
        if lost:
            raise KeyboardInterrupt

    sys.unraisablehook = note
    try:
        yield again
    finally:
        sys.unraisablehook = usual

"""Ctrl-C that Python would drop, and SIGTERM as Ctrl-C."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


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


@contextmanager
def interrupt_on_termination() -> Iterator[list[int]]:
    """Treat SIGTERM, by which clusters end a process, as Ctrl-C: what was made is kept. Yield the signals that came.

    A handler of somebody else's is left alone, and Python takes signals in its main thread only.
    """
    told: list[int] = []
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield told
        return

    def interrupt(number: int, frame: Any) -> None:
        told.append(number)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield told
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

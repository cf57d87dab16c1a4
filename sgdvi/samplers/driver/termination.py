"""SIGTERM, by which clusters and service managers end a process: what was made is written first."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class _Terminated(BaseException):
    """Ends a run from between two calls of its loop."""


@contextmanager
def flushed_on_termination(wanted: bool) -> Iterator[Callable[[], None]]:
    """Yield a function that ends the body if the process was told to end; after the body the process does end.

    A handler of the caller's own is left alone, and Python takes signals in its main thread only.
    """
    own = (
        threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
    )
    if not wanted or own:
        yield lambda: None
        return
    told: list[int] = []

    def note(number: int, frame: Any) -> None:
        told.append(number)

    def stop_if_told() -> None:
        if told:
            raise _Terminated

    signal.signal(signal.SIGTERM, note)
    try:
        yield stop_if_told
    except _Terminated:
        pass
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if told:
            os.kill(os.getpid(), signal.SIGTERM)

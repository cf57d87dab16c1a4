"""One writer at a time: a lock with host, process and start time in a store or folder."""

import json
import os
import socket
import time
import uuid
from pathlib import Path
from typing import Any, Self

from zarr.abc.store import Store

from sgdvi._internal.check import InputError, message
from sgdvi.draws.places import delete_key, name_of, read_key, write_new_key

LOCK = ".sgdvi-lock"


class Lock:
    """The right to write to a store or a folder, held from `acquire` to `release`; also a context that is entered held.

    A lock whose process has ended is taken over where that can be known: on the host that wrote it.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._own: bytes = b""

    def acquire(self, break_lock: bool = False) -> Self:
        """Take the lock.

        Parameters
        ----------
        break_lock
            Take it whoever holds it.

        Raises
        ------
        InputError
            If another process writes here, or may do so.
        OSError
            If the lock cannot be written.
        """
        own = json.dumps({**_this_process(), "since": time.strftime("%Y-%m-%d %H:%M:%S"), "token": uuid.uuid4().hex})
        self._own = own.encode()
        held = read_key(self._store, LOCK)
        if held is not None and (break_lock or _has_ended(held)):
            delete_key(self._store, LOCK)
        write_new_key(self._store, LOCK, self._own)
        held = read_key(self._store, LOCK)
        if held != self._own:
            raise InputError(_refusal(self._store, held or b"", "got"))
        return self

    def check(self) -> None:
        """Raise `InputError` if another process has taken the lock since."""
        held = read_key(self._store, LOCK)
        if held != self._own:
            raise InputError(_refusal(self._store, held or b"", "lost the lock to"))

    def release(self) -> None:
        """Give the lock back, unless another process has taken it."""
        if self._own and read_key(self._store, LOCK) == self._own:
            delete_key(self._store, LOCK)
        self._own = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self.release()


def _refusal(store: Store, held: bytes, verb: str) -> str:
    rule = f"only one run at a time may write to {name_of(store)}"
    try:
        record = json.loads(held)
        who = f"process {record['pid']} on {record['host']}, which began on {record['since']}"
        here = record["host"] == socket.gethostname()
    except (ValueError, TypeError, KeyError):
        who, here = "an unreadable lock", False
    advice = "Wait for it, or stop it." if here else "If it has ended, give break_lock=True (--break-lock)."
    return message(rule, who, advice) if verb == "got" else f"{rule}; {verb} {who}. Nothing more was written."


def _this_process() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": _started(os.getpid())}


def _has_ended(held: bytes) -> bool:
    """Whether the process that holds a lock is known to have ended."""
    try:
        record = json.loads(held)
        host, pid, started = record["host"], int(record["pid"]), record["started"]
    except (ValueError, TypeError, KeyError):
        return False
    if host != socket.gethostname():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return _started(pid) != started


def _started(pid: int) -> str:
    """Return when a process was started: numbers of processes are used again. Empty where it cannot be known."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return ""
    # a process that was killed stays in the table until its parent asks for it
    return "ended" if fields[0] in "ZX" else f"{boot} {fields[19]}"

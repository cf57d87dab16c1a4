"""Where a store is: a path, a URL or a Zarr store, and its files as bytes."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from zarr.abc.store import Store
from zarr.buffer import cpu, default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import FsspecStore, LocalStore, WrapperStore

from sgdvi._internal.check import InputError, message, require

OTHER_NAME = "Give another name, or remove it."


def as_store(store: Any) -> Store:
    """Return the Zarr store of a path, an fsspec URL (``s3://bucket/draws.zarr``), or a Zarr store.

    Raises
    ------
    InputError
        For anything else, and for a URL whose fsspec package is not installed.
    """
    if isinstance(store, Store):
        return store
    rule = "store must be a path, an fsspec URL or a Zarr store"
    require(isinstance(store, str | os.PathLike) and str(store), rule, repr(store), 'Give "draws.zarr".')
    text = os.fspath(store)
    require(isinstance(text, str) and "\0" not in text, rule, repr(store), 'Give "draws.zarr".')
    if not is_url(text):
        path = Path(text.removeprefix("file://"))
        try:
            require(not path.is_file(), rule, f"the file {text!r}", OTHER_NAME)
        except OSError as error:
            raise InputError(message(rule, f"{text[:80]!r} ({error.strerror})", OTHER_NAME)) from error
        return LocalStore(path)
    try:
        return FsspecStore.from_url(text)
    except (ImportError, ValueError) as error:
        advice = "Install fsspec and the package of its file system, for example s3fs."
        raise InputError(message(rule, f"{text!r} ({error})", advice)) from error


def is_url(text: str) -> bool:
    """Whether a text names a store of fsspec, not a path."""
    return "://" in text and not text.startswith("file://")


def name_of(store: Store) -> str:
    """Return the name of a store, for messages."""
    while isinstance(store, WrapperStore):
        store = store._store
    return repr(str(store.root)) if isinstance(store, LocalStore) else str(store)


def read_key(store: Store, key: str) -> bytes | None:
    """Return what a file of a store holds; None where there is none."""
    buffer = sync(store.get(key, default_buffer_prototype()))
    return None if buffer is None else buffer.to_bytes()


def write_key(store: Store, key: str, data: bytes) -> None:
    """Write a file of a store."""
    sync(store.set(key, cpu.Buffer.from_bytes(data)))


def write_new_key(store: Store, key: str, data: bytes) -> None:
    """Write a file of a store unless there is one; which of two writers was first shows when it is read again."""
    sync(store.set_if_not_exists(key, cpu.Buffer.from_bytes(data)))


def delete_key(store: Store, key: str) -> None:
    """Remove a file of a store, if there is one."""
    sync(store.delete(key))


def list_keys(store: Store) -> list[str]:
    """Return the names of all files of a store, without those that a killed process was just writing."""
    if not sync(_has_any(store)):
        return []
    return [key for key in sync(_all(store.list_prefix(""))) if not key.endswith(".partial")]


async def _all(keys: AsyncIterator[str]) -> list[str]:
    return [key async for key in keys]


async def _has_any(store: Store) -> bool:
    try:
        return not await store.is_empty("")
    except FileNotFoundError:
        return False

"""What shows that a store is whole: sums of its files and values, and the views of it that keep and check them."""

import hashlib
import json
import zlib
from collections.abc import Mapping
from itertools import product
from typing import Any, NamedTuple, Self

import numpy as np
from zarr.abc.store import Store
from zarr.buffer import cpu
from zarr.storage import WrapperStore

from sgdvi._internal.check import InputError, message, require
from sgdvi.draws.places import name_of, read_key

# The first format had no sums.
FORMAT = 2
MARK = "sgdvi_store"
ROOT = "zarr.json"
CHECKPOINT = "checkpoint"
SUMS = "sums"
_SEAL = "sgdvi_seal"


class Column(NamedTuple):
    """A file that every chunk of draws has: of which array, and which part of its chains."""

    path: str
    place: tuple[int, ...]
    axis: int

    def key(self, chunk: int) -> str:
        """Return the name of the file in chunk number `chunk`."""
        numbers = (*self.place[: self.axis], chunk, *self.place[self.axis :])
        return "/".join([self.path, "c", *map(str, numbers)])


def columns_of(metadata: Mapping[str, Any]) -> list[Column]:
    """Return the files of one chunk of draws, in the order of their sums; `metadata` is path -> that of an array."""
    columns = []
    for path in sorted(metadata):
        names = metadata[path].get("dimension_names") or ()
        if "draw" in names:
            axis = list(names).index("draw")
            shape, chunk = metadata[path]["shape"], metadata[path]["chunk_grid"]["configuration"]["chunk_shape"]
            counts = [-(-size // part) for size, part in zip(shape, chunk, strict=True)]
            del counts[axis]
            columns += [Column(path, place, axis) for place in product(*map(range, counts))]
    return columns


def sum_of(values: Any) -> int:
    """Return the CRC-32 of values: numbers as they lie in memory, texts as JSON."""
    array = np.asarray(values)
    return zlib.crc32(json.dumps(array.tolist()).encode() if array.dtype.kind in "OTU" else np.ascontiguousarray(array))


def hash_of(data: bytes) -> str:
    """Return the hash of metadata, or of the state of the chains."""
    return hashlib.sha256(data).hexdigest()[:32]


def damage(store: Store, what: str) -> InputError:
    """Return the error for a store that is not whole; `what` names the file and says what is wrong with it."""
    name = name_of(store)
    advice = f"`sgdvi doctor {name.strip(chr(39))}` says which draws are whole."
    return InputError(message(f"the store {name} must be whole", what, advice))


class Committed(NamedTuple):
    """What the last commit says of a store: the metadata of its root."""

    text: bytes
    root: Mapping[str, Any]

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Path -> metadata of every array and group."""
        return self.root["consolidated_metadata"]["metadata"]

    @property
    def record(self) -> Mapping[str, Any]:
        """How far the run had come, and the sums."""
        return self.metadata[CHECKPOINT]["attributes"]

    @property
    def sealed(self) -> bool:
        """Whether the store has sums."""
        return self.root["attributes"][MARK] > 1

    @property
    def full_chunks(self) -> int:
        """Chunks that have all their draws."""
        return int(self.record["draws"]) // int(self.record["chunk"])


def read_committed(store: Store) -> Committed | None:
    """Return what the last commit says; None where there was none yet.

    Raises
    ------
    InputError
        If it is no store of `sgdvi.sample`, is of another version, or its metadata are damaged.
    """
    try:
        text = read_key(store, ROOT)
        checkpoint = read_key(store, f"{CHECKPOINT}/{ROOT}")
    except OSError as error:
        raise InputError(message(f"{name_of(store)} must be readable", error.strerror or str(error))) from error
    rule = f"{name_of(store)} must be a store that sgdvi.sample has written"
    if text is None or MARK.encode() not in text:
        if checkpoint is not None and b"fingerprint" in checkpoint:
            raise damage(store, f"{ROOT}, which is {'missing' if text is None else 'not as it was written'}")
        raise InputError(message(rule, "something else"))
    try:
        root = json.loads(text)
        store_format = root["attributes"][MARK]
        if store_format in range(1, FORMAT + 1):
            if root.get("consolidated_metadata") is None:
                return None
            committed = Committed(text, root)
            whole = root["attributes"][_SEAL] == _seal(root) if committed.sealed else committed.full_chunks >= 0
    except (ValueError, TypeError, KeyError, AttributeError):
        raise damage(store, f"{ROOT}, which is not as it was written") from None
    advice = "Open it with the version of sgdvi that wrote it."
    require(store_format in range(1, FORMAT + 1), f"the store must have a format up to {FORMAT}", store_format, advice)
    if not whole:
        raise damage(store, f"{ROOT}, which is not as it was written")
    return committed


def _seal(root: Mapping[str, Any]) -> str:
    attributes = {name: value for name, value in root["attributes"].items() if name != _SEAL}
    return hash_of(json.dumps({**root, "attributes": attributes}, sort_keys=True, separators=(",", ":")).encode())


class SealingStore(WrapperStore[Store]):
    """The view of the writer: it notes the sums of the files of draws, and seals the metadata of the root."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.sums: dict[str, int] = {}
        self.seals = True

    def _with_store(self, store: Store) -> Self:
        return self

    async def set(self, key: str, value: Any) -> None:
        """See `zarr.abc.store.Store`."""
        await self._store.set(key, self._noted(key, value))

    def set_sync(self, key: str, value: Any) -> None:
        """See `zarr.abc.store.Store`."""
        super().set_sync(key, self._noted(key, value))

    def _noted(self, key: str, value: Any) -> Any:
        if self.seals and "/c/" in key:
            self.sums[key] = zlib.crc32(np.ascontiguousarray(value.as_numpy_array()))
        elif self.seals and key == ROOT:
            root = json.loads(value.to_bytes())
            root["attributes"][_SEAL] = _seal(root)
            return cpu.Buffer.from_bytes(json.dumps(root).encode())
        return value


class CheckingStore(WrapperStore[Store]):
    """The view of a reader: the metadata of one commit, and only files of draws that are those of the run.

    In the first format a chunk of zeros has no file, so a missing one is damage only where not all values can be 0.
    """

    def __init__(self, store: Store, committed: Committed, sums: Mapping[str, int] | None = None) -> None:
        super().__init__(store)
        self._committed, self.sums = committed, dict(sums or {})
        kinds = {path: str(entry.get("data_type", "")) for path, entry in committed.metadata.items()}
        self._may_miss = frozenset(
            path for path, kind in kinds.items() if not committed.sealed and not kind.startswith(("float", "string"))
        )

    def _with_store(self, store: Store) -> Self:
        return type(self)(store, self._committed, self.sums)

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        """See `zarr.abc.store.Store`."""
        if key == ROOT:
            return cpu.Buffer.from_bytes(self._committed.text)
        return self._checked(key, await self._store.get(key, prototype, byte_range))

    def get_sync(self, key: str, *, prototype: Any = None, byte_range: Any = None) -> Any:
        """See `zarr.abc.store.Store`."""
        if key == ROOT:
            return cpu.Buffer.from_bytes(self._committed.text)
        return self._checked(key, super().get_sync(key, prototype=prototype, byte_range=byte_range))

    def _checked(self, key: str, value: Any) -> Any:
        path, _, chunk = key.partition("/c/")
        if not chunk:
            return value
        if value is None:
            if path in self._may_miss:
                return None
            raise damage(self, f"{key}, which is missing")
        wanted = self.sums.get(key)
        if wanted is not None and zlib.crc32(np.ascontiguousarray(value.as_numpy_array())) != wanted:
            raise damage(self, f"{key}, which is not as it was written")
        return value

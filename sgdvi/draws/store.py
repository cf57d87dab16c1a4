"""Draws on disk while they are made: a Zarr group that only ever shows complete chunks, with its checkpoint."""

import errno
import json
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import zarr
from zarr.abc.store import Store
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec
from zarr.errors import ZarrUserWarning

from sgdvi._internal.check import InputError, message, require
from sgdvi.draws.committed import check_complete, checked, read_state
from sgdvi.draws.integrity import (
    CHECKPOINT,
    FORMAT,
    MARK,
    ROOT,
    SUMS,
    Committed,
    SealingStore,
    columns_of,
    hash_of,
    read_committed,
    sum_of,
)
from sgdvi.draws.lock import LOCK
from sgdvi.draws.places import OTHER_NAME, delete_key, list_keys, name_of, read_key, write_key
from sgdvi.draws.same_run import check_same_run

# Blosc and several object stores stop at 2 GB; this is far below.
_MOST_FILE_BYTES = 64 << 20
# Faster than Zarr's default, and smaller: once like bytes stand together, the exponents of draws compress. The checksum
# is for readers that know nothing of ours.
_PACKING = [BloscCodec(cname="lz4", clevel=1, shuffle="shuffle"), Crc32cCodec()]
_TEXT_PACKING = [ZstdCodec(), Crc32cCodec()]
# A chunk that holds only the fill value is written too: one that is missing is damage.
_ALL_CHUNKS: Any = {"write_empty_chunks": True}
# Chunks of draws whose sums stand in one file.
_ROWS = 1024


class Layout(NamedTuple):
    """A variable of a store.

    Attributes
    ----------
    group, name
        Where it stands.
    dtype
        NumPy type.
    dims, shape
        Names and sizes of its axes; the axis ``draw`` has size 0 and grows.
    """

    group: str
    name: str
    dtype: Any
    dims: tuple[str, ...]
    shape: tuple[int, ...]


class Progress(NamedTuple):
    """How far the run in a store has come: steps of every chain, draws kept, seconds spent."""

    steps: int
    draws: int
    seconds: float


@contextmanager
def quiet_format() -> Iterator[None]:
    """Leave out Zarr's warning that its format has no text for consolidated metadata yet.

    Filters of warnings are those of all threads: hold it in the one that outlives the writing.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ZarrUserWarning)
        yield


class DrawStore:
    """The store of one run, for the process that holds its lock.

    Draws are written first, and become visible when the consolidated metadata of the root are replaced, which is one
    atomic write: readers that use them (`arviz.from_zarr`, `xarray.open_datatree`) see all variables with the same
    number of complete draws at every moment, also after the process was killed. The state of the chains is written to
    one of two places in turn; which of them counts is part of the same metadata, and so are the sums by which
    `sgdvi.draws.open_store` knows whether a file is the one that was written.

    Attributes
    ----------
    state
        State of the chains when it was opened.
    progress
        How far the run has come.
    """

    def __init__(self, store: Store, state: bytes, committed: Committed | None = None) -> None:
        self._store = store
        self.state = state
        self._view = SealingStore(store)
        self._view.seals = self._sealed = committed is None or committed.sealed
        self._root: Any = zarr.open_group(self._view, mode="r+", use_consolidated=committed is not None)
        self._checkpoint: Any = self._root[CHECKPOINT]
        self._arrays: dict[str, Any] = {
            f"{group}/{name}": array.with_config(_ALL_CHUNKS)
            for group, own in self._root.groups()
            for name, array in own.arrays()
        }
        self._growing = {
            path: array for path, array in self._arrays.items() if "draw" in array.metadata.dimension_names
        }
        self._columns = columns_of({path: array.metadata.to_dict() for path, array in self._growing.items()})
        record: Any = self._checkpoint.attrs
        self.progress = Progress(record.get("steps", 0), record.get("draws", 0), record.get("seconds", 0.0))

    @classmethod
    @quiet_format()
    def create(
        cls,
        store: Store,
        layouts: Sequence[Layout],
        *,
        chunk: int,
        attributes: Mapping[str, Mapping[str, Any]],
        fixed: Mapping[str, np.ndarray],
        fingerprint: Mapping[str, Any],
        state: bytes,
    ) -> "DrawStore":
        """Make an empty store; an unfinished one of a run that never came to its first draw is replaced.

        Parameters
        ----------
        store
            See `as_store`.
        layouts
            All variables.
        chunk
            Draws per chunk.
        attributes
            Group -> its attributes.
        fixed
            ``group/name`` -> values of the variables without an axis ``draw``.
        fingerprint
            What decides the draws: see `check_fingerprint`.
        state
            State of the chains before the first step.

        Raises
        ------
        OSError
            If the store cannot be written.
        """
        with writing(store, "nothing"):
            for key in list_keys(store):
                if key != LOCK:
                    delete_key(store, key)
            root: Any = zarr.create_group(store, zarr_format=3, attributes={MARK: FORMAT})
            for group, own in attributes.items():
                root.create_group(group, attributes=dict(own))
            for group, name, dtype, dims, shape in layouts:
                chunks = _chunks(dims, shape, chunk, np.dtype(dtype).itemsize)
                root[group].create_array(
                    name,
                    shape=shape,
                    chunks=chunks,
                    dtype=dtype,
                    dimension_names=dims,
                    compressors=_TEXT_PACKING if dtype is str else _PACKING,
                    fill_value=_nothing(dtype),
                )
            sums = {path: [sum_of(values)] for path, values in fixed.items()}
            for path, values in fixed.items():
                root[path].with_config(_ALL_CHUNKS)[...] = values
            own = {"fingerprint": dict(fingerprint), "chunk": chunk, "fixed": sums, "rows": 0}
            place = root.create_group(CHECKPOINT, attributes=own)
            for slot in range(2):
                place.create_array(
                    f"state_{slot}", shape=(len(state),), dtype="uint8", dimension_names=(f"byte_{slot}",)
                )
            growing = {f"{layout.group}/{layout.name}": root[layout.group][layout.name] for layout in layouts}
            files = len(columns_of({path: array.metadata.to_dict() for path, array in growing.items()}))
            place.create_array(
                SUMS,
                shape=(0, files),
                chunks=(_ROWS, files),
                dtype="uint32",
                dimension_names=("full_chunk", "file"),
                compressors=_PACKING,
            )
        made = cls(store, state)
        made.commit(Progress(0, 0, 0.0), {}, state)
        return made

    @classmethod
    def open(cls, store: Store) -> "DrawStore | None":
        """Open the store of an earlier run; None where there is none, or none that came to its first commit.

        Raises
        ------
        InputError
            If something else has this name.
        """
        try:
            keys = [key for key in list_keys(store) if key != LOCK]
        except OSError as error:
            raise InputError(message(f"{name_of(store)} must be readable", error.strerror or str(error))) from error
        if not keys:
            return None
        rule = "store must be a new name, or a store that sgdvi.sample has written"
        ours = any(key.startswith(f"{CHECKPOINT}/") for key in keys) or MARK.encode() in (read_key(store, ROOT) or b"")
        require(ours, rule, f"{name_of(store)}, which is neither", OTHER_NAME)
        committed = read_committed(store)
        if committed is None:
            return None
        committed, _ = checked(store, committed)
        check_complete(store, committed)
        # what was written after the last commit is written again; until then all metadata must be those of the commit
        with writing(store, f"{committed.record['draws']} draws"):
            for path, entry in committed.metadata.items():
                own = {name: value for name, value in entry.items() if name != "consolidated_metadata"}
                write_key(store, f"{path}/{ROOT}", json.dumps(own).encode())
        return cls(store, read_state(store, committed), committed)

    @property
    def place(self) -> Store:
        """The Zarr store."""
        return self._store

    @property
    def chunk(self) -> int:
        """Draws per chunk."""
        return int(self._checkpoint.attrs["chunk"])

    def check_fingerprint(self, fingerprint: Mapping[str, Any]) -> None:
        """Check that the run in the store is the one that goes on.

        Raises
        ------
        InputError
            Names what differs: the model, the data, the key, a setting, a version.
        """
        then: Any = self._checkpoint.attrs["fingerprint"]
        check_same_run(then, fingerprint, name_of(self._store))

    def read_chunk(self, name: str) -> np.ndarray:
        """Return the draws of the last, incomplete chunk of the variable ``group/name``, axes (draw, chain, ...)."""
        begin = self.progress.draws // self.chunk * self.chunk
        array = self._arrays[name]
        axis = array.metadata.dimension_names.index("draw")
        return np.moveaxis(array[(slice(None),) * axis + (slice(begin, self.progress.draws),)], axis, 0)

    def commit(
        self,
        progress: Progress,
        chunk: Mapping[str, np.ndarray],
        state: bytes,
        fixed: Mapping[str, np.ndarray] | None = None,
        attributes: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Write the current chunk and the state of the chains, and make them visible; call it within `quiet_format`.

        Parameters
        ----------
        progress
            How far the run has come.
        chunk
            ``group/name`` -> draws of the chunk that the last draw belongs to, axes (draw, chain, ...), from its
            first draw on.
        state
            State of the chains.
        fixed, attributes
            New values of variables without an axis ``draw``, and of attributes of groups.

        Raises
        ------
        OSError
            If the store cannot be written. It shows the draws of the last commit then.
        """
        number = max(0, progress.draws - 1) // self.chunk
        begin = number * self.chunk
        count = progress.draws - begin
        changed_values = {
            path: values
            for path, values in (fixed or {}).items()
            if not self._sealed or self._checkpoint.attrs["fixed"][path] != [sum_of(values)]
        }
        with writing(self._store, f"{self.progress.draws} draws"):
            if changed_values and self._sealed:
                self._announce(changed_values)
            if progress.draws > self.progress.draws or not self._sealed:
                for array in self._growing.values():
                    array.resize(_grown(array, progress.draws))
                for name, values in chunk.items():
                    array = self._arrays[name]
                    axis = array.metadata.dimension_names.index("draw")
                    where = (slice(None),) * axis + (slice(begin, progress.draws),)
                    array[where] = np.moveaxis(values[:count], 0, axis)
            for name, values in changed_values.items():
                self._arrays[name][...] = values
            for group, changed in (attributes or {}).items():
                self._root[group].attrs.update(changed)
            slot = 1 - int(self._checkpoint.attrs.get("slot", 1))
            self._arrays[f"{CHECKPOINT}/state_{slot}"][...] = np.frombuffer(state, np.uint8)
            record: dict[str, Any] = {**progress._asdict(), "slot": slot}
            if self._sealed:
                record |= self._sums(progress, number, chunk, changed_values) | {"state": hash_of(state)}
            self._checkpoint.attrs.update(record)
            zarr.consolidate_metadata(self._view)
        self.progress = progress

    def _announce(self, fixed: Mapping[str, np.ndarray]) -> None:
        """Commit that variables without an axis of draws are about to change: until then both values are right."""
        sums = dict(self._checkpoint.attrs["fixed"])
        sums |= {path: [*sums[path], sum_of(values)] for path, values in fixed.items()}
        self._checkpoint.attrs.update({"fixed": sums})
        zarr.consolidate_metadata(self._view)

    def _sums(
        self, progress: Progress, number: int, chunk: Mapping[str, np.ndarray], fixed: Mapping[str, np.ndarray]
    ) -> dict[str, Any]:
        """Write the sums of the files of a chunk that has become full, and return those that the commit holds."""
        before = self._checkpoint.attrs
        sums = {"fixed": before["fixed"] | {path: [sum_of(values)] for path, values in fixed.items()}}
        rest = progress.draws % self.chunk
        if rest:
            return sums | {"tail": {path: sum_of(chunk[path][:rest]) for path in self._growing}}
        if progress.draws > self.progress.draws:
            row = np.array([[self._view.sums[column.key(number)] for column in self._columns]], np.uint32)
            array = self._arrays[f"{CHECKPOINT}/{SUMS}"]
            array.resize((number + 1, len(self._columns)))
            array[number : number + 1] = row
            sums["rows"] = zlib.crc32(row, before["rows"])
        self._view.sums.clear()
        return sums | {"tail": {}}


@contextmanager
def writing(store: Store, visible: str) -> Iterator[None]:
    """Say of an `OSError` which store could not be written, and what it shows."""
    try:
        yield
    except OSError as error:
        got = f"{error.strerror or error} (the store shows {visible})"
        todo = "Make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "See that it can be written to"
        text = message(f"{name_of(store)} must take what the run writes", got, f"{todo}, then go on with resume=True.")
        raise OSError(error.errno, text) from error


def _nothing(dtype: Any) -> Any:
    """Return the value of what was never written: one that no draw has, where there is one."""
    if dtype is str:
        return ""
    kind = np.dtype(dtype)
    if kind.kind in "iu":
        return np.iinfo(kind).min if kind.kind == "i" else np.iinfo(kind).max
    return np.nan if kind.kind in "fc" else False


def _grown(array: Any, draws: int) -> tuple[int, ...]:
    return tuple(
        draws if dim == "draw" else size for dim, size in zip(array.metadata.dimension_names, array.shape, strict=True)
    )


def _chunks(dims: tuple[str, ...], shape: tuple[int, ...], chunk: int, itemsize: int) -> tuple[int, ...]:
    """All chains side by side, unless a file would be too large."""
    sizes = [max(1, chunk if dim == "draw" else size) for dim, size in zip(dims, shape, strict=True)]
    if dims[:1] == ("chain",):
        per_chain = itemsize * int(np.prod(sizes[1:]))
        sizes[0] = max(1, min(sizes[0], _MOST_FILE_BYTES // max(1, per_chain)))
    return tuple(sizes)

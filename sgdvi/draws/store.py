"""Draws on disk while they are made: a Zarr group that only ever shows complete chunks, with its checkpoint."""

import errno
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import zarr
from zarr.abc.store import Store
from zarr.codecs import BloscCodec
from zarr.errors import ZarrUserWarning
from zarr.storage import FsspecStore, LocalStore

from sgdvi._internal.check import InputError, message, require

_FORMAT = 1
_MARK = "sgdvi_store"
_CHECKPOINT = "checkpoint"
# Blosc and several object stores stop at 2 GB; this is far below.
_MOST_FILE_BYTES = 64 << 20
# Faster than Zarr's default, and smaller: once like bytes stand together, the exponents of draws compress.
_PACKING = BloscCodec(cname="lz4", clevel=1, shuffle="shuffle")
_OTHER_NAME = "Give another name, or remove it."


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
    if "://" not in text or text.startswith("file://"):
        path = Path(text.removeprefix("file://"))
        require(not path.is_file(), rule, f"the file {text!r}", _OTHER_NAME)
        return LocalStore(path)
    try:
        return FsspecStore.from_url(text)
    except (ImportError, ValueError) as error:
        advice = "Install fsspec and the package of its file system, for example s3fs."
        raise InputError(message(rule, f"{text!r} ({error})", advice)) from error


@contextmanager
def quiet_format() -> Iterator[None]:
    """Leave out Zarr's warning that its format has no text for consolidated metadata yet.

    Filters of warnings are those of all threads: hold it in the one that outlives the writing.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ZarrUserWarning)
        yield


class DrawStore:
    """The store of one run.

    Draws are written first, and become visible when the consolidated metadata of the root are replaced, which is one
    atomic write: readers that use them (`arviz.from_zarr`, `xarray.open_datatree`) see all variables with the same
    number of complete draws at every moment, also after the process was killed. The state of the chains is written to
    one of two places in turn; which of them counts is part of the same metadata.
    """

    def __init__(self, store: Store, progress: Progress) -> None:
        self._store = store
        self.progress = progress
        self._root: Any = zarr.open_group(store, mode="r+", use_consolidated=False)
        self._checkpoint: Any = self._root[_CHECKPOINT]
        self._arrays: dict[str, Any] = {
            f"{group}/{name}": array for group, own in self._root.groups() for name, array in own.arrays()
        }
        self._growing = [a for a in self._arrays.values() if "draw" in a.metadata.dimension_names]

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
        with _writing(store, "nothing"):
            root: Any = zarr.create_group(store, overwrite=True, zarr_format=3, attributes={_MARK: _FORMAT})
            for group, own in attributes.items():
                root.create_group(group, attributes=dict(own))
            for group, name, dtype, dims, shape in layouts:
                chunks = _chunks(dims, shape, chunk, np.dtype(dtype).itemsize)
                packed: dict[str, Any] = {} if dtype is str else {"compressors": _PACKING}
                root[group].create_array(name, shape=shape, chunks=chunks, dtype=dtype, dimension_names=dims, **packed)
            for path, values in fixed.items():
                root[path][...] = values
            place = root.create_group(_CHECKPOINT, attributes={"fingerprint": dict(fingerprint), "chunk": chunk})
            for slot in range(2):
                place.create_array(
                    f"state_{slot}", shape=(len(state),), dtype="uint8", dimension_names=(f"byte_{slot}",)
                )
        made = cls(store, Progress(0, 0, 0.0))
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
        if not _exists(store):
            return None
        rule = "store must be a new name, or a store that sgdvi.sample has written"
        try:
            root: Any = zarr.open_group(store, mode="r")
        except Exception as error:
            raise InputError(message(rule, f"{_name(store)}, which is neither", _OTHER_NAME)) from error
        require(_MARK in root.attrs, rule, f"{_name(store)}, which is neither", _OTHER_NAME)
        advice = "Open it with the version of sgdvi that wrote it."
        require(root.attrs[_MARK] == _FORMAT, f"the store must have format {_FORMAT}", root.attrs[_MARK], advice)
        if root.metadata.consolidated_metadata is None:
            return None
        record = dict(root[_CHECKPOINT].attrs)
        opened = cls(store, Progress(record["steps"], record["draws"], record["seconds"]))
        # what was written after the last commit is written again; until then the record must be that of the commit
        with _writing(store, f"{opened.progress.draws} draws"):
            opened._checkpoint.attrs.update(record)
        return opened

    @property
    def place(self) -> Store:
        """The Zarr store."""
        return self._store

    @property
    def chunk(self) -> int:
        """Draws per chunk."""
        return int(self._checkpoint.attrs["chunk"])

    @property
    def state(self) -> bytes:
        """State of the chains after the last commit."""
        slot = self._checkpoint.attrs["slot"]
        return np.asarray(self._arrays[f"{_CHECKPOINT}/state_{slot}"][...]).tobytes()

    def check_fingerprint(self, fingerprint: Mapping[str, Any]) -> None:
        """Check that the run in the store is the one that goes on.

        Raises
        ------
        InputError
            Names what differs: the model, the data, the key, a setting, a version.
        """
        then: Any = self._checkpoint.attrs["fingerprint"]
        for name in [*fingerprint, *(set(then) - set(fingerprint))]:
            now, before = fingerprint.get(name), then.get(name)
            rule = f"a stored run goes on only with the {name} that it began with"
            advice = "Restore it, or give another store."
            if name in ("model", "data", "start", "functionals"):
                require(now == before, rule, f"another {name} than that of {_name(self._store)}", advice)
            require(now == before, rule, f"{now!r} ({before!r} in {_name(self._store)})", advice)

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
        begin = max(0, progress.draws - 1) // self.chunk * self.chunk
        count = progress.draws - begin
        with _writing(self._store, f"{self.progress.draws} draws"):
            for array in self._growing:
                array.resize(_grown(array, progress.draws))
            for name, values in chunk.items():
                array = self._arrays[name]
                axis = array.metadata.dimension_names.index("draw")
                where = (slice(None),) * axis + (slice(begin, progress.draws),)
                array[where] = np.moveaxis(values[:count], 0, axis)
            for name, values in (fixed or {}).items():
                self._arrays[name][...] = values
            for group, changed in (attributes or {}).items():
                self._root[group].attrs.update(changed)
            slot = 1 - int(self._checkpoint.attrs.get("slot", 1))
            self._arrays[f"{_CHECKPOINT}/state_{slot}"][...] = np.frombuffer(state, np.uint8)
            self._checkpoint.attrs.update({**progress._asdict(), "slot": slot})
            zarr.consolidate_metadata(self._store)
        self.progress = progress


@contextmanager
def _writing(store: Store, visible: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        got = f"{error.strerror or error} (the store shows {visible})"
        todo = "Make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "See that it can be written to"
        text = message(f"{_name(store)} must take what the run writes", got, f"{todo}, then go on with resume=True.")
        raise OSError(error.errno, text) from error


def _exists(store: Store) -> bool:
    if isinstance(store, LocalStore):
        # a file that was being written when the process was killed is not a store
        return any(path.is_file() and path.suffix != ".partial" for path in Path(store.root).rglob("*"))
    try:
        zarr.open(store, mode="r")
    except FileNotFoundError:
        return False
    return True


def _name(store: Store) -> str:
    return repr(str(store.root)) if isinstance(store, LocalStore) else str(store)


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

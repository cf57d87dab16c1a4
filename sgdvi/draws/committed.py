"""The draws that the last commit of a store holds: how they are read, and what is whole of a store that is damaged."""

from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
import zarr
from xarray import DataTree

from sgdvi._internal.check import InputError, message, require, whole
from sgdvi.draws.integrity import (
    CHECKPOINT,
    MARK,
    ROOT,
    SUMS,
    CheckingStore,
    Column,
    Committed,
    columns_of,
    damage,
    hash_of,
    read_committed,
    sum_of,
)
from sgdvi.draws.places import as_store, list_keys, name_of, read_key
from sgdvi.draws.tree import plain_text

# A reader may come between two commits, and then sees files of the one with the sums of the other.
_TRIES = 3


class Condition(NamedTuple):
    """What `inspect` finds in a store.

    Attributes
    ----------
    draws
        Committed draws of every chain.
    whole
        Of them, how many from the first on are whole in all variables.
    problems
        One line for each file that is not.
    can_resume
        Whether the run can go on.
    """

    draws: int
    whole: int
    problems: tuple[str, ...]
    can_resume: bool


def open_store(store: Any, draws: int | None = None) -> DataTree:
    """Open the draws that `sgdvi.sample` has written to `store`, or is writing: all chunks that are complete.

    Values are read when they are used. A tree that was opened while the run went on keeps the number of draws of that
    moment; open it again to see more.

    Parameters
    ----------
    store
        Path, fsspec URL or Zarr store.
    draws
        Of a damaged store: how many draws of every chain to save, at most as many as are whole. All of it is read
        first. Damaged variables that have no axis of draws are left out.

    Returns
    -------
    DataTree
        Groups ``posterior``, ``sample_stats``, ``chain_status``.

    Raises
    ------
    InputError
        If it is no such store, holds no draws yet, or is damaged; for draws that are read later, when they are read.
    """
    place = as_store(store)
    committed = read_committed(place)
    if committed is None:
        raise InputError(message(f"{name_of(place)} must hold draws", "a run that has not begun", "Try again later."))
    lost: frozenset[str] = frozenset()
    if draws is None:
        committed, view = checked(place, committed)
    else:
        kept = whole("draws", draws, least=1)
        safe = inspect(place).whole
        require(kept <= safe, f"draws must be at most those that are whole in {name_of(place)}, {safe}", kept)
        view, lost = _saved(place, committed)
    # draws are counted, so their numbers are never read: a long run has thousands of chunks
    source: Any = view
    tree = xr.open_datatree(source, engine="zarr", consolidated=True, drop_variables=["draw", *lost])
    groups = {name: node.to_dataset() for name, node in tree.children.items() if name != CHECKPOINT}
    for name in groups:
        if f"{name}/draw" in committed.metadata:
            groups[name] = _with_draws(groups[name], committed.record["draws"]).isel(draw=slice(draws))
    return plain_text(DataTree.from_dict(groups))


def _with_draws(data: xr.Dataset, draws: int) -> xr.Dataset:
    chain = {"chain": np.arange(data.sizes["chain"]), "draw": np.arange(draws)}
    rest = {name: values.variable for name, values in data.coords.items() if name != "chain"}
    variables = {name: values.variable for name, values in data.data_vars.items()}
    return xr.Dataset(variables, {**chain, **rest}, data.attrs)


def is_store(store: Any) -> bool:
    """Whether `sgdvi.sample` has written this store, damaged or not."""
    place = as_store(store)
    return MARK.encode() in (read_key(place, ROOT) or b"") or b"fingerprint" in (
        read_key(place, f"{CHECKPOINT}/{ROOT}") or b""
    )


def checked(place: Any, committed: Committed) -> tuple[Committed, CheckingStore]:
    """Return what the last commit says, and the view that reads its draws, after all but full chunks was seen.

    Raises
    ------
    InputError
        If something is damaged; the message names the file.
    """
    for left in reversed(range(_TRIES)):
        try:
            return committed, _checked(place, committed)
        except InputError:
            newer = read_committed(place)
            if not left or newer is None or newer.text == committed.text:
                raise
            committed = newer
    raise AssertionError  # the loop returns or raises


def _checked(place: Any, committed: Committed) -> CheckingStore:
    view = CheckingStore(place, committed)
    if not committed.sealed:
        return view
    record, root = committed.record, zarr.open_group(view, mode="r", use_consolidated=True)
    view.sums = _sums(view, root, committed)
    for path, value in record["tail"].items():
        axis = committed.metadata[path]["dimension_names"].index("draw")
        where = (slice(None),) * axis + (slice(committed.full_chunks * record["chunk"], record["draws"]),)
        if sum_of(np.moveaxis(np.asarray(_read(view, root, path, where)), axis, 0)) != value:
            raise damage(view, f"the last file of {path}, which is not as it was written")
    for path in record["fixed"]:
        _check_fixed(view, root, committed, path)
    return view


def _sums(view: CheckingStore, root: Any, committed: Committed) -> dict[str, int]:
    """Return the sums of the files of full chunks."""
    rows = np.asarray(_read(view, root, f"{CHECKPOINT}/{SUMS}", slice(0, committed.full_chunks)))
    if sum_of(rows) != committed.record["rows"]:
        raise damage(view, f"{CHECKPOINT}/{SUMS}, which is not as it was written")
    columns = columns_of(committed.metadata)
    return {
        column.key(chunk): int(value)
        for chunk, row in enumerate(rows)
        for column, value in zip(columns, row, strict=True)
    }


def _check_fixed(view: CheckingStore, root: Any, committed: Committed, path: str) -> None:
    if sum_of(_read(view, root, path, ...)) not in committed.record["fixed"][path]:
        raise damage(view, f"{path}, which is not as it was written")


def _saved(place: Any, committed: Committed) -> tuple[CheckingStore, frozenset[str]]:
    """Return a view that checks what can be checked, and the names of variables without draws that are lost."""
    view = CheckingStore(place, committed)
    root, lost = zarr.open_group(view, mode="r", use_consolidated=True), set()
    if committed.sealed:
        with suppress(InputError):  # each file has a checksum of its own
            view.sums = _sums(view, root, committed)
    for path in committed.record.get("fixed", {}):
        try:
            _check_fixed(view, root, committed, path)
        except InputError:
            lost.add(path.rpartition("/")[2])
    return view, frozenset(lost)


def read_state(place: Any, committed: Committed) -> bytes:
    """Return the state of the chains at the last commit.

    Raises
    ------
    InputError
        If it is not what was written.
    """
    view = CheckingStore(place, committed)
    path = f"{CHECKPOINT}/state_{committed.record['slot']}"
    root = zarr.open_group(view, mode="r", use_consolidated=True)
    state = np.asarray(_read(view, root, path, ...)).tobytes()
    if committed.sealed and hash_of(state) != committed.record["state"]:
        raise damage(view, f"{path}, which is not as it was written")
    return state


def check_complete(place: Any, committed: Committed) -> None:
    """Raise `InputError` if a file of a full chunk is missing; it is not read, as that can take long."""
    if committed.sealed:
        there = frozenset(list_keys(place))
        for column in columns_of(committed.metadata):
            for chunk in range(committed.full_chunks):
                if column.key(chunk) not in there:
                    raise damage(place, f"{column.key(chunk)}, which is missing")


def inspect(store: Any) -> Condition:
    """Read all of a store and say what is whole.

    Parameters
    ----------
    store
        See `open_store`.

    Raises
    ------
    InputError
        If it is no store of `sgdvi.sample`, or its metadata are damaged, without which no draw can be read.
    """
    place = as_store(store)
    committed = read_committed(place)
    if committed is None:
        return Condition(0, 0, (), True)
    record, problems, can_resume = committed.record, [], True
    safe = draws = int(record["draws"])
    try:
        committed, view = checked(place, committed)
    except InputError as error:
        view, can_resume, safe = CheckingStore(place, committed), False, committed.full_chunks * record["chunk"]
        problems.append(_reason(error))
    try:
        read_state(place, committed)
    except InputError as error:
        can_resume = False
        problems.append(_reason(error))
    root = zarr.open_group(view, mode="r", use_consolidated=True)
    for column in columns_of(committed.metadata):
        for chunk in range(-(-draws // int(record["chunk"]))):
            problem = _problem(view, root, column, chunk)
            if problem and problem not in problems:
                problems.append(problem)
            if problem:
                can_resume = can_resume and view.sums.get(column.key(chunk)) is not None
                safe = min(safe, chunk * int(record["chunk"]))
    return Condition(draws, safe, tuple(problems), can_resume and not problems)


def _problem(view: CheckingStore, root: Any, column: Column, chunk: int) -> str:
    array = root[column.path]
    sizes = iter(zip(column.place, array.chunks[: column.axis] + array.chunks[column.axis + 1 :], strict=True))
    where = tuple(
        slice(chunk * size, (chunk + 1) * size) if axis == column.axis else _part(*next(sizes))
        for axis, size in enumerate(array.chunks)
    )
    try:
        _read(view, root, column.path, where, column.key(chunk))
    except InputError as error:
        return _reason(error)
    return ""


def _part(number: int, size: int) -> slice:
    return slice(number * size, (number + 1) * size)


def _reason(error: InputError) -> str:
    return str(error).partition("; got ")[2].partition(". `")[0]


def _read(view: CheckingStore, root: Any, path: str, where: Any, file: str = "") -> Any:
    try:
        return root[path][where]
    except InputError:
        raise
    except Exception as error:  # decoders raise what they like
        reason = " ".join(str(error).split())[:80]
        raise damage(view, f"{file or path}, which cannot be read ({reason})") from error

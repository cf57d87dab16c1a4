"""The way of the draws into a store: chunk by chunk, with the state of the chains, and back when a run goes on."""

import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from zarr.abc.store import Store

from sgdvi._internal.check import InputError, message, require
from sgdvi.draws.committed import open_store
from sgdvi.draws.lock import Lock
from sgdvi.draws.places import as_store
from sgdvi.draws.store import DrawStore, Layout, Progress, quiet_format, writing
from sgdvi.draws.tree import DataTree, axes_of, run_attributes
from sgdvi.samplers.driver import recorder
from sgdvi.samplers.driver.devices import Plan, plain
from sgdvi.samplers.driver.facts import RunFacts
from sgdvi.samplers.driver.loop import Chains, status_of

# A chunk is written when it is full, or this old: nobody waits long for draws, or loses more than this.
_COMMIT_SECONDS = 5.0
# A short run can be made longer later: its chunks are not as short as it is.
_LEAST_CHUNK = 1024
_GROUPS = ("posterior", "sample_stats")


def open_recorder(facts: RunFacts, store: Any, resume: bool, state: Chains, break_lock: bool) -> "StoreRecorder":
    """Begin a run in a store, or go on with the one it holds; `state` is that of the first step.

    Raises
    ------
    InputError
        If the store exists and is not to be gone on with, holds another run, is damaged, or is being written.
    OSError
        If it cannot be written.
    """
    place = as_store(store)
    lock = Lock(place)
    with writing(place, "nothing"):
        lock.acquire(break_lock)
    try:
        opened, state = _open_or_create(facts, place, store, resume, state)
        return StoreRecorder(facts, opened, state, lock)
    except BaseException:
        lock.release()
        raise


def _open_or_create(facts: RunFacts, place: Store, store: Any, resume: bool, state: Chains) -> tuple[DrawStore, Chains]:
    existing = DrawStore.open(place)
    if existing is None:
        return _create(facts, place, state), state
    advice = "Go on with it with resume=True, or give another name."
    require(resume, "store must be a new name", f"{str(store)!r}, which holds {existing.progress.draws} draws", advice)
    existing.check_fingerprint(facts.fingerprint())
    rule = f"num_steps must be at least what the store holds, {existing.progress.draws} draws"
    require(facts.num_draws >= existing.progress.draws, rule, f"{facts.num_draws} draws", "Read the store instead.")
    return existing, _from_bytes(existing.state, state)


def open_together(
    facts: RunFacts, store: Any, resume: bool, state: Chains, plan: Plan, break_lock: bool
) -> recorder.Recorder:
    """Open the recorder of a store in every process: the first one writes, the others follow.

    Raises
    ------
    InputError
        See `open_recorder`; if the first process raises, so do all.
    """
    opened: StoreRecorder | None = None
    failure: Exception = InputError(message("the first process must open the store", "an error there", "See its text."))
    if plan.writes:
        try:
            opened = open_recorder(facts, store, resume, state, break_lock)
        except Exception as error:  # whatever it is, the others must not wait for ever
            failure = error
    if not plan.agree(int(opened is not None)):
        raise failure
    done, capacity = plan.agree(opened.done if opened else 0), plan.agree(opened.capacity if opened else 0)
    shared = plan.share(opened.state if opened else state)
    return opened or Follower(as_store(store), shared, done, capacity)


class Follower:
    """A process that does not write: its part of the chains goes to the one that does."""

    def __init__(self, place: Any, state: Chains, done: int, capacity: int) -> None:
        self._place, self.state, self.done, self.capacity = place, state, done, capacity

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        pass

    def room(self, first: int) -> int:
        """See `Recorder`."""
        return self.capacity

    def put(self, first: int, count: int, values: Mapping[str, jax.Array], stats: Mapping[str, jax.Array]) -> None:
        """See `Recorder`."""

    def reached(self, done: int, state: Chains) -> None:
        """See `Recorder`."""
        self.done, self.state = done, state

    def tree(self) -> DataTree:
        """See `Recorder`."""
        return open_store(self._place)


class StoreRecorder:
    """Draws in a store, chunk by chunk, with the state of the chains; a chunk is written while the next steps run.

    Draws are reported as made only when the chunk before theirs is visible: a process that is killed loses one chunk
    of them at most.
    """

    def __init__(self, facts: RunFacts, store: DrawStore, state: Chains, lock: Lock) -> None:
        self._facts, self._store, self.state, self._lock = facts, store, state, lock
        self.done, _, self._spent = store.progress
        self._shown: np.ndarray | None = None
        self._clock = self._committed = time.perf_counter()
        self._writer = ThreadPoolExecutor(1, "sgdvi-store")
        self._written: Future[None] | None = None
        self._closing = ExitStack()
        self.capacity = recorder.capacity_for(min(facts.num_draws, store.chunk), facts.draw_bytes)
        kept = {f"posterior/{name}": (one.shape, one.dtype) for name, one in facts.shapes.items()}
        said = {f"sample_stats/{name}": ((), recorder.stored_type(kind)) for name, kind in facts.outputs.stats}
        # chunks in turn: one is filled while the one before is written
        self._buffers: tuple[dict[str, np.ndarray], ...] = tuple(
            {
                name: np.empty((store.chunk, facts.num_chains, *shape), dtype)
                for name, (shape, dtype) in (kept | said).items()
            }
            for _ in range(2)
        )
        for name, buffer in self._buffer(store.progress.draws).items():
            begun = store.read_chunk(name)
            buffer[: len(begun)] = begun

    def __enter__(self) -> Self:
        self._closing.enter_context(self._lock)
        self._closing.enter_context(quiet_format())
        self._closing.enter_context(self._writer)
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: Any) -> None:
        with self._closing:
            self._wait()
            # Ctrl-C, or a progress function that stops the run: nothing that was made is lost
            if kind is not None and not issubclass(kind, OSError) and self.done > self._store.progress.steps:
                self._commit()
                self._wait()

    def room(self, first: int) -> int:
        """See `Recorder`."""
        return min(self.capacity, self._store.chunk - first % self._store.chunk)

    def put(self, first: int, count: int, values: Mapping[str, jax.Array], stats: Mapping[str, jax.Array]) -> None:
        """See `Recorder`."""
        begin, buffer = first % self._store.chunk, self._buffer(first)
        for group, arrays in zip(_GROUPS, (values, stats), strict=True):
            for name, value in arrays.items():
                buffer[f"{group}/{name}"][begin : begin + count] = np.asarray(value)[:count]

    def reached(self, done: int, state: Chains) -> None:
        """See `Recorder`."""
        self._wait()
        before = self._draws
        self.done, self.state = done, state
        full = self._draws > before and self._draws % self._store.chunk == 0
        finished = self._draws == self._facts.num_draws
        if full or finished or time.perf_counter() - self._committed > _COMMIT_SECONDS:
            self._commit()
        if finished:
            self._wait()

    def tree(self) -> DataTree:
        """See `Recorder`."""
        tree = open_store(self._store.place)
        draws = tree["posterior"].sizes["draw"]
        rule = f"the store must hold the {self._facts.num_draws} draws of the run when it ends"
        require(draws == self._facts.num_draws, rule, f"{draws}", "Another process has written to it: begin anew.")
        return tree

    @property
    def _draws(self) -> int:
        return max(0, self.done - self._facts.num_warmup) // self._facts.thinning

    def _buffer(self, draw: int) -> dict[str, np.ndarray]:
        """Return the buffer of the chunk that a draw belongs to."""
        return self._buffers[draw // self._store.chunk % 2]

    def _commit(self) -> None:
        """Begin to write what was made since the last time."""
        self._lock.check()
        seconds = self._spent + time.perf_counter() - self._clock
        draws = self._draws
        last = max(0, draws - 1)
        begin = last // self._store.chunk * self._store.chunk
        chunk = self._buffer(last) | {f"{group}/draw": np.arange(begin, draws) for group in _GROUPS}
        status, step = status_of(np.asarray(self.state.overflow), np.asarray(self.state.still))
        news = self._shown is None or not np.array_equal(step, self._shown)
        self._shown = step
        self._written = self._writer.submit(
            self._store.commit,
            Progress(self.done, draws, seconds),
            chunk if draws else {},
            _to_bytes(self.state),
            {"chain_status/status": status.astype(object), "chain_status/step": step} if news else {},
            {"posterior": run_attributes(self._facts.sampler.kind, {"config": self._facts.config(seconds)})},
        )
        self._committed = time.perf_counter()

    def _wait(self) -> None:
        """Wait for what is being written; raise what went wrong with it, also when asked again."""
        if self._written is not None:
            self._written.result()


def _create(facts: RunFacts, place: Any, state: Chains) -> DrawStore:
    chains = facts.num_chains
    axes = {name: axes_of(name, len(one.shape), facts.dims) for name, one in facts.shapes.items()}
    layouts = [
        Layout("posterior", name, one.dtype, ("chain", "draw", *axes[name]), (chains, 0, *one.shape))
        for name, one in facts.shapes.items()
    ]
    layouts += [
        Layout("sample_stats", name, recorder.stored_type(kind), ("chain", "draw"), (chains, 0))
        for name, kind in facts.outputs.stats
    ]
    fixed: dict[str, np.ndarray] = {}
    for group in (*_GROUPS, "chain_status"):
        layouts.append(Layout(group, "chain", np.int64, ("chain",), (chains,)))
        fixed[f"{group}/chain"] = np.arange(chains)
    for group in _GROUPS:
        layouts.append(Layout(group, "draw", np.int64, ("draw",), (0,)))
        if facts.starts.names is not None:
            layouts.append(Layout(group, "start", str, ("chain",), (chains,)))
            fixed[f"{group}/start"] = np.array(facts.starts.names, dtype=object)
    layouts.append(Layout("chain_status", "status", str, ("chain",), (chains,)))
    layouts.append(Layout("chain_status", "step", np.int32, ("chain",), (chains,)))
    status, fixed["chain_status/step"] = status_of(np.asarray(state.overflow), np.asarray(state.still))
    fixed["chain_status/status"] = status.astype(object)
    attributes: dict[str, dict[str, Any]] = {group: {} for group in (*_GROUPS, "chain_status")}
    attributes["posterior"] = run_attributes(facts.sampler.kind, {"config": facts.config(0.0)})
    if facts.starts.names is not None:
        for group in _GROUPS:
            attributes[group]["coordinates"] = "start"  # the convention by which xarray knows one from a variable
    return DrawStore.create(
        place,
        layouts,
        chunk=max(1, min(max(facts.num_draws, _LEAST_CHUNK), recorder.BUFFER_BYTES // facts.kept_bytes)),
        attributes=attributes,
        fixed=fixed,
        fingerprint=facts.fingerprint(),
        state=_to_bytes(state),
    )


def _to_bytes(state: Chains) -> bytes:
    return b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(jax.tree.map(plain, state)))


def _from_bytes(stored: bytes, like: Chains) -> Chains:
    """Return the state in `stored`, whose tree, shapes and types are those of `like`."""
    leaves, structure = jax.tree.flatten(like)
    sizes = [plain(leaf).nbytes for leaf in leaves]
    if len(stored) != sum(sizes):
        rule = "the state in the store must be that of this sampler"
        raise InputError(message(rule, f"{len(stored)} bytes, {sum(sizes)} expected", "Give another store."))
    ends = np.cumsum(sizes)
    restored = []
    for leaf, end, size in zip(leaves, ends, sizes, strict=True):
        words = plain(leaf)
        array = jnp.asarray(np.frombuffer(stored[end - size : end], words.dtype).reshape(words.shape))
        is_key = jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        restored.append(jax.random.wrap_key_data(array, impl=jax.random.key_impl(leaf)) if is_key else array)
    return jax.tree.unflatten(structure, restored)

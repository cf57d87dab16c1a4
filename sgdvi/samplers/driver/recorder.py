"""Where the draws of a run go while it is under way: what the driver asks for, and the way into memory."""

import time
from collections.abc import Mapping
from typing import Any, Protocol, Self

import jax
import numpy as np

from sgdvi._internal.memory import require_memory
from sgdvi.draws.tree import DataTree, make_tree
from sgdvi.samplers.driver.facts import RunFacts
from sgdvi.samplers.driver.loop import Chains, status_of

BUFFER_BYTES = 16 << 20
# Capacities are powers of two, from this size on: runs that differ in their number of draws mostly share a program.
_LEAST_BYTES = 64 << 10


def capacity_for(draws: int, draw_bytes: int) -> int:
    """Return how many draws the loop has place for in a run of so many draws, of so many bytes."""
    wanted = max(1, min(draws, BUFFER_BYTES // draw_bytes), _LEAST_BYTES // draw_bytes)
    return 1 << (wanted - 1).bit_length()


def stored_type(kind: np.dtype) -> np.dtype:
    """Type in which a statistic is stored: float64 for numbers, whatever the precision of the run."""
    return np.dtype(np.float64) if np.issubdtype(kind, np.floating) else kind


class Recorder(Protocol):
    """Takes the draws of a run. It also is a context, which ends when the run does or fails."""

    state: Chains
    done: int
    capacity: int

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(self, *error: Any) -> None:
        """End."""

    def room(self, first: int) -> int:
        """Return how many draws one call may make from number `first` on."""

    def put(self, first: int, count: int, values: Mapping[str, jax.Array], stats: Mapping[str, jax.Array]) -> None:
        """Take `count` draws and the statistics of their steps from number `first` on; axes (draw, chain, ...)."""

    def reached(self, done: int, state: Chains) -> None:
        """Take the state of the chains after `done` steps."""

    def tree(self) -> DataTree:
        """Return the run."""


class MemoryRecorder:
    """Draws in memory."""

    def __init__(self, facts: RunFacts, state: Chains) -> None:
        self._facts, self._clock = facts, time.perf_counter()
        self.state, self.done = state, 0
        self.capacity = capacity_for(facts.num_draws, facts.draw_bytes)
        shape = facts.num_chains, facts.num_draws
        sizes = f"{shape[1]} draws of {shape[0]} chains"
        advice = 'Give store="draws.zarr", thin more, or keep fewer sites.'
        require_memory("the draws of a run", facts.num_draws * facts.kept_bytes, sizes, advice)
        self._kept = {name: np.empty((*shape, *one.shape), one.dtype) for name, one in facts.shapes.items()}
        self._stats = {name: np.empty(shape, stored_type(kind)) for name, kind in facts.outputs.stats}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        pass

    def room(self, first: int) -> int:
        """See `Recorder`."""
        return self.capacity

    def put(self, first: int, count: int, values: Mapping[str, jax.Array], stats: Mapping[str, jax.Array]) -> None:
        """See `Recorder`."""
        for kept, new in ((self._kept, values), (self._stats, stats)):
            for name, value in new.items():
                kept[name][:, first : first + count] = np.swapaxes(np.asarray(value)[:count], 0, 1)

    def reached(self, done: int, state: Chains) -> None:
        """See `Recorder`."""
        self.done, self.state = done, state

    def tree(self) -> DataTree:
        """See `Recorder`."""
        status, step = status_of(np.asarray(self.state.overflow), np.asarray(self.state.still))
        return make_tree(
            self._kept,
            kind=self._facts.sampler.kind,
            sample_stats=self._stats,
            dims=self._facts.dims,
            attrs={"config": self._facts.config(time.perf_counter() - self._clock)},
            chain_status={"status": status, "step": step},
            start=self._facts.starts.names,
        )

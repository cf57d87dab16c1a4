"""Where the draws of a run go while it is under way: what the driver asks for, and the way into memory."""

import time
from collections.abc import Mapping
from typing import Any, Protocol, Self

import jax
import numpy as np

from sgdvi.draws import DataTree, make_tree
from sgdvi.samplers.facts import RunFacts
from sgdvi.samplers.loop import Chains, status_of

BUFFER_BYTES = 16 << 20


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

    def put(self, first: int, count: int, values: Mapping[str, jax.Array], loss: jax.Array) -> None:
        """Take `count` draws from number `first` on; axes (draw, chain, ...)."""

    def reached(self, done: int, state: Chains) -> None:
        """Take the state of the chains after `done` steps."""

    def tree(self) -> DataTree:
        """Return the run."""


class MemoryRecorder:
    """Draws in memory."""

    def __init__(self, facts: RunFacts, state: Chains) -> None:
        self._facts, self._clock = facts, time.perf_counter()
        self.state, self.done = state, 0
        self.capacity = max(1, min(facts.num_draws, BUFFER_BYTES // facts.draw_bytes))
        shape = facts.num_chains, facts.num_draws
        self._kept = {name: np.empty((*shape, *one.shape), one.dtype) for name, one in facts.shapes.items()}
        self._losses = np.empty(shape)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        pass

    def room(self, first: int) -> int:
        """See `Recorder`."""
        return self.capacity

    def put(self, first: int, count: int, values: Mapping[str, jax.Array], loss: jax.Array) -> None:
        """See `Recorder`."""
        for name, value in values.items():
            self._kept[name][:, first : first + count] = np.swapaxes(np.asarray(value)[:count], 0, 1)
        self._losses[:, first : first + count] = np.asarray(loss)[:count].T

    def reached(self, done: int, state: Chains) -> None:
        """See `Recorder`."""
        self.done, self.state = done, state

    def tree(self) -> DataTree:
        """See `Recorder`."""
        status, step = status_of(np.asarray(self.state.overflow), np.asarray(self.state.still))
        return make_tree(
            self._kept,
            kind="sgd",
            sample_stats={"loss": self._losses},
            dims=self._facts.dims,
            attrs={"config": self._facts.config(time.perf_counter() - self._clock)},
            chain_status={"status": status, "step": step},
            start=self._facts.starts.names,
        )

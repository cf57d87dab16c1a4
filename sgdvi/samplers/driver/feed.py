"""Rows from the host to the device: those of a block of steps for all chains, gathered one block ahead."""

from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from sgdvi._internal.batches import Batching
from sgdvi._internal.check import require
from sgdvi._internal.tree import Arguments
from sgdvi.samplers.algorithms.sgd import batch_indices
from sgdvi.samplers.targets.host import HostRows

# of one block; three are alive at a time: on the device, waiting, and being gathered
_BLOCK_BYTES = 16 << 20
_MOST_STEPS = 4096


def find_held(arguments: Arguments, batch_size: int | None) -> HostRows | None:
    """Return the rows that stay on the host; None where all are in memory.

    Raises
    ------
    InputError
        If a minibatch of them would be all rows.
    """
    held = HostRows.find(arguments)
    if held is not None:
        rule = "minibatches of arrays on the host must be smaller than the data"
        advice = "Take a smaller batch, or numpy.asarray(...) of the data."
        small = batch_size is not None and batch_size < held.num_data
        require(small, rule, f"{batch_size or 'all'} of {held.num_data} rows", advice)
    return held


class Feed:
    """Gathers the rows that the steps see.

    The rows of a step are those that a run in memory takes: indices over all rows, from the seeds and the step alone.

    Attributes
    ----------
    steps
        Steps of one block.
    """

    def __init__(self, held: HostRows, seeds: jax.Array, batch_size: int, batching: Batching) -> None:
        self._held = held
        step_bytes = len(seeds) * batch_size * (held.row_bytes + np.dtype(np.int32).itemsize)
        self.steps = max(1, min(_MOST_STEPS, _BLOCK_BYTES // step_bytes))
        draw = partial(batch_indices, num_data=held.num_data, batch_size=batch_size, batching=batching)
        many = jax.jit(lambda start: jax.vmap(lambda seed: draw(seed, start + jnp.arange(self.steps)))(seeds))
        self._indices = many
        self._thread = ThreadPoolExecutor(1)  # ends with this object
        self._ahead: tuple[int, Future[tuple[np.ndarray, ...]]] | None = None

    def block(self, start: int, following: int) -> tuple[np.ndarray, ...]:
        """Return the rows of the steps from `start` on, axes (chain, step, row, ...), and begin on those after."""
        future = self._ahead[1] if self._ahead and self._ahead[0] == start else self._thread.submit(self._gather, start)
        self._ahead = following, self._thread.submit(self._gather, following)
        return future.result()

    def _gather(self, start: int) -> tuple[np.ndarray, ...]:
        return self._held.take(np.asarray(self._indices(start)))

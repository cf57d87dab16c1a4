"""Iterate averages: the mean of SGD's iterates over windows of steps, one draw per window."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from sgdvi._internal.check import require, whole
from sgdvi.samplers.algorithms._settings import as_before
from sgdvi.samplers.algorithms._wrapper import Wrapper, require_sampler
from sgdvi.samplers.kernel import Sampler
from sgdvi.samplers.protocol import Algorithm, Batch
from sgdvi.samplers.targets.base import Params


class AverageState(NamedTuple):
    """State of one chain.

    Attributes
    ----------
    z
        Mean of the iterates over the last complete window; over all so far in the first one.
    inner
        State of the algorithm whose iterates are averaged.
    mean
        Mean of the iterates over the window that is under way.
    filled
        Iterates in it.
    complete
        Number of complete windows.
    """

    z: Params
    inner: Any
    mean: Params
    filled: jax.Array
    complete: jax.Array


class AverageInfo(NamedTuple):
    """What is known of one step: the minibatch loss before it, and the number of complete windows."""

    loss: jax.Array
    windows: jax.Array


def averaged(inner: Algorithm, window: int | None) -> Algorithm:
    """Return the averages of an algorithm's iterates over `window` steps; None is one epoch: see `IterateAverage`."""

    def init(z: Params) -> AverageState:
        return AverageState(z, inner.init(z), jax.tree.map(jnp.zeros_like, z), jnp.int32(0), jnp.int32(0))

    def step(key: jax.Array, state: AverageState, batch: Batch) -> tuple[AverageState, AverageInfo]:
        moved, info = inner.step(key, state.inner, batch)
        length = epoch(batch.num_data, batch.size) if window is None else window
        count = state.filled + 1
        mean = jax.tree.map(lambda m, z: m + (z - m) / count, state.mean, moved.z)
        full = count == length
        shown = full | (state.complete == 0)
        z = jax.tree.map(lambda old, new: jnp.where(shown, new, old), state.z, mean)
        mean = jax.tree.map(lambda m: jnp.where(full, 0, m), mean)
        complete = state.complete + full
        after = AverageState(as_before(z, state.z), moved, as_before(mean, state.mean), count % length, complete)
        return after, AverageInfo(info.loss, complete)

    return Algorithm(init, step)


def epoch(num_data: int, batch_size: int) -> int:
    """Return the number of minibatches that hold as many rows as the data."""
    return math.ceil(num_data / batch_size)


class IterateAverage(Wrapper):
    r"""Averages of the iterates of SGD over windows as draws (Mandt, Hoffman and Blei 2017).

    Over a window of W steps, long against the relaxation time :math:`1/(\eta A)` of SGD near a minimum with Hessian A
    and gradient covariance C, the average **converges to** a Gaussian about the minimum with the covariance

    .. math:: \operatorname{Cov}[\bar z] \approx \frac{A^{-1} C A^{-1}}{S W},

    whatever the learning rate. For one epoch, W = N/S, that is :math:`A^{-1} C A^{-1} / N`: the posterior's
    :math:`A^{-1}/N` where C = A, as in a well-specified model; elsewhere it is the sandwich covariance of the
    minimiser.

    Parameters
    ----------
    sampler
        `SGD`, or another sampler whose iterates are averaged; its model, batches and settings are taken over.
    window
        Steps of a window; None is one epoch, ceil(N/S) steps. Take ``thinning=window`` (or a multiple) for one draw
        per window.

    Raises
    ------
    InputError
        For something that is no sampler, a window below 1, longer than the run, or of which thinning is no multiple.
    """

    kind = "average"

    def __init__(self, sampler: Sampler, window: int | None = None) -> None:
        require_sampler(sampler)
        self.window = None if window is None else whole("window", window, least=1)
        super().__init__(sampler, averaged(sampler.algorithm, self.window))

    def settings(self, num_data: int) -> dict[str, Any]:
        """See `Sampler`."""
        return {**super().settings(num_data), "window": self._length(num_data)}

    def check_run(self, num_data: int, num_steps: int, num_warmup: int, thinning: int) -> None:
        """See `Sampler`."""
        length = self._length(num_data)
        rule = f"the window must not be longer than the run: {length} steps"
        require(length <= num_steps, rule, f"{num_steps} steps", "Take more steps or a shorter window.")
        rule, advice = f"thinning must be a multiple of the window of {length} steps", f"Give thinning={length}."
        require(thinning % length == 0, rule, thinning, f"Draws of one window are the same. {advice}")

    def _length(self, num_data: int) -> int:
        return epoch(num_data, self.size(num_data)) if self.window is None else self.window

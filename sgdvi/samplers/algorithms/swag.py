"""SWAG: a Gaussian with the moments of SGD's iterates, diagonal plus low rank, and draws from it."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from sgdvi._internal.check import require, whole
from sgdvi.samplers.algorithms._settings import as_before
from sgdvi.samplers.algorithms._steps import gaussian_like
from sgdvi.samplers.algorithms._wrapper import Wrapper, require_sampler
from sgdvi.samplers.kernel import Sampler
from sgdvi.samplers.protocol import Algorithm, Batch
from sgdvi.samplers.targets.base import Params


class SWAGState(NamedTuple):
    """State of one chain.

    Attributes
    ----------
    z
        The draw: an iterate until the moments are complete, then one of the Gaussian.
    inner
        State of the algorithm whose iterates are taken.
    mean, square
        Means of the snapshots and of their squares.
    deviations
        The last snapshots less the mean when they were taken; leading axis of size rank.
    step, taken
        Steps and snapshots taken.
    """

    z: Params
    inner: Any
    mean: Params
    square: Params
    deviations: Params
    step: jax.Array
    taken: jax.Array


class SWAGInfo(NamedTuple):
    """What is known of one step: the minibatch loss before it, and the number of snapshots taken."""

    loss: jax.Array
    snapshots: jax.Array


def swag(inner: Algorithm, burn_in: int, period: int, snapshots: int, rank: int) -> Algorithm:
    """Return the algorithm: see `SWAG`."""

    def init(z: Params) -> SWAGState:
        blank = jax.tree.map(jnp.zeros_like, z)
        columns = jax.tree.map(lambda leaf: jnp.zeros((rank, *leaf.shape), leaf.dtype), z)
        return SWAGState(z, inner.init(z), blank, blank, columns, jnp.int32(0), jnp.int32(0))

    def step(key: jax.Array, state: SWAGState, batch: Batch) -> tuple[SWAGState, SWAGInfo]:
        for_inner, for_draw = jax.random.split(key)
        moved, info = inner.step(for_inner, state.inner, batch)
        now = state.step + 1
        due = (now > burn_in) & ((now - burn_in) % period == 0) & (state.taken < snapshots)
        count = state.taken + due
        share = jnp.where(due, 1 / jnp.maximum(count, 1), 0.0)
        mean = jax.tree.map(lambda m, z: m + share * (z - m), state.mean, moved.z)
        square = jax.tree.map(lambda s, z: s + share * (z * z - s), state.square, moved.z)

        def put(columns: jax.Array, z: jax.Array, m: jax.Array) -> jax.Array:
            return jnp.where(due, columns.at[(count - 1) % rank].set((z - m).astype(columns.dtype)), columns)

        deviations = jax.tree.map(put, state.deviations, moved.z, mean)
        draw = _draw(for_draw, mean, square, deviations, rank)
        complete = count == snapshots
        z = jax.tree.map(lambda new, own: jnp.where(complete, new, own), draw, moved.z)
        moments = as_before(mean, state.mean), as_before(square, state.square)
        return SWAGState(as_before(z, state.z), moved, *moments, deviations, now, count), SWAGInfo(info.loss, count)

    return Algorithm(init, step)


def _draw(key: jax.Array, mean: Params, square: Params, deviations: Params, rank: int) -> Params:
    for_diagonal, for_columns = jax.random.split(key)
    one = gaussian_like(for_diagonal, mean)
    other = jax.random.normal(for_columns, (rank,))

    def leaf(m: jax.Array, s: jax.Array, columns: jax.Array, n: jax.Array) -> jax.Array:
        # half of each: rounding may leave a variance just below 0
        own = jnp.sqrt(jnp.maximum(s - m * m, 0) / 2) * n
        return m + own + jnp.tensordot(other.astype(m.dtype), columns, 1) / (2 * (rank - 1)) ** 0.5

    return jax.tree.map(leaf, mean, square, deviations, one)


class SWAG(Wrapper):
    r"""Draws from a Gaussian fitted to snapshots of SGD (Maddox, Garipov, Izmailov, Vetrov and Wilson 2019).

    .. math:: z = \bar z + \tfrac{1}{\sqrt 2} \Sigma_{diag}^{1/2} n_1 + \tfrac{1}{\sqrt{2 (K - 1)}} D n_2

    with the mean and the variances of the snapshots, and D the last K of them less the running mean. **Converges to**
    the Gaussian with mean and variances of SGD's stationary law and half of its covariances, as snapshots and rank
    grow: the posterior's only where those of SGD are. Until the
    moments are complete, after ``burn_in + period * snapshots`` steps, a chain is at SGD's iterates: that must be in
    the warmup. Every chain has its own Gaussian.

    Parameters
    ----------
    sampler
        `SGD`, or another sampler whose iterates are taken; its model, batches and settings are taken over.
    burn_in
        Steps before the first period.
    period
        Steps from one snapshot to the next; an epoch is usual.
    snapshots
        Number of snapshots.
    rank
        K, the columns of D, from 2 to ``snapshots``.

    Raises
    ------
    InputError
        For something that is no sampler, numbers outside their range, and a warmup that is too short.
    """

    kind = "swag"

    def __init__(self, sampler: Sampler, *, burn_in: int, period: int, snapshots: int = 40, rank: int = 20) -> None:
        require_sampler(sampler)
        burn_in, period = whole("burn_in", burn_in), whole("period", period, least=1)
        snapshots, rank = whole("snapshots", snapshots, least=2), whole("rank", rank, least=2)
        require(rank <= snapshots, f"rank must be at most the number of snapshots, {snapshots}", rank)
        algorithm = swag(sampler.algorithm, burn_in, period, snapshots, rank)
        settings = {"burn_in": burn_in, "period": period, "snapshots": snapshots, "rank": rank}
        super().__init__(sampler, algorithm, settings)

    def check_run(self, num_data: int, num_steps: int, num_warmup: int, thinning: int) -> None:
        """See `Sampler`."""
        own = self._settings
        least = own["burn_in"] + own["period"] * own["snapshots"]
        rule = f"the warmup must hold all snapshots: burn_in + period * snapshots = {least} steps"
        require(num_warmup >= least, rule, f"num_warmup={num_warmup}", f"Give num_warmup={least}.")

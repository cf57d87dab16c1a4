"""The driver: many chains of SGD in one compiled loop, from starts to a DataTree."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from tqdm.auto import tqdm

from sgdvi._check import require, whole
from sgdvi._status import ChainStatus
from sgdvi._tree import Arguments, Rows, take
from sgdvi.draws import DataTree, make_tree
from sgdvi.samplers.kernel import SGD
from sgdvi.samplers.sgd import batch_indices, chain_seed, descend, mark_overflow
from sgdvi.samplers.starts import Starts, make_starts
from sgdvi.samplers.target import Params, Target

Progress = Callable[[int, int], None]
# Row numbers are drawn for many steps at once, which the processor does side by side.
_INDEX_WORDS = 1 << 16
_MOST_BLOCK = 256
_BUFFER_BYTES = 16 << 20
# Long enough that the loop, not its calls, takes the time; short enough for Ctrl-C and a lively bar.
_CALL_SECONDS = 0.25
_FIRST_STEPS = 1000


def sample(
    sampler: SGD,
    data: Any,
    *,
    key: jax.Array,
    num_steps: int,
    num_warmup: int = 0,
    num_chains: int = 1,
    init: Mapping[str, Any] | None = None,
    thinning: int = 1,
    progress: bool | Progress = True,
    dims: Mapping[str, Sequence[str]] | None = None,
) -> DataTree:
    """Run chains of SGD and keep their iterates.

    Parameters
    ----------
    sampler
        `SGD` with model, optimizer and batch size.
    data
        The model's arguments with all rows: a tuple of positional ones, a dict of keyword ones, or one array.
    key
        JAX key. Chain c uses ``fold_in(key, c)``; its rows at step t depend on that and t only, so a draw does not
        change with the number of chains, the thinning or the progress bar.
    num_steps
        Steps per chain after warmup; ``num_steps // thinning`` draws are kept.
    num_warmup
        Steps per chain whose iterates are not kept.
    num_chains
        Number of chains. They run side by side.
    init
        Where chains start, as values of the model's sites (constrained): one set for all chains; one with a leading
        axis of num_chains; or ``{"name of start": {site: value}}``, dealt to the chains in turn. None draws a start
        for every chain, uniform on (-2, 2) in unconstrained coordinates.
    thinning
        Keep every thinning-th iterate.
    progress
        Show a bar; or a function that is called with (steps done, steps in all).
    dims
        Site -> names of its axes.

    Returns
    -------
    DataTree
        ``posterior`` (chain, draw, ...) with the run's settings as JSON in its attribute ``config_json``;
        ``sample_stats`` with the minibatch loss of the last step before the draw, at the parameters before that step;
        ``chain_status`` with ``status`` ("ok" or "overflowed") and ``step``, the first one after which a parameter
        was not finite (-1 when ok). The draws of a chain from there on are NaN.

    Raises
    ------
    InputError
        For settings, starts, a model or data that cannot be used.
    """
    require(isinstance(sampler, SGD), "sampler must be an sgdvi.SGD(...)", type(sampler).__name__)
    steps, warmup = whole("num_steps", num_steps, least=1), whole("num_warmup", num_warmup)
    chains, thin = whole("num_chains", num_chains, least=1), whole("thinning", thinning, least=1)
    rule = "num_steps must be at least thinning, or no draw is kept"
    require(steps >= thin, rule, f"{steps} steps with thinning {thin}", "Take more steps or thin less.")
    is_key = isinstance(key, jax.Array) and (
        key.shape == () if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key.shape == (2,)
    )
    require(is_key, "key must be one JAX key", repr(key), "Give jax.random.key(0).")

    clock = time.perf_counter()
    arguments = as_arguments(data)
    target = sampler.prepare(arguments)
    rows = target.rows(arguments)
    keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(chains))
    starts = make_starts(target, rows, keys, init)
    sampler.check(target, jax.tree.map(lambda leaf: leaf[0], starts.z), rows)
    draws = steps // thin
    with _reporter(progress, warmup + draws * thin) as report:
        posterior, losses, overflow = _run(sampler, target, rows, keys, starts, warmup, draws, thin, report)
    status = np.where(overflow < 0, ChainStatus.OK.value, ChainStatus.OVERFLOWED.value)
    config = {
        "learning_rate": sampler.learning_rate,
        "rate_note": sampler.rate_note,
        "noise_scale": sampler.noise_scale(target.num_data),
        "batch_size": sampler.batch_size,
        "replace": sampler.replace,
        "num_data": target.num_data,
        "num_steps": steps,
        "num_warmup": warmup,
        "num_chains": chains,
        "thinning": thin,
        "seconds": time.perf_counter() - clock,
    }
    return make_tree(
        posterior,
        kind="sgd",
        sample_stats={"loss": losses},
        dims=dims,
        attrs={"config": config},
        chain_status={"status": status, "step": overflow},
        start=starts.names,
    )


def as_arguments(data: Any) -> Arguments:
    """Return positional and keyword arguments of the model for data in any form that `sample` takes."""
    if isinstance(data, Mapping):
        return (), dict(data)
    return (tuple(data) if isinstance(data, tuple | list) else (data,)), {}


def _run(
    sampler: SGD,
    target: Target,
    rows: Rows,
    keys: jax.Array,
    starts: Starts,
    warmup: int,
    draws: int,
    thinning: int,
    report: Callable[[int], None],
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    chains = len(keys)
    words = sampler.batch_size if sampler.replace else target.num_data
    block = max(1, min(_MOST_BLOCK, _INDEX_WORDS // (chains * words)))
    per_draw = sum(leaf.nbytes for leaf in jax.tree.leaves(starts.z)) + 8 * chains
    capacity = max(1, min(draws, _BUFFER_BYTES // per_draw))
    advance = partial(_advance, target=target, optimizer=sampler.optimizer, block=block, capacity=capacity)
    advance = partial(advance, batch_size=sampler.batch_size, replace=sampler.replace)
    state = (starts.z, jax.vmap(sampler.optimizer.init)(starts.z), jnp.full(chains, -1, jnp.int32))
    seeds = jax.vmap(chain_seed)(keys)

    kept: dict[str, np.ndarray] = {}
    losses = np.empty((chains, draws))
    done, total, pace = 0, warmup + draws * thinning, _FIRST_STEPS
    while done < total:
        first = max(done - warmup, 0) // thinning  # draw that the next step belongs to
        stop = min(done + pace, total, warmup + (first + capacity) * thinning)
        begin = time.perf_counter()
        state, values, loss = advance(state, seeds, rows, done, stop, warmup, thinning, first)
        filled = max(stop - warmup, 0) // thinning - first
        if filled > 0:
            for name, value in values.items():
                array = np.asarray(value)
                if name not in kept:
                    kept[name] = np.empty((chains, draws, *array.shape[2:]), array.dtype)
                kept[name][:, first : first + filled] = np.swapaxes(array[:filled], 0, 1)
            losses[:, first : first + filled] = np.asarray(loss)[:filled].T
        jax.block_until_ready(state)
        seconds = time.perf_counter() - begin
        # the first call compiles and says little: no long leap from one measurement
        pace = max(1, int(min(8.0, max(0.5, _CALL_SECONDS / seconds)) * (stop - done)))
        report(stop - done)
        done = stop
    return kept, losses, np.asarray(state[2])


@partial(jax.jit, static_argnames=("target", "optimizer", "batch_size", "replace", "block", "capacity"))
def _advance(
    state: tuple[Params, Any, jax.Array],
    seeds: jax.Array,
    rows: Rows,
    start: jax.Array,
    stop: jax.Array,
    warmup: jax.Array,
    thinning: jax.Array,
    first: jax.Array,
    *,
    target: Target,
    optimizer: optax.GradientTransformation,
    batch_size: int,
    replace: bool,
    block: int,
    capacity: int,
) -> tuple[tuple[Params, Any, jax.Array], Params, jax.Array]:
    """Take the steps start .. stop - 1 in all chains; return the state, and the draws from number `first` on.

    Every step writes its iterate to the place of the draw that it leads to, so the last one stays: no branch, and
    numbers of steps are data, so that one compilation serves all calls.
    """

    def one(state: Any, indices: jax.Array, step: jax.Array) -> Any:
        z, opt_state, overflow = state
        z, opt_state, loss = descend(target, optimizer, z, opt_state, take(rows, indices))
        z, overflow = mark_overflow(z, overflow, step)
        return (z, opt_state, overflow), loss

    def many(number: jax.Array, carry: Any) -> Any:
        origin = number * block
        draw = partial(batch_indices, num_data=target.num_data, batch_size=batch_size, replace=replace)
        indices = jax.vmap(lambda seed: draw(seed, origin + jnp.arange(block)), out_axes=1)(seeds)

        def step(t: jax.Array, carry: Any) -> Any:
            state, buffers = carry
            state, loss = jax.vmap(one, in_axes=(0, 0, None))(state, indices[t - origin], t + 1)
            place = jnp.clip((t - warmup) // thinning - first, 0, capacity - 1)
            return state, jax.tree.map(lambda b, v: b.at[place].set(v), buffers, (state[0], loss))

        return lax.fori_loop(jnp.maximum(start, origin), jnp.minimum(stop, origin + block), step, carry)

    empty = jax.tree.map(lambda leaf: jnp.zeros((capacity, *leaf.shape), leaf.dtype), state[0])
    buffers = empty, jnp.zeros((capacity, len(seeds)), jnp.result_type(float))
    state, (z, loss) = lax.fori_loop(start // block, (stop + block - 1) // block, many, (state, buffers))
    return state, jax.vmap(jax.vmap(lambda z: target.constrain(z, rows)))(z), loss


class _reporter:
    """Context that hands out a function of the steps just done: a bar, the caller's function, or nothing."""

    def __init__(self, progress: bool | Progress, total: int) -> None:
        self._call = progress if callable(progress) else None
        self._bar = tqdm(
            total=total, unit="step", unit_scale=True, desc="SGD", disable=not progress or bool(self._call)
        )
        self._total, self._done = total, 0

    def __enter__(self) -> Callable[[int], None]:
        return self._report

    def __exit__(self, *error: Any) -> None:
        self._bar.close()

    def _report(self, steps: int) -> None:
        self._done += steps
        self._bar.update(steps)
        if self._call is not None:
            self._call(self._done, self._total)

"""The driver: many chains of a sampler in one compiled loop, from starts to a DataTree."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm.auto import tqdm

from sgdvi._internal.batches import Batching
from sgdvi._internal.check import require, require_settings, whole
from sgdvi._internal.tree import label, require_key
from sgdvi.draws.tree import DataTree
from sgdvi.samplers.algorithms.sgd import chain_seed
from sgdvi.samplers.driver.devices import Plan
from sgdvi.samplers.driver.facts import RunFacts
from sgdvi.samplers.driver.feed import Feed, find_held
from sgdvi.samplers.driver.loop import Outputs, Span, Work, advance, first_state
from sgdvi.samplers.driver.recorder import MemoryRecorder, Recorder
from sgdvi.samplers.driver.starts import make_starts
from sgdvi.samplers.driver.store_recorder import open_together
from sgdvi.samplers.driver.termination import flushed_on_termination
from sgdvi.samplers.kernel import Sampler
from sgdvi.samplers.protocol import batch_like, check_algorithm
from sgdvi.samplers.targets.base import Target
from sgdvi.samplers.targets.make import as_arguments

Progress = Callable[[int, int], None]
# Row numbers are drawn for many steps at once, which the processor does side by side.
_INDEX_WORDS = 1 << 17
_MOST_BLOCK = 256
# Long enough that the loop, not its calls, takes the time; short enough for Ctrl-C and a lively bar.
_CALL_SECONDS = 0.25
# A call takes so many times what it costs without a step, but no longer than this.
_SHARE, _LONGEST_SECONDS = 10, 2.0
_FIRST_STEPS = 1000
_MOST_STEPS = 2**31 - 1


def sample(
    sampler: Sampler,
    data: Any,
    *,
    key: jax.Array,
    num_steps: int,
    num_warmup: int = 0,
    num_chains: int = 1,
    init: Any | None = None,
    thinning: int = 1,
    functionals: Mapping[str, Callable[[Any], Any]] | None = None,
    keep: Sequence[str] | None = None,
    store: Any = None,
    resume: bool = False,
    break_lock: bool = False,
    progress: bool | Progress = True,
    dims: Mapping[str, Sequence[str]] | None = None,
    devices: Sequence[jax.Device] | None = None,
) -> DataTree:
    """Run chains of SGD, or of another sampler, and keep their iterates, in memory or on disk.

    Parameters
    ----------
    sampler
        `SGD` or another `Sampler`: a model, an algorithm and a batch size.
    data
        The model's arguments with all rows: a tuple of positional ones, a dict of keyword ones, or one array. For a
        `Loss`: the pytree of arrays, all rows, of which it gets batches. Memory-mapped NumPy arrays (``np.memmap``)
        and Zarr arrays stay where they are: rows are read as the steps need them, the draws are those of the same run
        on arrays in memory. Model, loss and starts are then tried on 1021 rows.
    key
        JAX key. Chain c uses ``fold_in(key, c)``; its rows at step t depend on that and t only, so a draw does not
        change with the number of chains, the thinning, the store, a resumption or the progress bar.
    num_steps
        Steps per chain after warmup; ``num_steps // thinning`` draws are kept.
    num_warmup
        Steps per chain whose iterates are not kept.
    num_chains
        Number of chains. They run side by side.
    init
        Where chains start, as values of the model's sites (constrained): one set for all chains; one with a leading
        axis of num_chains; or ``{"name of start": {site: value}}``, dealt to the chains in turn. None draws a start
        for every chain, uniform on (-2, 2) in unconstrained coordinates. For a `Loss`: a pytree like its parameters,
        with or without the axis of chains, or such pytrees by name; None starts all chains at its own.
    thinning
        Keep every thinning-th iterate.
    functionals
        Name -> function of one draw, computed while the chains run and kept beside the sites:
        ``{"v": lambda ds: ds.u * ds.w}``. It gets the sites as attributes or items, without axes of chains and draws.
    keep
        Names of the sites to keep; None keeps all, ``()`` keeps the functionals alone.
    store
        Where draws are written while the chains run: a path (``"draws.zarr"``), an fsspec URL, or a Zarr store. A
        chunk of draws is written when it is full (16 MB) or 5 seconds old, with the state of the chains, while the
        next steps run. It then shows in `arviz.from_zarr`, in this process or another; a process that is killed loses
        no more than one chunk of the draws it had reported. One process at a time may write to a store: it holds a
        lock there.
    resume
        Go on with the run in `store`; if there is none, begin it. Draws are those of an uninterrupted run. Model,
        data, key and settings must be the same, except that `num_steps` may be larger.
    break_lock
        Take the lock of the store from the process that holds it, which then stops with an error. Only needed where it
        cannot be known that the process has ended: on another host.
    progress
        Show a bar; or a function that is called with (steps done, steps in all).
    dims
        Site -> names of its axes.
    devices
        Devices that share the chains; None takes all that JAX has, of all processes, or its default device where one
        is set. The draws are the same on any number of them.

    Returns
    -------
    DataTree
        ``posterior`` (chain, draw, ...) with the run's settings as JSON in its attribute ``config_json``;
        ``sample_stats`` with what the algorithm says of the last step before the draw: ``loss``, that of the minibatch
        at the parameters before the step, and more for some;
        ``chain_status`` with ``status`` ("ok", "overflowed" or "collapsed") and ``step``: the first one after which a
        parameter was not finite, or the one from which on no parameter moved by more than 1e-30 between looks that
        are 1024 steps apart (-1 when ok). The draws of a chain that overflowed are NaN from there on. With a store
        the draws are read from it when they are used.

    Raises
    ------
    InputError
        For settings, starts, a model or data that cannot be used, a store that exists (without `resume`), and a
        stored run of another model, data or settings.
    OSError
        If the store cannot be written, for example when the disk is full; it can still be read, and gone on with.
    """
    require_settings()
    is_sampler = isinstance(sampler, Sampler)
    require(is_sampler, "sampler must be an sgdvi.SGD(...) or another sgdvi.Sampler", type(sampler).__name__)
    steps, warmup = whole("num_steps", num_steps, least=1), whole("num_warmup", num_warmup)
    chains, thin = whole("num_chains", num_chains, least=1), whole("thinning", thinning, least=1)
    rule = "num_steps must be at least thinning, or no draw is kept"
    require(steps >= thin, rule, f"{steps} steps with thinning {thin}", "Take more steps or thin less.")
    rule = f"a chain must have at most {_MOST_STEPS} steps"
    require(steps + warmup <= _MOST_STEPS, rule, steps + warmup, "Run more chains instead.")
    require_key(key)
    for name, flag in (("resume", resume), ("break_lock", break_lock)):
        require(isinstance(flag, bool), f"{name} must be True or False", type(flag).__name__)
    _check_options(functionals, keep, dims, progress)
    require(store is not None or not resume, "resume=True needs a store", "none", 'Give store="draws.zarr".')

    arguments = as_arguments(sampler.model, data)
    held = find_held(arguments, sampler.batch_size)
    arguments = held.trial if held else arguments
    target = sampler.prepare(arguments, held.num_data if held else None)
    sampler.check_run(target.num_data, steps, warmup, thin)
    rows = target.rows(arguments)
    keys = _chain_keys(key, chains)
    starts = make_starts(target, rows, keys, init, sampler.start)
    one = jax.tree.map(lambda leaf: np.asarray(leaf)[0], starts.z)
    plan = Plan.make(chains, devices, sum(leaf.nbytes for leaf in jax.tree.leaves(one)))
    sampler.check(target, one, rows)
    dims = {label(name): axes for name, axes in (dims or {}).items()}
    chosen = _chosen_sites(target, keep, functionals or {}, dims)
    stats = check_algorithm(sampler.algorithm, target, one, batch_like(rows, sampler.size(target.num_data)))
    outputs = Outputs(target, chosen, tuple((functionals or {}).items()), tuple(stats.items()))
    shapes = outputs.describe(one, rows)
    facts = RunFacts(sampler, outputs, rows, shapes, key, starts, steps, warmup, thin, dims, held)
    state = first_state(starts.z, sampler.algorithm)
    begun = (
        MemoryRecorder(facts, state) if store is None else open_together(facts, store, resume, state, plan, break_lock)
    )
    with flushed_on_termination(store is not None) as stop_if_told, begun as recorder:
        with _reporter(progress if plan.writes else False, warmup + facts.num_draws * thin) as report:
            _run(facts, keys, plan, recorder, report, stop_if_told)
        plan.wait()
        return recorder.tree()


def _chosen_sites(
    target: Target, keep: Sequence[str] | None, functionals: Mapping[str, Any], dims: Mapping[str, Any]
) -> tuple[str, ...]:
    """Return the sites that are kept, under the names that draws have; raise `InputError` for names of none."""
    have = tuple(map(label, target.outputs))
    rule = "the names of sites must differ in more than '/' and '.', as draws name them alike"
    require(len(set(have)) == len(have), rule, sorted(target.outputs), "Rename one.")
    chosen = have if keep is None else tuple(map(label, keep))
    unknown = [name for name in chosen if name not in have]
    require(not unknown, f"keep must name sites of the model, {sorted(have)}", unknown)
    strange = sorted(set(dims) - set(have) - set(functionals))
    require(not strange, f"dims must name sites or functionals, {sorted(have)}", strange)
    require(chosen or functionals, "a draw must have something in it", "keep=() and no functionals")
    return chosen


@partial(jax.jit, static_argnames="count")
def _chain_keys(key: jax.Array, count: int) -> jax.Array:
    return jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(count))


@jax.jit
def _seeds(keys: jax.Array) -> jax.Array:
    return jax.vmap(chain_seed)(keys)


def _check_options(functionals: Any, keep: Any, dims: Any, progress: Any) -> None:
    """Raise `InputError` for options of another kind than `sample` takes."""

    def has_names(given: Any) -> bool:
        return isinstance(given, Mapping) and all(isinstance(name, str) for name in given)

    def is_names(given: Any) -> bool:
        return isinstance(given, Sequence) and not isinstance(given, str) and all(isinstance(one, str) for one in given)

    computable = functionals is None or (has_names(functionals) and all(map(callable, functionals.values())))
    advice = 'Give {"v": lambda ds: ds.u * ds.w}.'
    require(computable, "functionals must be a dict of functions by name", repr(functionals), advice)
    require(keep is None or is_names(keep), "keep must be a sequence of names", repr(keep), 'Give ["u", "w"].')
    labelled = dims is None or (has_names(dims) and all(map(is_names, dims.values())))
    require(labelled, "dims must be a dict of the names of axes by site", repr(dims), 'Give {"weights": ["feature"]}.')
    rule = "progress must be True, False or a function of (steps done, steps in all)"
    require(isinstance(progress, bool) or callable(progress), rule, repr(progress))


def _run(
    facts: RunFacts,
    keys: jax.Array,
    plan: Plan,
    recorder: Recorder,
    report: Callable[[int], None],
    stop_if_told: Callable[[], None],
) -> None:
    sampler, target, warmup, thinning = facts.sampler, facts.outputs.target, facts.num_warmup, facts.thinning
    size = sampler.size(target.num_data)
    words = target.num_data if sampler.batching is Batching.WITHOUT_REPLACEMENT else size
    words = 1 if sampler.batching.takes_all(target.num_data, size) else words
    most = max(1, min(_MOST_BLOCK, _INDEX_WORDS // (plan.group_size * words)))
    block = 1 << (most.bit_length() - 1)
    work = Work(facts.outputs, sampler.algorithm, size, sampler.batching, block, recorder.capacity)
    seeds = _seeds(keys)
    feed = Feed(facts.held, seeds, size, sampler.batching) if facts.held else None
    state, seeds, rows = plan.spread(recorder.state), plan.spread(seeds), plan.copy(facts.rows)
    done, total, pace = recorder.done, warmup + facts.num_draws * thinning, Pace()
    report(done)
    while done < total:
        first = max(done - warmup, 0) // thinning  # draw that the next step belongs to
        most = feed.steps if feed else pace.steps
        stop = plan.agree(min(done + most, total, warmup + (first + recorder.room(first)) * thinning))
        begin = time.perf_counter()
        span = Span(done, stop, warmup, thinning, first)
        fed = plan.spread(feed.block(done, stop)) if feed else ()
        state, (values, stats) = advance(state, seeds, fed, rows, span, work=work, plan=plan)
        filled = max(stop - warmup, 0) // thinning - first
        if filled > 0:
            recorder.put(first, filled, plan.gather(values, axis=1), plan.gather(stats, axis=1))
        jax.block_until_ready(state)
        recorder.reached(stop, plan.gather(state))
        pace.took(stop - done, time.perf_counter() - begin)
        report(stop - done)
        done = stop
        stop_if_told()


class Pace:
    """How many steps the next call takes: a quarter of a second, longer where calls have a cost of their own."""

    def __init__(self) -> None:
        self.steps = _FIRST_STEPS
        self._before: tuple[int, float] | None = None
        self._cost = 0.0

    def took(self, steps: int, seconds: float) -> None:
        """Take the time of a call."""
        if self._before is not None and self._before[0] != steps:
            # the line through both calls, at no steps; predictions of a large network can be most of a call
            self._cost = (steps * self._before[1] - self._before[0] * seconds) / (steps - self._before[0])
        self._before = steps, seconds
        wanted = min(max(_CALL_SECONDS, _SHARE * min(self._cost, seconds)), _LONGEST_SECONDS)
        # the first call compiles and says little: no long leap from one measurement
        self.steps = max(1, int(min(8.0, max(0.5, wanted / seconds)) * steps))


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

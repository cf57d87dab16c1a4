"""The compiled loop of the driver: many chains, many steps, the draws that they lead to, and what became of them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import PartitionSpec

from sgdvi._internal.batches import Batching
from sgdvi._internal.check import InputError, message, require
from sgdvi._internal.tree import Rows, label, take
from sgdvi.samplers.algorithms.sgd import batch_indices, noise_seed
from sgdvi.samplers.driver.devices import AXIS, Plan
from sgdvi.samplers.driver.status import ChainStatus
from sgdvi.samplers.protocol import Algorithm, Batch
from sgdvi.samplers.targets.base import Params, Target

# A chain is looked at every so many steps. A power of two, as blocks are: whatever the block, one begins here.
LOOK_EVERY = 1024
# Near the collapse of v = u w the density of v is v^(e - 1): a chain that comes back from u = 1e-28 is not seen.
_STILL = 1e-30


class Chains(NamedTuple):
    """State of all chains; every leaf has a leading axis of chains.

    Attributes
    ----------
    state
        State of the algorithm, with the unconstrained parameters ``z``.
    overflow
        The step after which a parameter was first not finite; -1 while all are.
    anchor
        Parameters when the chain was last looked at.
    still
        The step since which no parameter has moved by more than 1e-30 from one look to the next; -1 if one has.
    """

    state: Any
    overflow: jax.Array
    anchor: Params
    still: jax.Array


class Sites(dict[str, jax.Array]):
    """Values of the sites of one draw, by name or as attributes: ``ds["u"]`` and ``ds.u``."""

    def __getattr__(self, name: str) -> jax.Array:
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(f"no site {name!r}; sites: {', '.join(self)}") from error

    def __missing__(self, name: str) -> jax.Array:
        """Return a site by the name that the model gives it."""
        if label(name) not in self:
            raise KeyError(name)
        return self[label(name)]


@dataclass(frozen=True)
class Outputs:
    """What a draw consists of.

    Attributes
    ----------
    target
        Maps parameters to sites.
    keep
        Names of the sites that are kept, as `label` writes them.
    functionals
        Pairs of a name and a function of the sites of one draw.
    stats
        Pairs of a name and the type of a statistic of the step that led to the draw.
    """

    target: Target
    keep: tuple[str, ...]
    functionals: tuple[tuple[str, Callable[[Any], Any]], ...]
    stats: tuple[tuple[str, np.dtype], ...]

    def __call__(self, z: Params, rows: Rows) -> dict[str, jax.Array]:
        """Return the values of one draw."""
        values = self.sites(z, rows)
        computed = {name: jnp.asarray(fn(values)) for name, fn in self.functionals}
        return {name: values[name] for name in self.keep} | computed

    def sites(self, z: Params, rows: Rows) -> Sites:
        """Return the sites of one draw as its tree names them."""
        return Sites({label(name): value for name, value in self.target.constrain(z, rows).items()})

    def describe(self, z: Params, rows: Rows) -> dict[str, jax.ShapeDtypeStruct]:
        """Return shape and type of every value of a draw; `z` is one chain's.

        Raises
        ------
        InputError
            If a functional cannot be computed from the sites of one draw.
        """
        sites = jax.eval_shape(lambda: dict(self.sites(z, rows)))
        for name, fn in self.functionals:
            rule = f"the functional {name!r} must be computable by JAX from the sites of one draw"
            advice = f"It gets one object with the arrays {', '.join(sites)}: lambda ds: ds.{next(iter(sites))} ** 2."
            try:
                jax.eval_shape(lambda values, fn=fn: jnp.asarray(fn(Sites(values))), dict(sites))
            except Exception as error:
                raise InputError(message(rule, f"{type(error).__name__}: {error}", advice)) from error
            require(name not in sites, "a functional must not have the name of a site", repr(name), "Rename it.")
        return jax.eval_shape(self.__call__, z, rows)


def first_state(z: Params, algorithm: Algorithm) -> Chains:
    """Return the state of chains that start at `z`."""
    chains = jax.tree.leaves(z)[0].shape[0]
    never = jnp.full(chains, -1, jnp.int32)
    return Chains(jax.vmap(algorithm.init)(z), never, z, never)


def mark_overflow(state: Any, overflow: jax.Array, step: jax.Array) -> tuple[Any, jax.Array]:
    """Note the first step after which a parameter is not finite, and set a chain that overflowed to NaN."""
    finite = jnp.all(jnp.array([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(state.z)]))
    overflow = jnp.where((overflow < 0) & ~finite, step, overflow)
    return state._replace(z=jax.tree.map(lambda leaf: jnp.where(overflow < 0, leaf, jnp.nan), state.z)), overflow


def _surely_finite(z: Params) -> jax.Array:
    """Whether all parameters are finite: never true if one is not, seldom false if all are; one quick pass."""
    return jnp.isfinite(jnp.sum(jnp.array([jnp.vdot(leaf, leaf) for leaf in jax.tree.leaves(z)])))


def status_of(overflow: np.ndarray, still: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return status and step of all chains: overflowed and collapsed chains have the step at which it happened."""
    status = np.full(len(overflow), ChainStatus.OK.value, dtype="<U10")
    status[still >= 0] = ChainStatus.COLLAPSED.value
    status[overflow >= 0] = ChainStatus.OVERFLOWED.value
    return status, np.where(overflow >= 0, overflow, still)


class Span(NamedTuple):
    """The steps of one call: start .. stop - 1, whose draws are counted from number `first` on."""

    start: Any
    stop: Any
    warmup: Any
    thinning: Any
    first: Any


@dataclass(frozen=True)
class Work:
    """What is done at every step, and in which pieces; steps themselves are data, so one compilation serves all calls.

    Attributes
    ----------
    outputs, algorithm, batch_size, batching
        What a step does and what a draw is.
    block
        Steps whose row numbers are drawn at once; a power of two.
    capacity
        Draws that one call can hold.
    """

    outputs: Outputs
    algorithm: Algorithm
    batch_size: int
    batching: Batching
    block: int
    capacity: int


@partial(jax.jit, static_argnames=("work", "plan"))
def advance(chains: Chains, seeds: jax.Array, fed: Rows, rows: Rows, span: Span, *, work: Work, plan: Plan) -> Any:
    """Take the steps of a span in all chains; return the chains, and a pair: draws, and statistics of their steps.

    Chains, seeds and `fed` are those of `Plan.spread`; draws have axes (draw, chain, ...). `fed` holds the rows of each
    step, axes (chain, step, row, ...), from the first step on; where it is empty, steps take theirs from `rows`.
    """

    def on_device(chains: Chains, seeds: jax.Array, fed: Rows, rows: Rows, span: Span) -> Any:
        def cut(leaf: jax.Array) -> jax.Array:
            return leaf.reshape(plan.groups, plan.group_size, *leaf.shape[1:])

        def join(leaf: jax.Array) -> jax.Array:
            return jnp.moveaxis(leaf, 0, 1).reshape(leaf.shape[1], -1, *leaf.shape[3:])

        grouped = jax.tree.map(cut, (chains, seeds, fed))
        chains, drawn = lax.map(lambda group: _advance_group(group, rows, span, work, plan), grouped)
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), chains), jax.tree.map(join, drawn)

    own, alike = PartitionSpec(AXIS), PartitionSpec()
    into, out = (own, own, own, alike, alike), (own, PartitionSpec(None, AXIS))
    # no device uses another's arrays, and jax cannot see it through the loops: the check of that would refuse them
    spread = jax.shard_map(on_device, mesh=plan.mesh, in_specs=into, out_specs=out, check_vma=False)
    return spread(chains, seeds, fed, rows, span)


def _advance_group(group: tuple[Chains, jax.Array, Rows], rows: Rows, span: Span, work: Work, plan: Plan) -> Any:
    """See `advance`. Every step writes its iterate to the place of the draw that it leads to, so the last one stays.

    A chain that is alone has so many parameters that passing over them costs: what few steps need, others do without,
    and no axis of chains makes XLA transpose them.
    """
    chains, seeds, fed = group
    outputs, target, block = work.outputs, work.outputs.target, work.block
    keys = jax.vmap(noise_seed)(seeds)
    whole = work.batching.takes_all(target.num_data, work.batch_size)

    def each(fn: Callable[..., Any], in_axes: Any = 0) -> Callable[..., Any]:
        return _without_axis(fn, in_axes) if plan.alone else jax.vmap(fn, in_axes=in_axes)

    def step_of(state: Any, drawn: Any, key: jax.Array, t: jax.Array) -> Any:
        batch = Batch(target, drawn if fed else rows if whole else take(rows, drawn))
        return work.algorithm.step(jax.random.fold_in(key, t), state, batch)

    def move(state: Any, overflow: jax.Array, drawn: Any, key: jax.Array, t: jax.Array) -> Any:
        state, _ = step_of(state, drawn, key, t)
        if not plan.alone:
            return mark_overflow(state, overflow, t + 1)
        needed = ~_surely_finite(state.z) | (overflow >= 0)
        return _where_needed(needed, lambda state, overflow: mark_overflow(state, overflow, t + 1), state, overflow)

    def say(state: Any, drawn: Any, key: jax.Array, t: jax.Array) -> dict[str, jax.Array]:
        info = step_of(state, drawn, key, t)[1]
        return {name: getattr(info, name).astype(kind) for name, kind in outputs.stats}

    def many(number: jax.Array, carry: Any) -> Any:
        chains, buffers = carry
        origin = number * block
        chains = lax.cond((origin % LOOK_EVERY == 0) & (span.start <= origin), _look, lambda s, _: s, chains, origin)
        draw = partial(batch_indices, num_data=target.num_data, batch_size=work.batch_size, batching=work.batching)
        indices = jax.vmap(lambda seed: draw(seed, origin + jnp.arange(block)), out_axes=1)(seeds)
        # or XLA computes the numbers anew for every array of rows that it gathers
        indices = lax.optimization_barrier(indices)

        def step(t: jax.Array, carry: Any) -> Any:
            (state, overflow), (z, stats) = carry
            drawn = tuple(leaf[:, t - span.start] for leaf in fed) if fed else indices[t - origin]
            # what is said of a step is computed for the draws alone: it costs as much as half a step
            drawing = (t + 1 - span.warmup) % span.thinning == 0
            saying = each(say, (0, 0, 0, None))
            said = {name: jnp.zeros(len(seeds), kind) for name, kind in outputs.stats}
            if plan.alone:
                state, said = _where_needed(drawing, lambda s, _: (s, saying(s, drawn, keys, t)), state, said)
            else:
                said = lax.cond(drawing, lambda: saying(state, drawn, keys, t), lambda: said)
            state, overflow = each(move, (0, 0, 0, 0, None))(state, overflow, drawn, keys, t)
            place = jnp.clip((t - span.warmup) // span.thinning - span.first, 0, work.capacity - 1)
            put = partial(jax.tree.map, lambda buffer, value: buffer.at[place].set(value))
            if plan.alone:
                z, new = _where_needed(drawing, lambda z, new: (put(z, new), new), z, state.z)
                state = state._replace(z=new)
            else:
                z = put(z, state.z)
            return (state, overflow), (z, put(stats, said))

        steps = jnp.maximum(span.start, origin), jnp.minimum(span.stop, origin + block)
        (state, overflow), buffers = lax.fori_loop(*steps, step, ((chains.state, chains.overflow), buffers))
        return chains._replace(state=state, overflow=overflow), buffers

    drawn = chains.state.z, {name: jnp.zeros(len(seeds), kind) for name, kind in outputs.stats}
    buffers = jax.tree.map(lambda leaf: jnp.zeros((work.capacity, *leaf.shape), leaf.dtype), drawn)
    blocks = span.start // block, (span.stop + block - 1) // block
    chains, (z, said) = lax.fori_loop(*blocks, many, (chains, buffers))
    return chains, (jax.vmap(jax.vmap(lambda z: outputs(z, rows)))(z), said)


def _without_axis(fn: Callable[..., Any], in_axes: Any) -> Callable[..., Any]:
    """Return what `jax.vmap` would for an axis of one chain, without it."""

    def of_one(*arguments: Any) -> Any:
        axes = in_axes if isinstance(in_axes, tuple) else (in_axes,) * len(arguments)
        own = [
            one if axis is None else jax.tree.map(lambda leaf: leaf[0], one)
            for one, axis in zip(arguments, axes, strict=True)
        ]
        return jax.tree.map(lambda leaf: leaf[None], fn(*own))

    return of_one


def _where_needed(needed: jax.Array, fn: Callable[..., Any], *values: Any) -> Any:
    """Return fn(*values), of the types of the values, or the values: a loop of one turn or none copies nothing."""
    return lax.fori_loop(0, needed.astype(jnp.int32), lambda _, values: fn(*values), values)


def _look(chains: Chains, step: jax.Array) -> Chains:
    """Note which chains have stood still since they were last looked at."""
    moved = jnp.full(chains.still.shape, False)
    for now, then in zip(jax.tree.leaves(chains.state.z), jax.tree.leaves(chains.anchor), strict=True):
        moved |= jnp.any(jnp.abs(now - then) > _STILL, axis=tuple(range(1, now.ndim)))
    since = jnp.where(chains.still < 0, step - LOOK_EVERY, chains.still)
    # the anchor of step 0 is the start itself
    return chains._replace(anchor=chains.state.z, still=jnp.where(moved | (step == 0), -1, since).astype(jnp.int32))

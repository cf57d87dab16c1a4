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
from sgdvi.draws.functionals import Sites
from sgdvi.samplers.algorithms.sgd import batch_indices, noise_seed
from sgdvi.samplers.driver.devices import AXIS, Plan
from sgdvi.samplers.driver.status import ChainStatus
from sgdvi.samplers.protocol import Algorithm, Batch
from sgdvi.samplers.targets.base import Params, Target
from sgdvi.samplers.targets.plates import first_line

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
            advice = f"It gets one object with the arrays {', '.join(sites)}: ds[{next(iter(sites))!r}] ** 2."
            advice += " For the parameters as a network has them: sgdvi.Loss(...).per_draw(function)."
            try:
                jax.eval_shape(lambda values, fn=fn: jnp.asarray(fn(Sites(values))), dict(sites))
            except Exception as error:
                raise InputError(message(rule, first_line(error), advice)) from error
            require(name not in sites, "a functional must not have the name of a site", repr(name), "Rename it.")
        return jax.eval_shape(self.__call__, z, rows)


def first_state(z: Params, algorithm: Algorithm) -> Chains:
    """Return the state of chains that start at `z`."""
    chains = jax.tree.leaves(z)[0].shape[0]
    never = jnp.asarray(np.full(chains, -1, np.int32))
    return Chains(jax.vmap(algorithm.init)(z), never, z, never)


def mark_overflow(state: Any, overflow: jax.Array, step: jax.Array) -> tuple[Any, jax.Array]:
    """Note the first step after which a parameter is not finite, and set a chain that overflowed to NaN."""
    finite = jnp.all(jnp.array([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(state.z)]))
    overflow = jnp.where((overflow < 0) & ~finite, step, overflow)
    # all of it: parameters that are finite still would pass for draws
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
    sharded = jax.shard_map(on_device, mesh=plan.mesh, in_specs=into, out_specs=out, check_vma=False)
    return sharded(chains, seeds, fed, rows, span)


def _advance_group(group: tuple[Chains, jax.Array, Rows], rows: Rows, span: Span, work: Work, plan: Plan) -> Any:
    """See `advance`. A chain that is alone loses its axis of chains on the way: with it XLA transposes parameters."""
    chains, seeds, fed = jax.tree.map(lambda leaf: leaf[0], group) if plan.alone else group
    keys = noise_seed(seeds) if plan.alone else jax.vmap(noise_seed)(seeds)
    steps = (_StepsAlone if plan.alone else _Steps)(work, span, rows, fed, seeds, keys)
    # parameters are kept, and their sites computed at the end for the draws alone
    drawn = chains.state.z, steps.nothing_said()
    buffers = jax.tree.map(lambda leaf: jnp.zeros((work.capacity, *leaf.shape), leaf.dtype), drawn)
    blocks = span.start // work.block, (span.stop + work.block - 1) // work.block
    chains, (z, said) = lax.fori_loop(*blocks, steps.take_block, (chains, buffers))
    if plan.alone:
        chains = jax.tree.map(lambda leaf: leaf[None], chains)
        z, said = jax.tree.map(lambda leaf: leaf[:, None], (z, said))
    made = jnp.clip((span.stop - span.warmup) // span.thinning - span.first, 0, work.capacity)
    return chains, ((_outputs_alone if plan.alone else _outputs)(work, rows, z, made), said)


def _outputs(work: Work, rows: Rows, z: Params, made: jax.Array) -> dict[str, jax.Array]:
    """Return the values of all draws in the buffer; axes (draw, chain, ...)."""
    return jax.vmap(jax.vmap(lambda z: work.outputs(z, rows)))(z)


def _outputs_alone(work: Work, rows: Rows, z: Params, made: jax.Array) -> dict[str, jax.Array]:
    """Return the values of the draws that were made, one after the other: predictions of a large network cost."""

    def at(number: Any) -> dict[str, jax.Array]:
        return work.outputs(jax.tree.map(lambda leaf: leaf[number, 0], z), rows)

    like = jax.eval_shape(at, 0)
    blank = {name: jnp.zeros((work.capacity, 1, *one.shape), one.dtype) for name, one in like.items()}

    def put(number: jax.Array, values: dict[str, jax.Array]) -> dict[str, jax.Array]:
        new = at(number)
        return {name: value.at[number, 0].set(new[name]) for name, value in values.items()}

    return lax.fori_loop(0, made, put, blank)


@dataclass(frozen=True)
class _Steps:
    """The steps of a group of chains: what they read, and what one chain does.

    Attributes
    ----------
    work, span, rows, fed
        As in `advance`.
    seeds, keys
        Of the rows, and of the noise, of each chain.
    """

    work: Work
    span: Span
    rows: Rows
    fed: Rows
    seeds: jax.Array
    keys: jax.Array

    def take_block(self, number: jax.Array, carry: Any) -> Any:
        """Take the steps of one block: chains and buffers of draws in, and out."""
        chains, buffers = carry
        # blocks begin at multiples of their length, so that every look falls on the first step of one
        first, block = number * self.work.block, self.work.block
        due = (first % LOOK_EVERY == 0) & (self.span.start <= first)
        chains = lax.cond(due, self.look, lambda chains, _: chains, chains, first)
        # or XLA computes the numbers anew for every array of rows that it gathers
        indices = lax.optimization_barrier(self.indices(first + jnp.arange(block)))

        def step(t: jax.Array, carry: Any) -> Any:
            return self.take(t, self.fed_at(t - self.span.start) if self.fed else indices[t - first], carry)

        # the first block and the last one of a span may be cut
        steps = jnp.maximum(self.span.start, first), jnp.minimum(self.span.stop, first + block)
        (state, overflow), buffers = lax.fori_loop(*steps, step, ((chains.state, chains.overflow), buffers))
        return chains._replace(state=state, overflow=overflow), buffers

    def rows_of(self, seed: jax.Array, steps: jax.Array) -> jax.Array:
        """Return the numbers of the rows of these steps in one chain, (B, S)."""
        return batch_indices(seed, steps, self.num_data, self.work.batch_size, self.work.batching)

    def step(self, state: Any, drawn: Any, key: jax.Array, t: jax.Array) -> tuple[Any, Any]:
        """Take step t of one chain; `drawn` are its rows if they are fed, or their numbers."""
        whole = self.work.batching.takes_all(self.num_data, self.work.batch_size)
        batch = Batch(self.work.outputs.target, drawn if self.fed else self.rows if whole else take(self.rows, drawn))
        # from the number of the step alone: however a run is cut into spans or resumed, its noise is the same
        return self.work.algorithm.step(jax.random.fold_in(key, t), state, batch)

    def say(self, state: Any, drawn: Any, key: jax.Array, t: jax.Array) -> dict[str, jax.Array]:
        """Return what is said of step t of one chain, computed for the steps of draws alone: it is half a step."""
        info = self.step(state, drawn, key, t)[1]
        return {name: getattr(info, name).astype(kind) for name, kind in self.work.outputs.stats}

    def nothing_said(self) -> dict[str, jax.Array]:
        """Return zeros in the form of what is said of a step."""
        return {name: jnp.zeros(self.seeds.shape[:-1], kind) for name, kind in self.work.outputs.stats}

    def draws(self, t: jax.Array) -> jax.Array:
        """Whether a draw is taken after step t."""
        return (t + 1 - self.span.warmup) % self.span.thinning == 0

    def put(self, t: jax.Array, buffers: Any, values: Any) -> Any:
        """Write to the place of the draw that step t leads to: of all iterates on the way, the last one stays."""
        number = (t - self.span.warmup) // self.span.thinning - self.span.first
        # steps of the warmup write to the first place, which the first draw overwrites
        place = jnp.clip(number, 0, self.work.capacity - 1)
        return jax.tree.map(lambda buffer, value: buffer.at[place].set(value), buffers, values)

    @property
    def num_data(self) -> int:
        """Number of all rows."""
        return self.work.outputs.target.num_data

    # what has an axis of chains: in a class of its own for the one chain that has none

    def look(self, chains: Chains, step: jax.Array) -> Chains:
        """Note which chains have stood still since they were last looked at."""
        return jax.vmap(_look, (0, None))(chains, step)

    def indices(self, steps: jax.Array) -> jax.Array:
        """Return the numbers of the rows of these steps, axes (step, chain, row)."""
        return jax.vmap(lambda seed: self.rows_of(seed, steps), out_axes=1)(self.seeds)

    def fed_at(self, number: jax.Array) -> Rows:
        """Return the fed rows of a step of the span, axes (chain, row, ...)."""
        return tuple(leaf[:, number] for leaf in self.fed)

    def take(self, t: jax.Array, drawn: Any, carry: Any) -> Any:
        """Take step t in all chains."""
        (state, overflow), (z, stats) = carry

        def move(state: Any, overflow: jax.Array, drawn: Any, key: jax.Array) -> tuple[Any, jax.Array]:
            return mark_overflow(self.step(state, drawn, key, t)[0], overflow, t + 1)

        say = jax.vmap(self.say, (0, 0, 0, None))
        # before the move: it takes the same step once more, from the same state
        said = lax.cond(self.draws(t), lambda: say(state, drawn, self.keys, t), self.nothing_said)
        state, overflow = jax.vmap(move)(state, overflow, drawn, self.keys)
        return (state, overflow), self.put(t, (z, stats), (state.z, said))


class _StepsAlone(_Steps):
    """The steps of one chain without an axis of chains.

    It has so many parameters that passing over them costs: what few steps need, others do without.
    """

    def look(self, chains: Chains, step: jax.Array) -> Chains:
        """See `_Steps`."""
        return _look(chains, step)

    def indices(self, steps: jax.Array) -> jax.Array:
        """Return the numbers of the rows of these steps, axes (step, row)."""
        return self.rows_of(self.seeds, steps)

    def fed_at(self, number: jax.Array) -> Rows:
        """Return the fed rows of a step of the span, axes (row, ...)."""
        return tuple(leaf[number] for leaf in self.fed)

    def take(self, t: jax.Array, drawn: Any, carry: Any) -> Any:
        """Take step t."""
        (state, overflow), (z, stats) = carry
        drawing, nothing = self.draws(t), self.nothing_said()
        # the state goes through the loop, which copies nothing of what it carries
        state, said = _where_needed(drawing, lambda s, _: (s, self.say(s, drawn, self.keys, t)), state, nothing)
        state, _ = self.step(state, drawn, self.keys, t)
        needed = ~_surely_finite(state.z) | (overflow >= 0)
        state, overflow = _where_needed(needed, lambda s, first: mark_overflow(s, first, t + 1), state, overflow)
        z, iterate = _where_needed(drawing, lambda z, iterate: (self.put(t, z, iterate), iterate), z, state.z)
        return (state._replace(z=iterate), overflow), (z, self.put(t, stats, said))


def _where_needed(needed: jax.Array, fn: Callable[..., Any], *values: Any) -> Any:
    """Return fn(*values), of the types of the values, or the values: a loop of one turn or none copies nothing."""
    return lax.fori_loop(0, needed.astype(jnp.int32), lambda _, values: fn(*values), values)


def _look(chains: Chains, step: jax.Array) -> Chains:
    """Note whether one chain has stood still since it was last looked at."""
    pairs = zip(jax.tree.leaves(chains.state.z), jax.tree.leaves(chains.anchor), strict=True)
    moved = jnp.any(jnp.array([jnp.any(jnp.abs(now - then) > _STILL) for now, then in pairs]))
    since = jnp.where(chains.still < 0, step - LOOK_EVERY, chains.still)
    # the anchor of step 0 is the start itself
    return chains._replace(anchor=chains.state.z, still=jnp.where(moved | (step == 0), -1, since).astype(jnp.int32))

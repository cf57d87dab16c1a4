"""The compiled loop of the driver: many chains, many steps, the draws that they lead to, and what became of them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from sgdvi._check import InputError, message, require
from sgdvi._status import ChainStatus
from sgdvi._tree import Rows, take
from sgdvi.samplers.sgd import batch_indices, descend, mark_overflow
from sgdvi.samplers.target import Params, Target

# A chain is looked at every so many steps. A power of two, as blocks are: whatever the block, one begins here.
LOOK_EVERY = 1024
# Near the collapse of v = u w the density of v is v^(e - 1): a chain that comes back from u = 1e-28 is not seen.
_STILL = 1e-30


class Chains(NamedTuple):
    """State of all chains; every leaf has a leading axis of chains.

    Attributes
    ----------
    z, opt_state
        Parameters in unconstrained coordinates, and the optimizer's state.
    overflow
        The step after which a parameter was first not finite; -1 while all are.
    anchor
        Parameters when the chain was last looked at.
    still
        The step since which no parameter has moved by more than 1e-30 from one look to the next; -1 if one has.
    """

    z: Params
    opt_state: Any
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


@dataclass(frozen=True)
class Outputs:
    """What a draw consists of.

    Attributes
    ----------
    target
        Maps parameters to sites.
    keep
        Names of the sites that are kept.
    functionals
        Pairs of a name and a function of the sites of one draw.
    """

    target: Target
    keep: tuple[str, ...]
    functionals: tuple[tuple[str, Callable[[Any], Any]], ...]

    def __call__(self, z: Params, rows: Rows) -> dict[str, jax.Array]:
        """Return the values of one draw."""
        values = Sites(self.target.constrain(z, rows))
        computed = {name: jnp.asarray(fn(values)) for name, fn in self.functionals}
        return {name: values[name] for name in self.keep} | computed

    def describe(self, z: Params, rows: Rows) -> dict[str, jax.ShapeDtypeStruct]:
        """Return shape and type of every value of a draw; `z` is one chain's.

        Raises
        ------
        InputError
            If a functional cannot be computed from the sites of one draw.
        """
        sites = jax.eval_shape(self.target.constrain, z, rows)
        for name, fn in self.functionals:
            rule = f"the functional {name!r} must be computable by JAX from the sites of one draw"
            advice = f"It gets one object with the arrays {', '.join(sites)}: lambda ds: ds.{next(iter(sites))} ** 2."
            try:
                jax.eval_shape(lambda values, fn=fn: jnp.asarray(fn(Sites(values))), dict(sites))
            except Exception as error:
                raise InputError(message(rule, f"{type(error).__name__}: {error}", advice)) from error
            require(name not in sites, "a functional must not have the name of a site", repr(name), "Rename it.")
        return jax.eval_shape(self.__call__, z, rows)


def first_state(z: Params, optimizer: optax.GradientTransformation) -> Chains:
    """Return the state of chains that start at `z`."""
    chains = jax.tree.leaves(z)[0].shape[0]
    never = jnp.full(chains, -1, jnp.int32)
    return Chains(z, jax.vmap(optimizer.init)(z), never, z, never)


def status_of(overflow: np.ndarray, still: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return status and step of all chains: overflowed and collapsed chains have the step at which it happened."""
    status = np.full(len(overflow), ChainStatus.OK.value, dtype="<U10")
    status[still >= 0] = ChainStatus.COLLAPSED.value
    status[overflow >= 0] = ChainStatus.OVERFLOWED.value
    return status, np.where(overflow >= 0, overflow, still)


@partial(jax.jit, static_argnames=("outputs", "optimizer", "batch_size", "replace", "block", "capacity"))
def advance(
    state: Chains,
    seeds: jax.Array,
    rows: Rows,
    start: jax.Array,
    stop: jax.Array,
    warmup: jax.Array,
    thinning: jax.Array,
    first: jax.Array,
    *,
    outputs: Outputs,
    optimizer: optax.GradientTransformation,
    batch_size: int,
    replace: bool,
    block: int,
    capacity: int,
) -> tuple[Chains, dict[str, jax.Array], jax.Array]:
    """Take the steps start .. stop - 1 in all chains; return the state, and the draws from number `first` on.

    Every step writes its iterate to the place of the draw that it leads to, so the last one stays: no branch, and
    numbers of steps are data, so that one compilation serves all calls.
    """
    target = outputs.target

    def one(z: Params, opt_state: Any, overflow: jax.Array, indices: jax.Array, step: jax.Array) -> Any:
        z, opt_state, loss = descend(target, optimizer, z, opt_state, take(rows, indices))
        return *mark_overflow(z, overflow, step), opt_state, loss

    def many(number: jax.Array, carry: Any) -> Any:
        state, buffers = carry
        origin = number * block
        state = lax.cond((origin % LOOK_EVERY == 0) & (start <= origin), _look, lambda s, _: s, state, origin)
        draw = partial(batch_indices, num_data=target.num_data, batch_size=batch_size, replace=replace)
        indices = jax.vmap(lambda seed: draw(seed, origin + jnp.arange(block)), out_axes=1)(seeds)

        def step(t: jax.Array, carry: Any) -> Any:
            (z, opt_state, overflow), buffers = carry
            z, overflow, opt_state, loss = jax.vmap(one, in_axes=(0, 0, 0, 0, None))(
                z, opt_state, overflow, indices[t - origin], t + 1
            )
            place = jnp.clip((t - warmup) // thinning - first, 0, capacity - 1)
            return (z, opt_state, overflow), jax.tree.map(lambda b, v: b.at[place].set(v), buffers, (z, loss))

        moving = state.z, state.opt_state, state.overflow
        span = jnp.maximum(start, origin), jnp.minimum(stop, origin + block)
        (z, opt_state, overflow), buffers = lax.fori_loop(*span, step, (moving, buffers))
        return state._replace(z=z, opt_state=opt_state, overflow=overflow), buffers

    empty = jax.tree.map(lambda leaf: jnp.zeros((capacity, *leaf.shape), leaf.dtype), state.z)
    buffers = empty, jnp.zeros((capacity, len(seeds)), jnp.result_type(float))
    state, (z, loss) = lax.fori_loop(start // block, (stop + block - 1) // block, many, (state, buffers))
    return state, jax.vmap(jax.vmap(lambda z: outputs(z, rows)))(z), loss


def _look(state: Chains, step: jax.Array) -> Chains:
    """Note which chains have stood still since they were last looked at."""
    moved = jnp.full(state.still.shape, False)
    for now, then in zip(jax.tree.leaves(state.z), jax.tree.leaves(state.anchor), strict=True):
        moved |= jnp.any(jnp.abs(now - then) > _STILL, axis=tuple(range(1, now.ndim)))
    since = jnp.where(state.still < 0, step - LOOK_EVERY, state.still)
    # the anchor of step 0 is the start itself
    return state._replace(anchor=state.z, still=jnp.where(moved | (step == 0), -1, since).astype(jnp.int32))

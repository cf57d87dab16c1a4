"""Stochastic gradient descent: the step, which rows it sees, and the rate of an optimizer."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.extend.random import threefry_2x32

from sgdvi._internal.batches import Batching
from sgdvi._internal.check import require
from sgdvi.laws.momentum import Momentum
from sgdvi.samplers.algorithms._epochs import GOLDEN, ROUNDS, mixed, permuted
from sgdvi.samplers.protocol import Algorithm, Batch
from sgdvi.samplers.targets.base import Params

# Floyd's algorithm compares S^2/2 pairs, the top-k way draws N numbers: the crossover was measured
_FLOYD_LIMIT = 4.0


class SGDState(NamedTuple):
    """State of one chain.

    Attributes
    ----------
    z
        Parameters in unconstrained coordinates.
    opt_state
        State of the optimizer.
    """

    z: Params
    opt_state: Any


class SGDInfo(NamedTuple):
    """What is known of one step.

    Attributes
    ----------
    loss
        Loss of the minibatch, at the parameters before the step.
    """

    loss: jax.Array


def sgd(optimizer: optax.GradientTransformation, injected_noise: float = 0.0) -> Algorithm:
    """Return SGD with an optax optimizer, which also gets what line searches ask for: value, grad and value_fn.

    Gaussian noise of sd `injected_noise` is added to every entry of the gradient that the optimizer gets.
    """
    update = optax.with_extra_args_support(optimizer).update

    def init(z: Params) -> SGDState:
        return SGDState(z, optimizer.init(z))

    def step(key: jax.Array, state: SGDState, batch: Batch) -> tuple[SGDState, SGDInfo]:
        loss, gradient = batch.value_and_grad(state.z)
        if injected_noise:
            noise = optax.tree.random_like(key, gradient, jax.random.normal)
            gradient = jax.tree.map(lambda one, other: one + injected_noise * other, gradient, noise)
        extra = {"value": loss, "grad": gradient, "value_fn": batch.loss}
        updates, opt_state = update(gradient, state.opt_state, state.z, **extra)
        return SGDState(optax.apply_updates(state.z, updates), opt_state), SGDInfo(loss)

    return Algorithm(init, step)


def chain_seed(key: jax.Array) -> jax.Array:
    """Return the two words, uint32, that number the minibatches of the chain with this key."""
    return jax.random.bits(key, (2,), jnp.uint32)


def noise_seed(seed: jax.Array) -> jax.Array:
    """Return the key of a chain's own noise: threefry of its seed, apart from the rows' hash."""
    last = jnp.uint32(0xFFFFFFFF)
    return jax.random.wrap_key_data(threefry_2x32(seed, jnp.stack([last, last])), impl="threefry2x32")


def batch_indices(seed: jax.Array, steps: jax.Array, num_data: int, batch_size: int, batching: Batching) -> jax.Array:
    """Return the rows of the minibatches of these steps: a function of the seed and the step only.

    A hash is evaluated at (seed, step, position), so that steps can be drawn in any grouping; it takes a tenth of the
    time of threefry. Its 32 bits b become the row floor(b N / 2^32), which is uniform up to N/2^32. For epochs see
    `permuted`.

    Parameters
    ----------
    seed
        Seed of the chain, shape (2,), uint32: see `chain_seed`.
    steps
        Numbers of the steps, shape (B,).
    num_data, batch_size
        N and S.
    batching
        How rows are drawn.

    Returns
    -------
    jax.Array
        int32, shape (B, S).
    """
    if batching.takes_all(num_data, batch_size):
        return jnp.broadcast_to(jnp.arange(num_data, dtype=jnp.int32), (steps.shape[0], num_data))
    if batching is Batching.REPLACEMENT:
        return _scaled(_bits(seed, steps, batch_size), jnp.uint32(num_data)).astype(jnp.int32)
    if batching is Batching.EPOCHS:
        length = num_data // batch_size
        places = (steps % length * batch_size)[:, None] + jnp.arange(batch_size)
        return permuted(_bits(seed, steps // length, ROUNDS), places, num_data)
    if batch_size * batch_size > _FLOYD_LIMIT * num_data:
        return lax.top_k(_bits(seed, steps, num_data), batch_size)[1].astype(jnp.int32)
    return _floyd(_bits(seed, steps, batch_size), num_data, batch_size)


class Rate(NamedTuple):
    """Learning rate of an optimizer, as far as it has one.

    Attributes
    ----------
    value
        The constant rate of the plain SGD that moves like the optimizer; None where there is none.
    note
        What a reader must know of it; empty for plain SGD.
    momentum
        That of the optimizer, whose own rate is value (1 - mu); None where it is neither plain SGD nor one of these.
    """

    value: float | None
    note: str
    momentum: Momentum | None = None


def probe_rate(optimizer: optax.GradientTransformation) -> Rate:
    """Find the learning rate of an optimizer from what it does to a few gradients.

    The state of ``optax.sgd(0.01)`` does not hold the rate. The response to a gradient of 1 followed by zeros is h_0,
    h_1, ...; plain SGD has h = (eta, 0, 0, ...), momentum mu a geometric tail (h_1/h_0 = mu, mu^2/(1 + mu) for
    Nesterov's), and the temperature of plain SGD with rate sum(h) = eta/(1 - mu) while eta times the curvature is far
    below 1 - mu. An optimizer whose updates are not that linear response, or which counts its steps (schedules, Adam),
    has no known rate.

    Raises
    ------
    InputError
        If the optimizer is plain SGD or momentum whose rate is not a finite number above 0.
    """
    unknown = Rate(None, "no constant learning rate is known for this optimizer: give learning_rate=")
    inputs = np.random.default_rng(0).normal(size=(24, 3)) * np.geomspace(1e-2, 1e4, 24)[:, None]
    try:
        with jax.enable_x64(True):
            state = optimizer.init(_probe(0.0))
            if any(not jnp.issubdtype(jnp.result_type(leaf), jnp.floating) for leaf in jax.tree.leaves(state)):
                return unknown
            response = _responses(optimizer, np.eye(4)[:, :1] * [1.0, -2.0, 1e-3])[:, 0]
            outputs = _responses(optimizer, inputs)
    except Exception:
        # an optimizer may be made for particular parameters (masks, partitions): it cannot be probed on others
        return unknown
    momentum = float(response[2] / response[1]) if response[1] else 0.0
    rate = float(response[0] + response[1] / (1 - momentum)) if momentum != 1 else math.inf
    rule, advice = "the optimizer's learning rate must be a finite number above 0", "Give for example optax.sgd(0.01)."
    require(math.isfinite(response[0]) and response.any(), rule, response[0], advice)
    kernel = np.concatenate([response[:1], response[1] * momentum ** np.arange(len(inputs) - 1)])
    predicted = np.array([kernel[: t + 1][::-1] @ inputs[: t + 1] for t in range(len(inputs))])
    if not (abs(momentum) < 1 and np.allclose(outputs, predicted, rtol=1e-4, atol=1e-5 * np.abs(predicted).max())):
        return unknown
    require(rate > 0, rule, rate, advice)
    memory = _momentum(response, momentum)
    return Rate(float(f"{rate:.12g}"), _note(momentum, memory), memory)


def _momentum(response: np.ndarray, mu: float) -> Momentum | None:
    """Return the momentum of which this is the response; None where the tail does not fit the first entry."""
    if not 0 <= mu < 1:
        return None
    share = response[1] / response[0]
    if np.isclose(share, mu, rtol=1e-4, atol=1e-7):
        return Momentum(float(f"{mu:.12g}"))
    return Momentum(float(f"{mu:.12g}"), nesterov=True) if np.isclose(share, mu**2 / (1 + mu), rtol=1e-4) else None


def _note(mu: float, memory: Momentum | None) -> str:
    if not mu:
        return ""
    name = "Nesterov's momentum" if memory is not None and memory.nesterov else "momentum"
    limit = f"the temperature while eta times the largest curvature is far below 1 - mu = {1 - mu:.3g}"
    exact = "; sgdvi.local_quadratic(...).discrete_time(momentum=) is exact beyond" if memory is not None else ""
    return f"eta/(1 - mu) with {name} mu = {mu:.4g}: {limit}{exact}"


def _probe(value: Any) -> Params:
    return {"probe": jnp.asarray(np.full(3, value, jnp.result_type(float)))}


def _responses(optimizer: optax.GradientTransformation, gradients: np.ndarray) -> np.ndarray:
    """Minus the updates for a sequence of gradients, shape (step, 3), at parameters that move all the time."""
    state, collected = optimizer.init(_probe(0.0)), []
    for number, gradient in enumerate(gradients):
        updates, state = optimizer.update(_probe(gradient), state, _probe(10.0 * number))
        collected.append(-np.asarray(updates["probe"], np.float64))
    return np.stack(collected)


def _bits(seed: jax.Array, steps: jax.Array, count: int) -> jax.Array:
    """Return 32 bits for each of `count` positions of each step, shape (B, count): a hash of seed, step, position."""
    step = steps.astype(jnp.uint32)
    one = mixed(step + seed[0])
    # the step enters twice, in two ways: no seed's sequence is another's with its steps shifted
    two = mixed((one ^ seed[1]) + step * jnp.uint32(0x85EBCA6B))
    position = jnp.arange(count, dtype=jnp.uint32) * jnp.uint32(GOLDEN)
    return mixed(one[:, None] ^ (two[:, None] + position))


def _scaled(bits: jax.Array, size: jax.Array) -> jax.Array:
    """Return floor(bits size / 2^32) in 32-bit arithmetic, which gives the same rows with and without x64."""
    b1, b0, n1, n0 = bits >> 16, bits & 0xFFFF, size >> 16, size & 0xFFFF
    low, mid, cross = b0 * n0, b1 * n0, b0 * n1
    carry = ((low >> 16) + (mid & 0xFFFF) + (cross & 0xFFFF)) >> 16
    return b1 * n1 + (mid >> 16) + (cross >> 16) + carry


def _floyd(bits: jax.Array, num_data: int, batch_size: int) -> jax.Array:
    """Draw subsets of `batch_size` rows, each equally likely (Floyd's algorithm); their order is not random."""
    first = num_data - batch_size
    drawn = _scaled(bits, jnp.arange(first + 1, num_data + 1, dtype=jnp.uint32)).astype(jnp.int32)

    def place(number: jax.Array, chosen: jax.Array) -> jax.Array:
        candidate = drawn[:, number]
        taken = jnp.any(chosen == candidate[:, None], axis=1)
        return chosen.at[:, number].set(jnp.where(taken, first + number, candidate))

    return lax.fori_loop(0, batch_size, place, jnp.full(drawn.shape, -1, jnp.int32))

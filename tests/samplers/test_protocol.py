"""The protocol of samplers: what a user's own algorithm gets from the driver, and what is refused."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from numpyro.infer import MCMC

import sgdvi
from sgdvi._internal.batches import Batching
from sgdvi.samplers.algorithms.sgd import batch_indices, noise_seed

N = 30
RNG = np.random.default_rng(2)
X = RNG.normal(size=N)
Y = 0.5 * X + RNG.normal(size=N)
MODEL = sgdvi.LinearNetwork(X, Y, depth=1, prior_sd=2.0).model


class State(NamedTuple):
    z: Any
    count: jax.Array


class Info(NamedTuple):
    loss: jax.Array
    count: jax.Array


def init(z: Any) -> State:
    return State(z, jnp.int32(0))


def step(key: jax.Array, state: State, batch: sgdvi.Batch) -> tuple[State, Info]:
    loss, gradient = batch.value_and_grad(state.z)
    kick = jax.random.normal(key, (2,))
    z = {"u": state.z["u"] - 0.05 * gradient["u"] + 0.1 * kick[0], "w": state.z["w"] - 0.05 * gradient["w"]}
    return State(z, state.count + 1), Info(loss, state.count + 1)


@pytest.fixture(scope="module")
def own() -> sgdvi.Sampler:
    return sgdvi.Sampler(MODEL, sgdvi.Algorithm(init, step), batch_size=2)


def sample(sampler: Any, **options: Any) -> Any:
    settings = {"key": jax.random.key(5), "num_steps": 60, "num_chains": 2, "progress": False}
    return sgdvi.sample(sampler, (X, Y), **(settings | options))


def test_an_algorithm_of_ones_own_gets_what_sgd_gets(own: sgdvi.Sampler) -> None:
    tree = sample(own, thinning=3)
    np.testing.assert_array_equal(tree["sample_stats"]["count"], [np.arange(3, 61, 3)] * 2)
    assert tree["posterior"].attrs["kind"] == "user"
    assert (tree["chain_status"]["status"] == "ok").all()

    def quiet(key: jax.Array, state: State, batch: sgdvi.Batch) -> tuple[State, Info]:
        loss, gradient = batch.value_and_grad(state.z)
        return State(jax.tree.map(lambda z, g: z - 0.05 * g, state.z, gradient), state.count), Info(loss, state.count)

    mine = sample(sgdvi.Sampler(MODEL, sgdvi.Algorithm(init, quiet), batch_size=2))
    theirs = sample(sgdvi.SGD(MODEL, learning_rate=0.05, batch_size=2))
    np.testing.assert_allclose(mine["posterior"]["u"], theirs["posterior"]["u"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(mine["sample_stats"]["loss"], theirs["sample_stats"]["loss"], rtol=1e-5)


def test_noise_is_a_function_of_key_and_step(own: sgdvi.Sampler, tmp_path: Any) -> None:
    whole = sample(own)["posterior"]["u"].values
    np.testing.assert_array_equal(
        sample(own, num_chains=3, num_warmup=20, num_steps=40)["posterior"]["u"][:2], whole[:, 20:]
    )
    sample(own, num_steps=25, store=tmp_path / "draws.zarr")
    on = sample(own, store=tmp_path / "draws.zarr", resume=True)
    np.testing.assert_array_equal(on["posterior"]["u"], whole)
    np.testing.assert_array_equal(on["sample_stats"]["count"], [range(1, 61)] * 2)
    run = MCMC(own, num_warmup=0, num_samples=60, chain_method="vectorized", num_chains=2, progress_bar=False)
    run.run(jax.vmap(lambda chain: jax.random.fold_in(jax.random.key(5), chain))(jnp.arange(2)), X, Y)
    np.testing.assert_allclose(run.get_samples(group_by_chain=True)["u"], whole, rtol=1e-4, atol=1e-5)


def test_noise_does_not_follow_the_rows() -> None:
    seed = jnp.array([3, 4], jnp.uint32)
    steps = jnp.arange(2000)
    noise = jax.vmap(lambda t: jax.random.bits(jax.random.fold_in(noise_seed(seed), t), (4,), jnp.uint32))(steps)
    rows = batch_indices(seed, steps, 1 << 16, 4, Batching.REPLACEMENT)
    for shift in range(3):
        matrix = np.corrcoef(np.asarray(noise[shift:]).T, np.asarray(rows[: len(rows) - shift]).T)[:4, 4:]
        assert np.abs(matrix).max() < 5 / np.sqrt(2000)


def test_all_rows() -> None:
    sampler = sgdvi.SGD(MODEL, learning_rate=0.05, batch_size=None)
    assert sampler.noise_scale(N) == 0
    start = {"u": 0.9, "w": -0.3}
    same = sgdvi.SGD(MODEL, learning_rate=0.05, batch_size=N, batching="without-replacement")
    np.testing.assert_array_equal(
        sample(sampler, init=start)["posterior"]["u"], sample(same, init=start)["posterior"]["u"]
    )


def wrong(change: str) -> Callable[..., Any]:
    def step(key: jax.Array, state: State, batch: sgdvi.Batch) -> Any:
        loss = batch.loss(state.z)
        return {
            "structure": ((state.z, state.count), Info(loss, state.count)),
            "type": (State(state.z, 1.0 * state.count), Info(loss, state.count)),
            "shape": (State(jax.tree.map(lambda z: z[None], state.z), state.count), Info(loss, state.count)),
            "vector": (state, Info(loss[None], state.count)),
            "number": (state, loss),
        }[change]

    return step


@pytest.mark.parametrize(
    ("algorithm", "text"),
    [
        *(
            (sgdvi.Algorithm(init, wrong(c)), "state with the structure, shapes")
            for c in ("structure", "type", "shape")
        ),
        *((sgdvi.Algorithm(init, wrong(change)), "NamedTuple of scalar arrays") for change in ("vector", "number")),
        (sgdvi.Algorithm(lambda z: z, step), "must be a NamedTuple with the parameters in a field z"),
        (sgdvi.Algorithm(init, lambda key, state: state), "must run under JAX; got TypeError"),
    ],
)
def test_bad_algorithms(algorithm: sgdvi.Algorithm, text: str) -> None:
    with pytest.raises(sgdvi.InputError, match=text):
        sample(sgdvi.Sampler(MODEL, algorithm))


def test_bad_arguments() -> None:
    with pytest.raises(sgdvi.InputError, match="algorithm must be an Algorithm"):
        sgdvi.Sampler(MODEL, optax.sgd(0.1))  # type: ignore[arg-type]
    with pytest.raises(sgdvi.InputError, match="batch_size must be a whole number"):
        sgdvi.Sampler(MODEL, sgdvi.Algorithm(init, step), batch_size=0)

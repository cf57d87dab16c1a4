"""Every kind of optax transformation in the driver, against the same one in a plain loop on the same rows."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import sgdvi
from sgdvi._internal.batches import Batching
from sgdvi.samplers.algorithms.sgd import batch_indices, chain_seed

N, S, STEPS = 30, 5, 25
RNG = np.random.default_rng(5)
X = RNG.normal(size=N)
Y = 0.5 * X + RNG.normal(size=N)
START = {"u": 0.9, "w": -0.3}
LOSS = sgdvi.Loss(lambda params, batch: (params["u"] * params["w"] * batch[0] - batch[1]) ** 2, START)

KINDS = {
    "momentum": optax.sgd(0.02, momentum=0.8),
    "nesterov": optax.sgd(0.02, momentum=0.8, nesterov=True),
    "adam": optax.adam(0.02),
    "schedule": optax.sgd(optax.cosine_decay_schedule(0.1, STEPS)),
    "weight decay": optax.adamw(0.02, weight_decay=0.3),
    "clipping": optax.chain(optax.clip_by_global_norm(0.1), optax.sgd(0.1)),
    "loss asked for": optax.polyak_sgd(0.05),
    "backtracking": optax.chain(optax.sgd(1.0), optax.scale_by_backtracking_linesearch(8, store_grad=False)),
    "zoom": optax.lbfgs(memory_size=3),
}
QUICK = ("backtracking",)


@pytest.mark.parametrize("kind", [pytest.param(k, marks=() if k in QUICK else pytest.mark.slow) for k in KINDS])
def test_transformation_is_passed_through(x64: None, kind: str) -> None:
    optimizer = KINDS[kind]
    sampler = sgdvi.SGD(LOSS, optimizer, batch_size=S)
    tree = sgdvi.sample(sampler, (X, Y), key=jax.random.key(5), num_steps=STEPS, progress=False, init=START)
    seed = chain_seed(jax.random.fold_in(jax.random.key(5), 0))
    rows = batch_indices(seed, jnp.arange(STEPS), N, S, Batching.REPLACEMENT)
    params: Any = jax.tree.map(jnp.asarray, START)
    state = optimizer.init(params)
    update = optax.with_extra_args_support(optimizer).update

    @jax.jit
    def move(params: Any, state: Any, x: jax.Array, y: jax.Array) -> tuple[Any, Any]:
        def value_fn(params: Any) -> jax.Array:
            return jnp.mean((params["u"] * params["w"] * x - y) ** 2)

        value, grad = jax.value_and_grad(value_fn)(params)
        updates, state = update(grad, state, params, value=value, grad=grad, value_fn=value_fn)
        return optax.apply_updates(params, updates), state

    found = []
    for step in rows:
        params, state = move(params, state, X[step], Y[step])
        found.append([float(params["u"]), float(params["w"])])
    u, w = np.transpose(found)
    np.testing.assert_allclose(tree["posterior"]["u"].values[0], u, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(tree["posterior"]["w"].values[0], w, rtol=1e-8, atol=1e-10)
    assert np.ptp([START["u"], *u]) > 1e-3  # something moved: minibatches can stall L-BFGS after its first step


def test_a_transformation_that_asks_for_more_is_refused_in_words() -> None:
    def update(updates: Any, state: Any, params: Any = None, *, curvature: Any, **extra: Any) -> Any:
        return updates, state

    greedy = optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)
    sampler = sgdvi.SGD(LOSS, greedy, batch_size=S, learning_rate=0.1)
    with pytest.raises(sgdvi.InputError, match="must run under JAX; got TypeError.*curvature"):
        sgdvi.sample(sampler, (X, Y), key=jax.random.key(0), num_steps=5, progress=False)


def test_an_optimizer_that_is_none_is_refused() -> None:
    with pytest.raises(sgdvi.InputError, match="optimizer must be an optax GradientTransformation"):
        sgdvi.SGD(LOSS, lambda gradient: gradient)  # type: ignore[arg-type]

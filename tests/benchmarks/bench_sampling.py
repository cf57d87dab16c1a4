"""Speed of `sgdvi.sample`: steps per CPU second, what the progress bar costs, and beside SGLD of blackjax.

Run with ``python tests/benchmarks/bench_sampling.py``. Compilation is not timed, except in the first calls.
"""

import time
from collections.abc import Iterator
from typing import Any
from unittest import mock

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
from blackjax.sgmcmc.gradients import grad_estimator

import sgdvi
from sgdvi._internal.batches import Batching
from sgdvi.samplers.algorithms.sgd import batch_indices, chain_seed
from sgdvi.samplers.driver import run
from sgdvi.zoo import load

BATCH = 8
CASES = [
    ("weak-signal", 1, 1),
    ("weak-signal", 1, 64),
    ("weak-signal", 1, 1000),
    ("diabetes", 16, 8),
    ("logistic", 16, 8),
]


def timed(kernel: sgdvi.SGD, data: Any, steps: int, chains: int) -> tuple[float, float]:
    """CPU seconds, all threads, of a run with a bar, and of the bar's updates alone."""
    settings: dict[str, Any] = {"num_steps": steps, "num_chains": chains, "thinning": steps // 100}
    start = time.process_time()
    with mock.patch.object(run._reporter, "_report", autospec=True, side_effect=run._reporter._report) as update:
        spent = 0.0
        original = update.side_effect

        def clocked(*args: Any) -> None:
            nonlocal spent
            begin = time.process_time()
            original(*args)
            spent += time.process_time() - begin

        update.side_effect = clocked
        sgdvi.sample(kernel, data, key=jax.random.key(0), **settings)
    return time.process_time() - start, spent


def measure() -> Iterator[tuple[str, int, int, float, float]]:
    """Yield model, batch size, chains, chain-steps per CPU second, and the bar's share of the time."""
    for name, batch_size, chains in CASES:
        problem = load(name)
        kernel = sgdvi.SGD(problem.model, learning_rate=1e-3, batch_size=batch_size)
        steps = 100 * max(1, 400_000 // (batch_size * chains))
        timed(kernel, problem.data, steps, chains)
        whole, bar = min(timed(kernel, problem.data, steps, chains) for _ in range(3))
        yield name, batch_size, chains, steps * chains / whole, bar / whole


def depth_one() -> tuple[Any, Any]:
    """Data and model of the comparison: N = 1000, depth 1."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=1000).astype(np.float32)
    y = (0.1 * x + rng.normal(size=1000)).astype(np.float32)
    return (x, y), sgdvi.LinearNetwork(x, y, depth=1, noise_sd=1.0, prior_sd=2.0).model


def blackjax_run(data: Any, chains: int, steps: int, hashed: bool) -> Any:
    """SGLD of blackjax, vmapped in one compiled loop; rows by the hash of this package, or by `jax.random.randint`."""
    x, y = map(jnp.asarray, data)

    def log_prior(z: Any) -> jax.Array:
        return -(z["u"] ** 2 + z["w"] ** 2) / 8

    def log_likelihood(z: Any, row: Any) -> jax.Array:
        return -((row[1] - z["u"] * z["w"] * row[0]) ** 2) / 2

    algorithm = blackjax.sgld(grad_estimator(log_prior, log_likelihood, len(x)))
    keys = jax.random.split(jax.random.key(0), chains)
    seeds = jax.vmap(chain_seed)(keys)

    def one(key: jax.Array, seed: jax.Array, z: Any, t: jax.Array) -> Any:
        key, own = jax.random.split(jax.random.fold_in(key, t))
        if hashed:
            rows = batch_indices(seed, t[None], len(x), BATCH, Batching.REPLACEMENT)[0]
        else:
            rows = jax.random.randint(own, (BATCH,), 0, len(x))
        return algorithm.step(key, z, (x[rows], y[rows]), 1e-6)

    @jax.jit
    def loop(z: Any) -> Any:
        return jax.lax.fori_loop(0, steps, lambda t, z: jax.vmap(one, (0, 0, 0, None))(keys, seeds, z, t), z)

    start = {"u": jnp.ones(chains), "w": jnp.full(chains, 0.5)}
    return lambda: jax.block_until_ready(loop(start))


def compare() -> Iterator[tuple[int, str, float, float, list[float]]]:
    """Yield chains, the rows of blackjax, chain-steps per CPU second of both, and the ratios of alternating runs."""
    data, model = depth_one()
    kernel = sgdvi.SGD(model, learning_rate=1e-3, batch_size=BATCH)
    for chains, hashed in ((64, False), (64, True), (1024, False), (1024, True)):
        few = 400_000 // chains * 4
        other = blackjax_run(data, chains, few, hashed)
        settings: dict[str, Any] = {"num_steps": 8 * few, "num_chains": chains, "thinning": few // 10}

        def own(settings: dict[str, Any] = settings) -> Any:
            return sgdvi.sample(kernel, data, key=jax.random.key(0), progress=False, **settings)

        paces: list[tuple[float, float]] = []
        for _ in range(6):
            pair = []
            for steps, job in ((8 * few, own), (few, other)):
                begin = time.process_time()
                job()
                pair.append(steps * chains / (time.process_time() - begin))
            paces.append((pair[0], pair[1]))
        # the first pair compiles
        ours, theirs = np.median(paces[1:], axis=0)
        yield chains, "hash" if hashed else "randint", ours, theirs, [round(a / b, 1) for a, b in paces[1:]]


if __name__ == "__main__":
    begin = time.process_time()
    (x, y), model = depth_one()
    first = sgdvi.SGD(model, learning_rate=1e-3, batch_size=BATCH)
    sgdvi.sample(first, (x, y), key=jax.random.key(0), num_steps=1000, num_chains=64, progress=False)
    print(f"first call, depth 1: {time.process_time() - begin:.1f} CPU s")
    for chains, rows, ours, theirs, ratios in compare():
        print(f"{chains} chains: {ours:.3g} chain-steps/s, blackjax.sgld ({rows}) {theirs:.3g}, ratios {ratios}")
    print(f"{'model':<14}{'batch':>6}{'chains':>8}{'chain-steps/s':>16}{'bar':>8}")
    for name, batch_size, chains, pace, share in measure():
        print(f"{name:<14}{batch_size:>6}{chains:>8}{pace:>16.3g}{share:>8.2%}")

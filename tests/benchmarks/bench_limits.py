"""`sgdvi.sample` beside its limits: a bare optax loop on a network, and a hand-written compiled loop on both cores.

Run with ``python tests/benchmarks/bench_limits.py`` (needs numba). Ratios are of wall time, of alternating runs in one
process; compilation is not timed.
"""

import time
from collections.abc import Callable
from typing import Any

import jax

jax.config.update("jax_num_cpu_devices", 2)  # before any import that computes

import jax.numpy as jnp  # noqa: E402
import numba  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402
from bench_sampling import BATCH, depth_one  # noqa: E402

import sgdvi  # noqa: E402

RATE, PRIOR_SD, CHAINS = 1e-3, 2.0, 1024
Job = Callable[[], Any]


def paces(ours: Job, limit: Job, repeats: int = 4) -> list[float]:
    """Return seconds of the limit over seconds of ours, of alternating runs; the first pair compiles."""
    ratios = []
    for _ in range(repeats):
        seconds = []
        for job in (ours, limit):
            begin = time.perf_counter()
            job()
            seconds.append(time.perf_counter() - begin)
        ratios.append(seconds[1] / seconds[0])
    print(f"  last pair: ours {seconds[0]:.2f} s, limit {seconds[1]:.2f} s")
    return ratios[1:]


def network(steps: int) -> tuple[Job, Job]:
    """One chain of SGD on two layers with 1e5 parameters, and the same steps in a bare loop over optax."""
    width, inputs, rows = 1000, 98, 5000
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(rows, inputs)).astype(np.float32), rng.normal(size=rows).astype(np.float32)
    params = {
        "first": rng.normal(size=(inputs, width)).astype(np.float32) / np.float32(np.sqrt(inputs)),
        "bias": np.zeros(width, np.float32),
        "second": rng.normal(size=width).astype(np.float32) / np.float32(np.sqrt(width)),
    }
    print(f"network with {sum(leaf.size for leaf in params.values())} parameters, batch 64")

    def losses(p: Any, batch: Any) -> jax.Array:
        return (jnp.tanh(batch[0] @ p["first"] + p["bias"]) @ p["second"] - batch[1]) ** 2

    optimizer = optax.sgd(RATE)
    sampler = sgdvi.SGD(sgdvi.Loss(losses, params), optimizer, batch_size=64)
    device = jax.devices()[:1]

    norm = {"norm": lambda ds: jnp.sum(ds.first**2)}  # another function would compile again

    def ours() -> Any:
        settings: dict[str, Any] = {"thinning": steps, "functionals": norm, "keep": (), "devices": device}
        return sgdvi.sample(sampler, (x, y), key=jax.random.key(0), num_steps=steps, progress=False, **settings)

    @jax.jit
    def loop(p: Any, x: jax.Array, y: jax.Array) -> Any:
        def step(number: jax.Array, carry: Any) -> Any:
            p, state = carry
            chosen = jax.random.randint(jax.random.fold_in(jax.random.key(0), number), (64,), 0, rows)
            gradient = jax.grad(lambda p: losses(p, (x[chosen], y[chosen])).mean())(p)
            updates, state = optimizer.update(gradient, state, p)
            return optax.apply_updates(p, updates), state

        return jax.lax.fori_loop(0, steps, step, (p, optimizer.init(p)))

    return ours, lambda: jax.block_until_ready(loop(params, x, y))


@numba.njit(parallel=True, fastmath=True)
def by_hand(u: Any, w: Any, x: Any, y: Any, seeds: Any, steps: int) -> None:
    """Steps of SGD on the depth-1 model, S = 8, with xorshift32, as one would write them in C."""
    rows, share = np.uint64(len(x)), np.float32(1 / (PRIOR_SD**2 * len(x)))
    rate, weight = np.float32(RATE), np.float32(1 / BATCH)
    for chain in numba.prange(len(u)):
        a, b, word = u[chain], w[chain], seeds[chain]
        for _ in range(steps):
            slope = np.float32(0)
            for _ in range(BATCH):
                word ^= np.uint32(word << np.uint32(13))
                word ^= np.uint32(word >> np.uint32(17))
                word ^= np.uint32(word << np.uint32(5))
                row = (np.uint64(word) * rows) >> np.uint64(32)
                slope += (a * b * x[row] - y[row]) * x[row]
            slope *= weight
            a, b = a - rate * (slope * b + share * a), b - rate * (slope * a + share * b)
        u[chain], w[chain] = a, b


def linear(steps: int) -> tuple[Job, Job]:
    """Both loops on the depth-1 model, N = 1000, S = 8, 1024 chains, two devices against two threads."""
    (x, y), model = depth_one()
    sampler = sgdvi.SGD(model, learning_rate=RATE, batch_size=BATCH)
    seeds = np.random.default_rng(0).integers(1, 2**32, CHAINS, dtype=np.uint32)
    ends: dict[str, float] = {}

    def ours() -> None:
        start = {"u": 1.0, "w": 0.5}
        settings: dict[str, Any] = {"num_chains": CHAINS, "thinning": steps, "init": start, "progress": False}
        tree = sgdvi.sample(sampler, (x, y), key=jax.random.key(0), num_steps=steps, **settings)
        ends["ours"] = float((tree["posterior"]["u"] * tree["posterior"]["w"]).mean())

    def limit() -> None:
        u, w = np.ones(CHAINS, np.float32), np.full(CHAINS, 0.5, np.float32)
        by_hand(u, w, x, y, seeds, steps)
        ends["by hand"] = float((u * w).mean())

    ours()
    limit()
    print(f"depth 1, {CHAINS} chains, {steps} steps; mean of v at the end: {ends}")
    return ours, limit


if __name__ == "__main__":
    for made in (network(6_000), linear(100_000)):
        ratios = paces(*made)
        print(f"  speed relative to the limit: {np.median(ratios):.2f} of {np.round(ratios, 2)}")

"""`sgdvi.sample` on a network with 1e6 parameters and predictions on the fly, beside a bare optax loop.

Run with ``python tests/benchmarks/bench_networks.py``, some four minutes on two cores. Both run one chain from the same
start and predict ten classes at 1000 test points every 100 steps; of ours the draws go to a store, without weights.
Ratios are of processor time, of alternating runs in one process; compilation is not timed, the checks of the start are.
"""

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import sgdvi

INPUTS, WIDTHS, CLASSES, ROWS, TESTS, BATCH = 784, (1000, 200), 10, 5000, 1000, 128
STEPS, THINNING, PAIRS = 2000, 100, 3


def start(rng: np.random.Generator) -> list[dict[str, np.ndarray]]:
    sizes = (INPUTS, *WIDTHS, CLASSES)
    return [
        {"w": (rng.normal(size=(n, m)) / np.sqrt(n)).astype(np.float32), "b": np.zeros(m, np.float32)}
        for n, m in zip(sizes[:-1], sizes[1:], strict=True)
    ]


def apply(params: Any, x: Any) -> jax.Array:
    for layer in params[:-1]:
        x = jax.nn.relu(x @ layer["w"] + layer["b"])
    return x @ params[-1]["w"] + params[-1]["b"]


def losses(params: Any, batch: Any) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(apply(params, batch[0]), batch[1])


def main() -> None:
    rng = np.random.default_rng(0)
    params, optimizer = start(rng), optax.sgd(0.01)
    x, test = (rng.normal(size=(rows, INPUTS)).astype(np.float32) for rows in (ROWS, TESTS))
    y = rng.integers(0, CLASSES, ROWS)
    print(f"{sum(leaf.size for leaf in jax.tree.leaves(params))} parameters, {STEPS} steps with {BATCH} rows")
    loss = sgdvi.Loss(losses, params)
    sampler = sgdvi.SGD(loss, optimizer, batch_size=BATCH)
    predict = {"p": loss.per_draw(lambda params: jax.nn.softmax(apply(params, test)))}
    store = Path(tempfile.mkdtemp()) / "draws.zarr"

    def ours() -> Any:
        shutil.rmtree(store, ignore_errors=True)
        settings: dict[str, Any] = {"thinning": THINNING, "functionals": predict, "keep": (), "store": str(store)}
        key = jax.random.key(0)
        return sgdvi.sample(sampler, (x, y), key=key, num_steps=STEPS, progress=False, **settings)["posterior"]["p"]

    def loop(predicts: bool) -> Any:
        @jax.jit
        def run(params: Any, x: jax.Array, y: jax.Array) -> Any:
            def step(carry: Any, number: jax.Array) -> Any:
                params, state = carry
                rows = jax.random.randint(jax.random.fold_in(jax.random.key(0), number), (BATCH,), 0, ROWS)
                gradient = jax.grad(lambda p: losses(p, (x[rows], y[rows])).mean())(params)
                updates, state = optimizer.update(gradient, state, params)
                return (optax.apply_updates(params, updates), state), None

            def draw(carry: Any, numbers: jax.Array) -> Any:
                carry, _ = jax.lax.scan(step, carry, numbers)
                return carry, predict["p"].function(carry[0]) if predicts else carry[0][-1]["b"]

            numbers = jnp.arange(STEPS).reshape(-1, THINNING)
            return jax.lax.scan(draw, (params, optimizer.init(params)), numbers)[1]

        return lambda: jax.block_until_ready(run(params, x, y))

    jobs = {"sgdvi": ours, "optax with predictions": loop(True), "optax": loop(False)}
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(1 + PAIRS):
        for name, job in jobs.items():
            begin = time.process_time()
            job()
            seconds[name].append(time.process_time() - begin)
    for name in list(jobs)[1:]:
        ratios = [one / other for one, other in zip(seconds["sgdvi"][1:], seconds[name][1:], strict=True)]
        print(f"processor time relative to {name}: {np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    size = sum(file.stat().st_size for file in store.rglob("*") if file.is_file())
    print(f"{seconds['sgdvi'][-1]:.1f} s for {STEPS} steps; {STEPS // THINNING} draws take {size / 1e6:.2f} MB on disk")


if __name__ == "__main__":
    main()

"""Absolute figures of one device, GPU or CPU: ``tests/benchmarks/gpu.sh``, or this file. Wall time, second calls.

Prints one line of text per figure and, last, all of them as one line of JSON.
"""

import json
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import sgdvi

KEY = jax.random.key(0)


def seconds(call: Callable[[], Any]) -> tuple[float, float]:
    """Return wall seconds of the first call, which compiles, and of the second."""
    spent = []
    for _ in range(2):
        begin = time.perf_counter()
        jax.block_until_ready(call())
        spent.append(time.perf_counter() - begin)
    return spent[0], spent[1]


def sampler(chains: int, steps: int) -> float:
    """Chain-steps per second of plain SGD at depth 1, N = 1000, S = 8, every hundredth of the run kept."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=1000).astype(np.float32)
    y = (0.1 * x + rng.normal(size=1000)).astype(np.float32)
    problem = sgdvi.LinearNetwork(x, y, depth=1, noise_sd=1.0, prior_sd=2.0)
    kernel = sgdvi.SGD(problem.model, optax.sgd(1e-3), batch_size=8)
    options: dict[str, Any] = {"num_steps": steps, "num_chains": chains, "thinning": steps // 100, "progress": False}
    return (
        chains * steps / seconds(lambda: sgdvi.sample(kernel, (x, y), key=KEY, **options)["posterior"]["u"].values)[1]
    )


def network(chains: int, steps: int) -> float:
    """Chain-steps per second of a network with 1e5 parameters on batches of 64 rows."""
    inputs, width = 98, 1000
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5000, inputs)).astype(np.float32), rng.normal(size=5000).astype(np.float32)
    params = {
        "first": rng.normal(size=(inputs, width)).astype(np.float32) / np.float32(np.sqrt(inputs)),
        "bias": np.zeros(width, np.float32),
        "second": rng.normal(size=width).astype(np.float32) / np.float32(np.sqrt(width)),
    }

    def losses(p: Any, batch: Any) -> jax.Array:
        return (jnp.tanh(batch[0] @ p["first"] + p["bias"]) @ p["second"] - batch[1]) ** 2

    kernel = sgdvi.SGD(sgdvi.Loss(losses, params), optax.sgd(1e-3), batch_size=64)
    norm = {"norm": lambda ds: jnp.sum(ds.first**2)}
    options: dict[str, Any] = {"num_steps": steps, "num_chains": chains, "thinning": steps // 10, "progress": False}
    run = lambda: sgdvi.sample(kernel, (x, y), key=KEY, functionals=norm, **options)  # noqa: E731
    return chains * steps / seconds(run)[1]


def laws(points: int) -> dict[str, float]:
    """Milliseconds of a traced law at depth 1: log density, cdf and draws at so many points, float64."""
    moments = sgdvi.Moments.linear(1.0, 1.0)
    with jax.enable_x64(True):
        v = jnp.linspace(0.01, 3.0, points)
        make = lambda heat: sgdvi.SGDStationary(moments, heat, validate_args=False)  # noqa: E731
        calls = {
            "log_prob": jax.jit(lambda heat: make(heat).log_prob(v)),
            "cdf": jax.jit(lambda heat: make(heat).cdf(v)),
            "sample": jax.jit(lambda heat: make(heat).sample(KEY, (points,))),
        }
        return {name: 1e3 * seconds(lambda call=call: call(0.1))[1] for name, call in calls.items()}


def main() -> None:
    """Print the figures of this device."""
    device = jax.devices()[0]
    accelerated = device.platform != "cpu"
    print(
        f"device: {device.device_kind} ({device.platform})" + ("" if accelerated else "; no accelerator: smaller sizes")
    )
    figures: dict[str, Any] = {"device": device.device_kind, "platform": device.platform}
    for chains, steps in ((1024, 100_000), (65_536, 10_000)) if accelerated else ((64, 100_000), (1024, 10_000)):
        figures[f"sampler, {chains} chains"] = pace = sampler(chains, steps)
        print(f"SGD at depth 1, {chains} chains x {steps} steps: {pace:.3g} chain-steps per second", flush=True)
    for chains, steps in ((1, 20_000), (64, 2000)) if accelerated else ((1, 2000), (4, 500)):
        figures[f"network, {chains} chains"] = pace = network(chains, steps)
        print(
            f"network of 1e5 parameters, {chains} chains x {steps} steps: {pace:.3g} chain-steps per second", flush=True
        )
    points = 10_000_000 if accelerated else 200_000
    for name, spent in laws(points).items():
        figures[f"law, {name}, ms"] = spent
        print(f"law at depth 1, {name} at {points:.0e} points, temperature traced: {spent:.3g} ms", flush=True)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

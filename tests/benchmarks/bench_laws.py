"""Speed of the exact laws beside NumPyro's StudentT: ``python tests/benchmarks/bench_laws.py [DEPTH ...]``.

Each figure is the median processor time of several calls after one that compiles; ratios are of one process.
"""

import statistics
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import StudentT

from sgdvi import Moments, SGDStationary

POINTS = 1_000_000
LAWS = 100


def median_seconds(call, repeats: int = 7) -> float:
    """Processor time, which another program on the machine changes less than that on the wall."""
    jax.block_until_ready(call())
    seconds = []
    for _ in range(repeats):
        begin = time.process_time()
        jax.block_until_ready(call())
        seconds.append(time.process_time() - begin)
    return statistics.median(seconds)


def main() -> None:
    moments, peer = Moments.linear(1.0, 1.0), StudentT(3.5, 0.8, 0.3)
    values = jnp.asarray(np.linspace(0.01, 3.0, POINTS))
    table, heats = values.reshape(-1, LAWS), jnp.linspace(0.05, 0.2, LAWS)
    key = jax.random.key(0)
    log_prob, draw = jax.jit(peer.log_prob), jax.jit(lambda key: peer.sample(key, (POINTS,)))
    base = median_seconds(lambda: log_prob(values)), median_seconds(lambda: draw(key))
    print(
        f"StudentT: log_prob {1e3 * base[0]:.1f} ms, sample {1e3 * base[1]:.0f} ms (1e6 points, float64); ratios to it:"
    )
    print("depth  log_prob  temperature traced  batch of 100  the same traced  sample  a new law with its mean")
    for depth in map(int, sys.argv[1:] or (0, 1, 2, 10, 100)):
        make = lambda heat, depth=depth: SGDStationary(moments, heat, depth=depth, validate_args=False)  # noqa: E731
        law, batch = make(0.1), make(heats)
        single = jax.jit(lambda heat, values, make=make: make(heat).log_prob(values))
        calls = (
            lambda law=law: law.log_prob(values),
            lambda single=single: single(0.1, values),
            lambda batch=batch: batch.log_prob(table),
            lambda single=single: single(heats, table),
        )
        ratios = [median_seconds(call) / base[0] for call in calls]
        ratios.append(median_seconds(lambda law=law: law.sample(key, (POINTS,)), 3) / base[1])
        build = median_seconds(lambda make=make: make(0.11).mean)
        print(f"{depth:5d}" + "".join(f"{ratio:9.1f} x" for ratio in ratios) + f"{1e3 * build:9.1f} ms", flush=True)
    many = jnp.asarray(np.linspace(0.01, 0.3, 4_000))
    seconds = median_seconds(lambda: SGDStationary(moments, many).variance, 3)
    print(f"batch of 4 000 laws at depth 1, with variance: {seconds:.2f} s ({1e6 * seconds / 4_000:.0f} us each)")


if __name__ == "__main__":
    with jax.enable_x64(True):
        main()

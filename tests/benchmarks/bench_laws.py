"""Speed of the exact laws beside NumPyro's StudentT: ``python tests/benchmarks/bench_laws.py``.

Each figure is the median of several timed calls after one that compiles; ratios are of one process.
"""

import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import StudentT

from sgdvi import Moments, SGDStationary

POINTS = 1_000_000


def median_seconds(call, repeats: int = 7) -> float:
    jax.block_until_ready(call())
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        jax.block_until_ready(call())
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


def main() -> None:
    moments, peer = Moments.linear(1.0, 1.0), StudentT(3.5, 0.8, 0.3)
    values = jnp.asarray(np.linspace(0.01, 3.0, POINTS))
    key = jax.random.key(0)
    log_prob, draw = jax.jit(peer.log_prob), jax.jit(lambda key: peer.sample(key, (POINTS,)))
    base = median_seconds(lambda: log_prob(values)), median_seconds(lambda: draw(key))
    print(f"StudentT    log_prob {1e3 * base[0]:7.1f} ms   sample {1e3 * base[1]:7.1f} ms   (1e6 points, float64)")
    for depth in (0, 1, 2, 10):
        law = SGDStationary(moments, 0.1, depth=depth)
        times = (
            median_seconds(lambda law=law: law.log_prob(values)),
            median_seconds(lambda law=law: law.sample(key, (POINTS,))),
            median_seconds(lambda depth=depth: SGDStationary(moments, 0.11, depth=depth).mean),
        )
        ratios = times[0] / base[0], times[1] / base[1]
        print(
            f"depth {depth:2d}    log_prob {ratios[0]:5.1f} x      sample {ratios[1]:5.1f} x      "
            f"build and mean {1e3 * times[2]:5.1f} ms"
        )
    heats = jnp.asarray(np.linspace(0.01, 0.3, 4_000))
    batch = median_seconds(lambda: SGDStationary(moments, heats).variance, 3)
    print(f"batch of 4 000 laws at depth 1, with variance: {batch:.2f} s ({1e6 * batch / 4_000:.0f} us each)")


if __name__ == "__main__":
    with jax.enable_x64(True):
        main()

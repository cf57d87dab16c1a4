"""Speed of `sgdvi.sample`: steps per CPU second, and what the progress bar costs.

Run with ``python tests/benchmarks/bench_sampling.py``. Compilation is not timed.
"""

import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

import sgdvi
from sgdvi.zoo import load

CASES = [
    ("weak-signal", 1, 1),
    ("weak-signal", 1, 64),
    ("weak-signal", 1, 1000),
    ("diabetes", 16, 8),
    ("logistic", 16, 8),
]


def seconds(kernel: sgdvi.SGD, data: Any, steps: int, chains: int, progress: bool) -> float:
    """CPU seconds, all threads: other work on the machine does not count."""
    settings = {"num_steps": steps, "num_chains": chains, "thinning": steps // 100, "progress": progress}
    start = time.process_time()
    sgdvi.sample(kernel, data, key=jax.random.key(0), **settings)
    return time.process_time() - start


def measure() -> Iterator[tuple[str, int, int, float, float]]:
    """Yield model, batch size, chains, chain-steps per CPU second without a bar, and the bar's share of the time."""
    for name, batch_size, chains in CASES:
        problem = load(name)
        kernel = sgdvi.SGD(problem.model, learning_rate=1e-3, batch_size=batch_size)
        steps = 100 * max(1, 800_000 // (batch_size * chains))
        seconds(kernel, problem.data, steps, chains, False)
        runs = [[seconds(kernel, problem.data, steps, chains, bar) for bar in (False, True)] for _ in range(5)]
        plain, shown = np.min(runs, axis=0)
        yield name, batch_size, chains, steps * chains / plain, shown / plain - 1


if __name__ == "__main__":
    print(f"{'model':<14}{'batch':>6}{'chains':>8}{'chain-steps/s':>16}{'bar':>8}")  # noqa: T201
    for name, batch_size, chains, pace, share in measure():
        print(f"{name:<14}{batch_size:>6}{chains:>8}{pace:>16.3g}{share:>8.1%}")  # noqa: T201

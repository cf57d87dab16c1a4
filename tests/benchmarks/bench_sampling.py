"""Speed of `sgdvi.sample`: steps per CPU second, and what the progress bar costs.

Run with ``python tests/benchmarks/bench_sampling.py``. Compilation is not timed.
"""

import time
from collections.abc import Iterator
from typing import Any
from unittest import mock

import jax

import sgdvi
from sgdvi.samplers import run
from sgdvi.zoo import load

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


if __name__ == "__main__":
    print(f"{'model':<14}{'batch':>6}{'chains':>8}{'chain-steps/s':>16}{'bar':>8}")
    for name, batch_size, chains, pace, share in measure():
        print(f"{name:<14}{batch_size:>6}{chains:>8}{pace:>16.3g}{share:>8.2%}")

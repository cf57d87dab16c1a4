"""What streaming to disk costs, and that memory does not grow with the number of steps.

Run with ``python tests/benchmarks/bench_store.py``. Ratios are medians of alternating runs in one process.
"""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import psutil

import sgdvi
from sgdvi.zoo import load

CHAINS, THINNING = 1000, 100
MEGABYTE = 1 << 20


def seconds(kernel: sgdvi.SGD, data: Any, steps: int, thinning: int, store: Path | None) -> float:
    start = time.perf_counter()
    sgdvi.sample(
        kernel,
        data,
        key=jax.random.key(0),
        num_steps=steps,
        num_chains=CHAINS,
        thinning=thinning,
        store=store,
        progress=False,
    )
    return time.perf_counter() - start


def main() -> None:
    """Print the figures."""
    problem = load("weak-signal")
    kernel = sgdvi.SGD(problem.model, learning_rate=1e-3, batch_size=1)
    with tempfile.TemporaryDirectory() as folder:
        seconds(kernel, problem.data, 1000, THINNING, Path(folder) / "compiled.zarr")
        for steps, pairs in ((500_000, 5), (2_000_000, 3)):
            ratios = []
            for pair in range(pairs):
                memory = seconds(kernel, problem.data, steps, THINNING, None)
                disk = seconds(kernel, problem.data, steps, THINNING, Path(folder) / f"{steps}-{pair}.zarr")
                ratios.append(disk / memory)
            print(
                f"{steps * CHAINS:.0e} chain-steps, thinning {THINNING}, last pair {disk:.1f} and {memory:.1f} s: "
                f"store / memory {statistics.median(ratios):.3f} of {np.round(ratios, 3)}"
            )
        process = psutil.Process()
        for number, steps in enumerate((100_000, 1_000_000, 2_000_000)):
            taken = seconds(kernel, problem.data, steps, THINNING, Path(folder) / f"long-{number}.zarr")
            resident = process.memory_info().rss / MEGABYTE
            print(f"{steps * CHAINS:.1e} chain-steps in {taken:.1f} s: {resident:.0f} MB resident")


if __name__ == "__main__":
    main()

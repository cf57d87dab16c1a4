"""What streaming to disk costs, what its checksums and its lock cost, and that memory does not grow with the steps.

Run with ``python tests/benchmarks/bench_store.py``, or with ``protection`` for checksums and lock alone. Ratios are
medians of alternating runs in one process.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import jax
import numpy as np
import psutil

import sgdvi
from sgdvi.draws import integrity
from sgdvi.draws import store as stores
from sgdvi.draws.lock import Lock
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


@contextmanager
def unprotected() -> Iterator[None]:
    """Write stores without checksums, hashes, seal and lock."""
    nothing = SimpleNamespace(crc32=lambda data, start=0: 0)
    changes: list[tuple[Any, str, Any]] = [(module, "zlib", nothing) for module in (integrity, stores)]
    changes += [(module, "hash_of", lambda data: "") for module in (integrity, stores)]
    changes += [(module, "sum_of", lambda values: 0) for module in (integrity, stores)]
    changes += [(integrity, "_seal", lambda root: ""), (stores, "_PACKING", stores._PACKING[:1])]
    changes += [(Lock, "acquire", lambda lock, *rest: lock), (Lock, "check", lambda lock: None)]
    changes += [(Lock, "release", lambda lock: None)]
    with ExitStack() as stack:
        for holder, name, value in changes:
            stack.enter_context(patch.object(holder, name, value))
        yield


def protection(kernel: sgdvi.SGD, data: Any, folder: Path, pairs: int = 9, steps: int = 500_000) -> None:
    """Print what checksums and lock cost: processor time of all threads, and wall time."""
    ratios = []
    for pair in range(pairs):
        costs = []
        for name, context in (("with", ExitStack()), ("without", unprotected())):
            store = folder / f"{name}-{pair}.zarr"
            with context:
                begin = time.process_time()
                wall = seconds(kernel, data, steps, THINNING, store)
                costs.append((time.process_time() - begin, wall))
        ratios.append([protected / bare for protected, bare in zip(*costs, strict=True)])
    for name, column in zip(("processor", "wall"), np.transpose(ratios), strict=True):
        print(f"checksums and lock, {name} time: {np.median(column):.3f} of {np.round(np.sort(column), 3)}")


def main() -> None:
    """Print the figures."""
    problem = load("weak-signal")
    kernel = sgdvi.SGD(problem.model, learning_rate=1e-3, batch_size=1)
    with tempfile.TemporaryDirectory() as folder:
        seconds(kernel, problem.data, 1000, THINNING, Path(folder) / "compiled.zarr")
        protection(kernel, problem.data, Path(folder))
        if sys.argv[1:] == ["protection"]:
            return
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

"""Time and memory of `sgdvi.compare` and `sgdvi.check` on a network: 1e5 weights, 4 chains of 500 draws in float32.

Run: python tests/benchmarks/bench_check.py [compare|check|file] ; /usr/bin/time -v says the resident memory.
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import sgdvi

CHAINS, DRAWS, PARAMETERS, POINTS, CLASSES = 4, 500, 100_000, 1_000, 10


def network(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return weights of three layers, in float32."""
    sizes = {"0.weight": (90_000,), "0.bias": (400,), "1.weight": (PARAMETERS - 90_400,)}
    return {name: rng.standard_normal((CHAINS, DRAWS, *size), dtype=np.float32) for name, size in sizes.items()}


def main(what: str) -> None:
    rng = np.random.default_rng(0)
    begin, cpu = 0.0, 0.0
    if what == "file":
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "sgd.npz"
            np.savez(path, **network(rng))
            begin, cpu = time.perf_counter(), time.process_time()
            result = sgdvi.check(path)
    else:
        runs = [network(rng) for _ in range(2)]
        begin, cpu = time.perf_counter(), time.process_time()
        if what == "compare":
            asked = {"first": lambda draws: draws["0.weight"][..., :50]}
            named = dict(zip(("SGD", "NUTS"), runs, strict=True))
            result = sgdvi.compare(named, functionals=asked)
        else:
            result = sgdvi.check(*runs)
    seconds, work = time.perf_counter() - begin, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{what}: {len(result.functionals)} functionals, {result.verdict.status}, {seconds:.1f} s", end=" ")
    print(f"({work:.1f} s of CPU), {peak:.2f} GB")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "check")

"""Time and memory of `sgdvi.compare` and `sgdvi.check` on a network: 1e5 weights, 4 chains of 500 draws in float32.

Run: python tests/benchmarks/bench_check.py [compare|check|file] ; /usr/bin/time -v says the resident memory.
"""

import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import sgdvi

CHAINS, DRAWS, PARAMETERS, POINTS, CLASSES = 4, 500, 100_000, 1_000, 10


def network(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return weights of three layers and probabilities of the classes at the test points, in float32."""
    sizes = {"0.weight": (90_000,), "0.bias": (400,), "1.weight": (PARAMETERS - 90_400,), "p": (POINTS, CLASSES)}
    draws = {name: rng.standard_normal((CHAINS, DRAWS, *size), dtype=np.float32) for name, size in sizes.items()}
    np.exp(draws["p"] + 3 * np.random.default_rng(1).standard_normal((POINTS, CLASSES), np.float32), out=draws["p"])
    draws["p"] /= draws["p"].sum(axis=-1, keepdims=True)
    return draws


def main(what: str) -> None:
    rng, folder = np.random.default_rng(0), tempfile.TemporaryDirectory()
    runs: list[Any] = [network(rng) for _ in range(1 if what == "file" else 2)]
    if what == "file":
        path = Path(folder.name) / "sgd.npz"
        np.savez(path, **runs.pop())
        runs.append(path)
    begin, cpu = time.perf_counter(), time.process_time()
    if what == "compare":
        asked = {"first": lambda draws: draws["p"][..., :5, :]}
        named = dict(zip(("SGD", "NUTS"), runs, strict=True))
        result = sgdvi.compare(named, functionals=asked)
    else:
        result = sgdvi.check(*runs, predictions="p")
        print(result.predictions)
    seconds, work = time.perf_counter() - begin, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{what}: {len(result.functionals)} functionals, {result.verdict.status}, {seconds:.1f} s", end=" ")
    print(f"({work:.1f} s of CPU), {peak:.2f} GB")
    folder.cleanup()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "check")

"""Growth of time with size: parameters, draws, functionals, chains and rows, each on its own.

Run: python tests/benchmarks/bench_growth.py [PART ...] [--json FILE]

Processor time, and its largest growth from one size to the next as a power of the size, from 0.1 s on: 1 is linear. The
compiled programs and what is drawn once are there before the clock starts. `--json` adds the figures to a file, from
which docs/make_performance.py makes the table of docs/performance.md.
"""

import argparse
import json
import math
import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sgdvi import SGD, Loss, Moments, compare, sample
from sgdvi.draws import make_tree


def compared(chains: int, draws: int, parameters: int, asked: int | None) -> Callable[[], object]:
    rng = np.random.default_rng(0)
    shape = (chains, draws, parameters)
    runs = {
        name: make_tree({"w": rng.standard_normal(shape, dtype=np.float32)}, kind=name.lower())
        for name in ("SGD", "NUTS")
    }
    functionals = {"p": lambda draws: draws.w[..., :asked]} if asked else None
    return lambda: compare(runs, functionals=functionals)


def moments(rows: int) -> Callable[[], object]:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, rows))
    return lambda: Moments.from_data(x, y)


def sampler(rows: int) -> Callable[[], object]:
    rng = np.random.default_rng(0)
    data = tuple(rng.normal(size=(2, rows)).astype(np.float32))
    loss = Loss(lambda p, batch: (p["u"] * p["w"] * batch[0] - batch[1]) ** 2, {"u": jnp.ones(()), "w": jnp.ones(())})
    sgd = SGD(loss, learning_rate=0.01, batch_size=16)
    return lambda: sample(
        sgd, data, key=jax.random.key(0), num_steps=200_000, num_chains=16, thinning=100, progress=False
    )


_LONG = 5.0
PARTS: dict[str, tuple[Sequence[float], Callable[[int], Callable[[], object]]]] = {
    "parameters (50 functionals, 4 x 500 draws)": (
        (1e1, 1e2, 1e3, 1e4, 1e5),
        lambda size: compared(4, 500, size, min(size, 50)),
    ),
    "draws (4 chains, 3 functionals)": ((1e3, 1e4, 1e5, 1e6), lambda size: compared(4, size // 4, 3, None)),
    "functionals (4 x 1000 draws)": ((1, 10, 100, 1000), lambda size: compared(4, 1000, size, None)),
    "chains (of 1024 draws, 3 functionals)": ((1, 16, 128, 1024), lambda size: compared(size, 1024, 3, None)),
    "rows, moments of a law": ((1e3, 1e4, 1e5, 1e6, 1e7), moments),
    "rows, 200 000 steps of 16 chains": ((1e3, 1e4, 1e5, 1e6, 1e7), sampler),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help="beginning of the name of a part; all without")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    wanted = options.parts
    kept: dict[str, Any] = json.loads(options.json.read_text()) if options.json and options.json.exists() else {}
    parts = {part["what"]: part for part in kept.get("growth", [])}
    compared(4, 250, 3, None)()
    print("| what grows | seconds of processor time at each size | largest power | GB |")
    print("|---|---|---|---|")
    for name, (sizes, make) in PARTS.items():
        if wanted and not any(name.startswith(part) for part in wanted):
            continue
        times = [clocked(make(int(size))) for size in sizes]
        steps = list(zip(sizes, times, sizes[1:], times[1:], strict=False))
        powers = [
            math.log(late / early) / math.log(large / small) for small, early, large, late in steps if early > 0.1
        ]
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        power = f"{max(powers):.2f}" if powers else "all below 0.1 s"
        cells = ", ".join(f"{size:g}: {seconds:.3g}" for size, seconds in zip(sizes, times, strict=True))
        print(f"| {name} | {cells} | {power} | {memory:.2g} |", flush=True)
        parts[name] = {"what": name, "sizes": list(sizes), "seconds": times, "gb": memory}
        parts[name]["power"] = max(powers) if powers else None
        if options.json:
            kept["growth"] = list(parts.values())
            options.json.write_text(json.dumps(kept, indent=1) + "\n")


def clocked(work: Callable[[], object]) -> float:
    """Return the processor time of a call; of a short one the second time, when all is compiled."""
    for _ in range(2):
        begin = time.process_time()
        work()
        seconds = time.process_time() - begin
        if seconds > _LONG:
            break
    return seconds


if __name__ == "__main__":
    main()

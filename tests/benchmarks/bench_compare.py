"""Time of `sgdvi.compare` on large draws: 4 chains x 10 000 draws x 100 parameters against a reference of that size.

Run: python tests/benchmarks/bench_compare.py
"""

import time

import numpy as np

from sgdvi import compare
from sgdvi.draws import make_tree

CHAINS, DRAWS, PARAMETERS = 4, 10_000, 100


def main() -> None:
    rng = np.random.default_rng(0)
    sites = [{"b": rng.normal(size=(CHAINS, DRAWS, PARAMETERS))} for _ in range(2)]
    runs = {name: make_tree(site, kind=name.lower()) for name, site in zip(("SGD", "NUTS"), sites, strict=True)}
    begin, cpu = time.perf_counter(), time.process_time()
    result = compare(runs)
    seconds, work = time.perf_counter() - begin, time.process_time() - cpu
    print(
        f"{len(result.functionals)} functionals, verdict {result.verdict.status}: {seconds:.1f} s ({work:.1f} s of CPU)"
    )


if __name__ == "__main__":
    main()

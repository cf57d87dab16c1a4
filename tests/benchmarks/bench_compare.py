"""Time and memory of `sgdvi.compare`: many draws of 100 parameters, and networks.

Run: python tests/benchmarks/bench_compare.py [PARAMETERS ...]

100 parameters: 4 chains x 10 000 draws, every check on every parameter. More: 4 chains x 500 draws in float32, with 50
functionals; in rising order, as memory is the most so far. The reference has the size of the run.
"""

import argparse
import resource
import time

import numpy as np

from sgdvi import compare
from sgdvi.draws import make_tree

SMALL = 100
ASKED = {"p": lambda draws: draws.w[..., :50]}


def draws(parameters: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    if parameters <= SMALL:
        return [rng.normal(size=(4, 10_000, parameters)) for _ in range(2)]
    return [rng.standard_normal((4, 500, parameters), dtype=np.float32) for _ in range(2)]


def measure(parameters: int) -> str:
    arrays = draws(parameters)
    runs = {name: make_tree({"w": each}, kind=name.lower()) for name, each in zip(("SGD", "NUTS"), arrays, strict=True)}
    begin, cpu = time.perf_counter(), time.process_time()
    result = compare(runs, functionals=None if parameters <= SMALL else ASKED)
    seconds, work = time.perf_counter() - begin, time.process_time() - cpu
    memory, own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, sum(each.nbytes for each in arrays) / 1e9
    return (
        f"{parameters} parameters, {len(result.functionals)} functionals, verdict {result.verdict.status}: "
        f"{seconds:.1f} s ({work:.1f} s of CPU), {memory:.2f} GB resident, of which the draws {own:.2f} GB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = [SMALL, 1_000, 10_000, 100_000]
    parser.add_argument("parameters", nargs="*", type=int, default=sizes, metavar="PARAMETERS")
    for parameters in parser.parse_args().parameters:
        print(measure(parameters), flush=True)


if __name__ == "__main__":
    main()

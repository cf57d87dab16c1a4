"""How far discrete SGD is from the laws of its flow: ``python tests/benchmarks/bench_discretization.py``, a minute.

Prints, for data whose residuals are symmetric and for skewed ones, the orders in the learning rate at batch size 1 of
the relative error of Var[v] and of the Kolmogorov distance, and the floor that is left at fixed temperature.
"""

import sys
from pathlib import Path

import jax
import numpy as np

import sgdvi

for folder in (Path(__file__).parents[1], Path(__file__).parents[1] / "samplers"):
    sys.path.insert(0, str(folder))
RATES = np.array([0.02, 0.01, 0.005, 0.0025])
HEAT = 0.001


def main() -> None:
    from test_truth import NETWORKS, SKEWED, SYMMETRIC, errors, floor, law, order

    jax.config.update("jax_enable_x64", True)
    for name, data in (("symmetric", SYMMETRIC), ("skewed", SKEWED)):
        print(f"\n{name} residuals\n  D  d  relative error of Var[v] at eta = {RATES}: order", end="")
        print(f" | at T = {HEAT}: a, b of a + b eta")
        for depth, width in NETWORKS:
            found = errors(data, depth, width, rates=RATES)
            line = f"  {depth}  {width}  {np.array2string(found, precision=5)}: {order(found).round(2)}"
            if width == 1:
                line += " | a = {:+.1e}, b = {:.3f}".format(*floor(data, depth, HEAT))
            print(line, flush=True)
        gaps = np.array([sgdvi.discrete_law(*data, r, tolerance=1e-5).distance_to(law(data, r, 1)) for r in RATES])
        print(f"  Kolmogorov distance, D = 1: {gaps.round(5)}: order {order(gaps).round(2)}", flush=True)


if __name__ == "__main__":
    main()

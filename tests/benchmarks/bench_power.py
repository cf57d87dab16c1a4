"""Power of a comparison: the share of seeds in which a difference of a given size is a failure, or at least a warning.

Run: python tests/benchmarks/bench_power.py [--seeds 16] [--out docs/_static/power.png] [EFFECT ...]

Two runs of 4 chains x 1000 independent draws of one functional; of two where they depend on each other.
"""

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from scipy import stats

from sgdvi import compare
from sgdvi._internal.style.figure import style
from sgdvi._internal.style.palette import LIGHT
from sgdvi.diagnostics import Status
from sgdvi.draws import make_tree

SHAPE = (4, 1000)


class Effect(NamedTuple):
    """A kind of difference: sizes, their unit, and the two runs of one size."""

    sizes: tuple[float, ...]
    unit: str
    runs: Callable[[np.random.Generator, float], tuple[np.ndarray, np.ndarray]]


def two(rng: np.random.Generator, size: int = 1) -> tuple[np.ndarray, np.ndarray]:
    return rng.normal(size=(*SHAPE, size)), rng.normal(size=(*SHAPE, size))


def shift(rng: np.random.Generator, size: float) -> tuple[np.ndarray, np.ndarray]:
    run, reference = two(rng)
    run[..., 0] += size
    return run, reference


def spread(rng: np.random.Generator, size: float) -> tuple[np.ndarray, np.ndarray]:
    run, reference = two(rng)
    run[..., 0] *= size
    return run, reference


def tail(rng: np.random.Generator, size: float) -> tuple[np.ndarray, np.ndarray]:
    run, reference = two(rng)
    # of the same interquartile range: the tails alone differ
    run[..., 0] = rng.standard_t(size, SHAPE) * stats.norm.ppf(0.75) / stats.t.ppf(0.75, size)
    return run, reference


def correlation(rng: np.random.Generator, size: float) -> tuple[np.ndarray, np.ndarray]:
    run, reference = two(rng, 2)
    run[..., 1] = size * run[..., 0] + math.sqrt(1 - size**2) * run[..., 1]
    return run, reference


def missing_mode(rng: np.random.Generator, size: float) -> tuple[np.ndarray, np.ndarray]:
    run, reference = two(rng)
    reference[..., 0] += 6 * (rng.uniform(size=SHAPE) < size)
    return run, reference


def stuck_chain(rng: np.random.Generator, size: float) -> tuple[np.ndarray, np.ndarray]:
    run, reference = two(rng)
    run[0, :, 0] = math.sqrt(1 - size) * run[0, :, 0] + math.sqrt(size) * rng.choice([-1.0, 1.0])
    return run, reference


# Without an effect they are two runs of one law: bench_false_alarms.py.
EFFECTS = {
    "shift": Effect((0.05, 0.1, 0.15, 0.2, 0.3), "sd", shift),
    "spread": Effect((1.05, 1.1, 1.15, 1.2, 1.3), "times as wide", spread),
    "tail": Effect((30.0, 10.0, 6.0, 4.0, 3.0), "degrees of freedom", tail),
    "correlation": Effect((0.05, 0.1, 0.15, 0.2, 0.3), "against 0", correlation),
    "missing mode": Effect((0.005, 0.01, 0.02, 0.03, 0.05), "of the mass, 6 sd away", missing_mode),
    "stuck chain": Effect((0.02, 0.05, 0.1, 0.2, 0.5), "of the variance of one chain", stuck_chain),
}


def share(effect: Effect, size: float, seeds: int) -> tuple[float, float]:
    """Return the shares of comparisons in which a check of the run fails, and in which one at least warns."""
    fails = warns = 0
    for seed in range(seeds):
        sites = effect.runs(np.random.default_rng(seed), size)
        runs = {name: make_tree({"b": b}, kind=name.lower()) for name, b in zip(("SGD", "NUTS"), sites, strict=True)}
        statuses = {finding.status for finding in compare(runs).findings if finding.run == "SGD"}
        fails += Status.FAIL in statuses
        warns += not statuses.isdisjoint((Status.FAIL, Status.WARN))
    return fails / seeds, warns / seeds


def draw(powers: dict[str, list[tuple[float, float]]], path: Path) -> None:
    with style(LIGHT):
        figure, axes = plt.subplots(2, 3, figsize=(9, 4.6), sharey=True, layout="constrained")
        for axis, (name, shares) in zip(axes.flat, powers.items(), strict=False):
            effect, places = EFFECTS[name], range(len(shares))
            axis.plot(places, [each[0] for each in shares], "o-", color="#0072b2", label="fails")
            axis.plot(places, [each[1] for each in shares], "s--", color="#c77c00", label="fails or warns")
            axis.set_xticks(list(places), [f"{size:g}" for size in effect.sizes])
            axis.set_title(name)
            axis.set_xlabel(effect.unit)
            axis.set_ylim(-0.03, 1.03)
        for axis in axes[:, 0]:
            axis.set_ylabel("share of seeds")
        axes[0, 0].legend(loc="lower right")
        figure.savefig(path, dpi=130, facecolor="white")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("effects", nargs="*", default=list(EFFECTS), metavar="EFFECT")
    parser.add_argument("--seeds", type=int, default=16)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    powers: dict[str, list[tuple[float, float]]] = {}
    for name in options.effects:
        effect = EFFECTS[name]
        powers[name] = [share(effect, size, options.seeds) for size in effect.sizes]
        cells = [
            f"{size:g}: {fail:.2f} ({warn:.2f})" for size, (fail, warn) in zip(effect.sizes, powers[name], strict=True)
        ]
        print(f"| {name}, {effect.unit} | {' | '.join(cells)} |", flush=True)
    if options.out:
        draw(powers, options.out)


if __name__ == "__main__":
    main()

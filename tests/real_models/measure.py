"""Measure foreseen against observed on real posteriors: ``python tests/real_models/measure.py FOLDER [NAME ...]``.

FOLDER holds files for `sgdvi forecast FILE`, with reference draws in refs/NAME.nc (without them a long run of NUTS is
made). Distances are computed here, with NumPy alone: W1 in standard deviations of the reference, ratio of standard
deviations, Kolmogorov-Smirnov distance, each by functional. A line of a table in Markdown per model is printed.
"""

import argparse
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr

import sgdvi
from sgdvi.samplers import references

LEVELS = (np.arange(4000) + 0.5) / 4000
# 100 autocorrelation times, or this many where they are fewer.
LEAST_STEPS, MOST_STEPS = 20_000, 1_000_000
KEPT = 2_000


def against(draws: np.ndarray, reference: np.ndarray) -> tuple[float, float, float]:
    """W1 in sds of the reference, ratio of sds, KS distance."""
    w1 = np.abs(np.quantile(draws, LEVELS) - np.quantile(reference, LEVELS)).mean() / reference.std()
    every = np.sort(np.concatenate([draws, reference]))
    shares = [np.searchsorted(np.sort(each), every, side="right") / each.size for each in (draws, reference)]
    return float(w1), float(draws.std() / reference.std()), float(np.abs(shares[0] - shares[1]).max())


def values(tree: Any, functionals: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return all draws of each functional."""
    posterior = tree["posterior"].to_dataset() if hasattr(tree, "children") else tree
    return {name: np.ravel(np.asarray(fn(posterior), dtype=float)) for name, fn in functionals.items()}


def reference_draws(folder: Path, problem: sgdvi.Problem) -> dict[str, np.ndarray]:
    """Return Stan's draws where there are some, else those of NUTS, by functional."""
    stem = problem.name.removesuffix("_improper").removesuffix("_noncentered_indexed")
    path = folder / "refs" / f"{stem}.nc"
    if path.exists():
        with xr.open_dataset(path, group="posterior") as stored:
            return values(stored.load(), problem.functionals)
    with jax.enable_x64(True):
        tree = references.nuts(problem, jax.random.key(0), num_warmup=2000, num_samples=2000, num_chains=4)
    return values(tree, problem.functionals)


def run(sampler: sgdvi.Sampler, problem: sgdvi.Problem, steps: int, seed: int, **options: Any) -> dict[str, np.ndarray]:
    """Return draws of 8 chains by functional."""
    tree = sgdvi.sample(
        sampler, problem.data, key=jax.random.key(seed), num_steps=steps, num_chains=8,
        thinning=max(1, steps // KEPT), progress=False, **options,
    )  # fmt: skip
    return values(tree, problem.functionals)


def judged(draws: dict[str, np.ndarray], reference: dict[str, np.ndarray]) -> tuple[float, float, float, float]:
    """Largest W1, least and largest ratio, largest KS."""
    each = np.array([against(draws[name], reference[name]) for name in reference])
    return each[:, 0].max(), each[:, 1].min(), each[:, 1].max(), each[:, 2].max()


def line(folder: Path, name: str, seeds: int) -> str:
    """Return the line of one model."""
    problem = sgdvi.zoo.load(str(folder / f"{name}.py"))
    foreseen = sgdvi.forecast(problem)
    if not foreseen.mode.exists:
        return f"| {name} | no mode | | | | |"
    reference = reference_draws(folder, problem)
    plain = foreseen["plain"]
    near = sgdvi.local_quadratic(problem.model, problem.data)
    if plain.steps <= MOST_STEPS:
        sampler = sgdvi.SGD(problem.model, learning_rate=plain.learning_rate, batch_size=plain.batch_size)
        steps = int(max(LEAST_STEPS, plain.steps))
        start = near.flat.constrain(near.vector[None])
        begin = {site: value[0] for site, value in start.items() if site in near.mode}
        draws = run(sampler, problem, steps, 0, init=begin, num_warmup=int(10 * plain.relaxation))
        w1, low, high, ks = judged(draws, reference)
        observed = f"{w1:.2f} ({low:.2f} to {high:.2f}; KS {ks:.2f}), {steps:,} steps"
    else:
        observed = f"needs {plain.steps:.1g} steps: not run"
    completed = foreseen["completed"]
    sampler = sgdvi.CompletedSGD(problem.model, near=near)
    steps = int(max(LEAST_STEPS, min(completed.steps, 100_000)))
    runs = [judged(run(sampler, problem, steps, seed), reference) for seed in range(seeds)]
    w1s = ", ".join(f"{each[0]:.3f}" for each in runs)
    ratios = f"{min(each[1] for each in runs):.2f} to {max(each[2] for each in runs):.2f}"
    trust = "reliable" if foreseen.reliable else "not reliable"
    size = f"{len(foreseen.mode.vector)}, {foreseen.num_data}"
    return (
        f"| {name} ({size}) | {trust} | {plain.largest_w1:.2f} | {observed} | {w1s} | {ratios}; "
        f"KS {max(each[3] for each in runs):.3f}; {steps:,} steps |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    names = options.names or sorted(path.stem for path in options.folder.glob("*.py"))
    for _name in names:
        try:
            pass
        except sgdvi.InputError:
            pass


if __name__ == "__main__":
    main()

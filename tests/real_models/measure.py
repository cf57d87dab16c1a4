"""Measure foreseen against observed on real posteriors: ``python tests/real_models/measure.py FOLDER [NAME ...]``.

FOLDER holds files for `sgdvi forecast FILE`, with reference draws in refs/NAME.nc; where there are none, a long run of
NUTS is made, and kept in the folder of --made. Distances are those of `against_references.py`, in NumPy alone: W1 in
standard deviations of the reference, ratio of standard deviations, Kolmogorov-Smirnov distance, the worst over the
functionals. A line of a table in Markdown per model is printed, and what breaks the promises of the forecast: foreseen
and observed W1 of plain SGD differ by at most 0.1 where it ran at least 100 autocorrelation times, or the forecast was
not reliable; completed SGD is within 0.1 sd and a ratio of 0.9 to 1.1 (0.85 to 1.1 where there are more than a
twentieth as many parameters as rows) where the forecast is reliable. A broken promise makes the exit status 1.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import against_references
import jax
import numpy as np
import xarray as xr

import sgdvi
from sgdvi.experiment.tried import try_functionals, with_row_values
from sgdvi.samplers import references

# 100 autocorrelation times, or this many where they are fewer.
LEAST_STEPS, MOST_STEPS = 20_000, 1_000_000
KEPT = 2_000
LARGEST_GAP, LARGEST_W1 = 0.1, 0.1
HEADER = """| model (D, N) | forecast | plain, foreseen W1 | plain, observed | completed, W1 by seed | sd ratios |
|---|---|---|---|---|---|"""


class Worst:
    """The worst distances of a run over the functionals."""

    def __init__(self, draws: dict[str, np.ndarray], reference: dict[str, np.ndarray]) -> None:
        each = [against_references.distance(draws[name], reference[name]) for name in reference]
        self.w1, self.ks = max(one.w1 for one in each), max(one.ks for one in each)
        self.low, self.high = min(one.ratio for one in each), max(one.ratio for one in each)


def values(tree: Any, functionals: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return all draws of each functional."""
    posterior = tree["posterior"].to_dataset() if hasattr(tree, "children") else tree
    return {name: np.ravel(np.asarray(fn(posterior), dtype=float)) for name, fn in functionals.items()}


def reference_draws(folder: Path, problem: sgdvi.Problem, made: Path) -> dict[str, np.ndarray]:
    """Return Stan's draws where there are some, else those of NUTS, by functional."""
    stem = problem.name.removesuffix("_improper").removesuffix("_indexed").removesuffix("_noncentered")
    path = folder / "refs" / f"{stem}.nc"
    if not path.exists():
        path = made / f"{stem}.nc"
    if not path.exists():
        with jax.enable_x64(True):
            tree = references.nuts(problem, jax.random.key(0), num_warmup=2000, num_samples=5000, num_chains=4)
        tree["posterior"].to_dataset().to_netcdf(path, group="posterior", engine="h5netcdf")
    with xr.open_dataset(path, group="posterior") as stored:
        return values(stored.load(), problem.functionals)


def run(sampler: sgdvi.Sampler, problem: sgdvi.Problem, steps: int, seed: int, **options: Any) -> dict[str, np.ndarray]:
    """Return draws of 8 chains by functional."""
    tree = sgdvi.sample(
        sampler, problem.data, key=jax.random.key(seed), num_steps=steps, num_chains=8,
        thinning=max(1, steps // KEPT), progress=False, **options,
    )  # fmt: skip
    # values of rows that the model has integrated out are drawn given the parameters
    tree = with_row_values(problem, {"run": tree}, jax.random.key(seed + 1)).get("run", tree)
    return values(tree, problem.functionals)


def plain_sgd(problem: sgdvi.Problem, foreseen: sgdvi.Forecast, reference: dict[str, np.ndarray]) -> tuple[str, str]:
    """Run plain SGD at what the forecast gives; return what was observed, and the promise that it breaks."""
    plain, near = foreseen["plain"], foreseen.near
    assert near is not None
    if plain.steps > MOST_STEPS:
        return f"needs {plain.steps:.1g} steps: not run", ""
    sampler = sgdvi.SGD(problem.model, learning_rate=plain.learning_rate, batch_size=plain.batch_size)
    steps = int(max(LEAST_STEPS, plain.steps))
    start = near.flat.constrain(near.vector[None])
    begin = {site: value[0] for site, value in start.items() if site in near.mode}
    worst = Worst(run(sampler, problem, steps, 0, init=begin, num_warmup=int(10 * plain.relaxation)), reference)
    gap = abs(worst.w1 - plain.largest_w1)
    broken = f"foreseen and observed W1 differ by {gap:.2f}" if foreseen.reliable and not gap <= LARGEST_GAP else ""
    return f"{worst.w1:.2f} ({worst.low:.2f} to {worst.high:.2f}; KS {worst.ks:.2f}), {steps:,} steps", broken


def completed_sgd(
    problem: sgdvi.Problem, foreseen: sgdvi.Forecast, reference: dict[str, np.ndarray], seeds: int
) -> tuple[str, str]:
    """Run completed SGD at its defaults with several seeds; return two cells, and the promise that it breaks."""
    steps = int(max(LEAST_STEPS, min(foreseen["completed"].steps, 100_000)))
    sampler = sgdvi.CompletedSGD(problem.model, near=foreseen.near)
    runs = [Worst(run(sampler, problem, steps, seed), reference) for seed in range(seeds)]
    w1s, low, high = [each.w1 for each in runs], min(each.low for each in runs), max(each.high for each in runs)
    least = 0.9 if len(foreseen.mode.vector) <= 0.05 * foreseen.num_data else 0.85
    kept = max(w1s) <= LARGEST_W1 and least <= low and high <= 1.1
    broken = "" if kept or not foreseen.reliable else "completed SGD is not within its limits"
    cells = f"{', '.join(f'{w1:.3f}' for w1 in w1s)} | {low:.2f} to {high:.2f}"
    return f"{cells}; KS {max(each.ks for each in runs):.3f}; {steps:,} steps", broken


def line(folder: Path, name: str, seeds: int, made: Path) -> tuple[str, list[str]]:
    """Return the line of one model, and the promises that are broken on it."""
    problem = try_functionals(sgdvi.zoo.load(str(folder / f"{name}.py")))
    foreseen = sgdvi.forecast(problem)
    if not foreseen.mode.exists:
        return f"| {name} | no mode | | | | |", []
    reference = reference_draws(folder, problem, made)
    observed, first = plain_sgd(problem, foreseen, reference)
    completed, second = completed_sgd(problem, foreseen, reference, seeds)
    trust = "reliable" if foreseen.reliable else "not reliable"
    size = f"{len(foreseen.mode.vector)}, {foreseen.num_data}"
    text = f"| {name} ({size}) | {trust} | {foreseen['plain'].largest_w1:.2f} | {observed} | {completed} |"
    return text, [f"{name}: {broken}" for broken in (first, second) if broken]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--made", type=Path, default=Path(), help="where runs of NUTS are kept [default: here]")
    options = parser.parse_args()
    names = options.names or sorted(path.stem for path in options.folder.glob("*.py"))
    broken: list[str] = []
    print(HEADER)
    for name in names:
        text, more = line(options.folder, name, options.seeds, options.made)
        print(text, flush=True)
        broken += more
    print("\n".join(["", *broken, f"{len(broken)} promises are broken on {len(names)} models"]))
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())

"""Distances between joint laws of several functionals: MMD, energy distance, sliced W1; nulls by block permutation."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

from sgdvi._internal.text import count, number
from sgdvi.diagnostics.distances import grade
from sgdvi.diagnostics.findings import Finding, Status
from sgdvi.diagnostics.thresholds import Thresholds

MOST_POINTS = 1_000
_FEWEST_POINTS = 50
# Draws are thinned to their effective number; what is left of the autocorrelation lies within blocks of five.
_BLOCK = 5
_PERMUTATIONS = 999
_DIRECTIONS = 32
NAMES = {
    "mmd": "Maximum mean discrepancy (MMD)",
    "energy": "Energy distance",
    "sliced": "Sliced Wasserstein distance",
}
_SOURCES = {
    "mmd": "Gretton, Borgwardt, Rasch, Schölkopf, Smola 2012, JMLR 13, 723: Gaussian kernel, median bandwidth",
    "energy": "Székely, Rizzo 2013, J. Stat. Plan. Inference 143, 1249: square root of the energy coefficient",
    "sliced": f"Bonneel, Rabin, Peyré, Pfister 2015, JMIV 51, 22: mean W1 along {_DIRECTIONS} directions",
}


@dataclass(frozen=True)
class Gap:
    """A distance between joint laws: debiased value, what chance alone exceeds rarely, and its p-value."""

    value: float
    null: float
    p_value: float


def thin(values: np.ndarray, effective: float, most: int = MOST_POINTS) -> np.ndarray:
    """Return about as many draws of `values` (chain, draw, d) as they are worth, in their order, shape (n, d)."""
    chains, draws, size = values.shape
    wanted = max(1.0, min(effective, most, chains * draws))
    each = max(1, int(wanted / chains))
    # Evenly spread, not every k-th: that would halve 1000 draws that are worth 950.
    rows = np.linspace(0, draws - 1, each).round().astype(int)
    return np.ascontiguousarray(values[:, rows].reshape(-1, size))


def measure(run: np.ndarray, reference: np.ndarray, quantile: float = 0.99, seed: int = 0) -> dict[str, Gap]:
    """Measure all distances between two samples that are thinned to their effective size.

    Parameters
    ----------
    run, reference
        Shape (n, d) and (m, d), in the order of the chains; at least 5 points each. They are brought to the scale of
        the reference's own 5 % to 95 % range, coordinate by coordinate, first.
    quantile
        Probability of staying below the null level.
    seed
        Seed of the permutations.

    Notes
    -----
    Values are debiased: the mean of the statistic over permutations is taken off before the root. Blocks of five
    consecutive draws are permuted as a whole, so that what thinning leaves of the autocorrelation is in the null too.
    """
    x, y = (each[: len(each) // _BLOCK * _BLOCK] for each in (run, reference))
    low, high = np.quantile(y, [0.05, 0.95], axis=0)
    scale = np.where(high > low, high - low, 1.0) / 3.289707253902943
    pooled = np.concatenate([x, y]) / scale
    first, blocks = len(x) // _BLOCK, len(pooled) // _BLOCK
    rng = np.random.default_rng(seed)
    labels = np.zeros((_PERMUTATIONS + 1, blocks))
    labels[0, :first] = 1
    labels[1:] = rng.permuted(np.broadcast_to(labels[0], (_PERMUTATIONS, blocks)), axis=1)
    apart = cdist(pooled, pooled)
    width = max(float(np.median(apart[np.triu_indices(len(pooled), 1)])), 1e-300)
    between, energy = _quadratic(_block_sums(apart), labels, first)
    mmd = -_quadratic(_block_sums(np.exp(-0.5 * (apart / width) ** 2)), labels, first)[1]
    return {
        "mmd": _gap(mmd, quantile, 1.0),
        "energy": _gap(energy, quantile, 2 * between),
        "sliced": _sliced(pooled, labels[:400], first, quantile, rng),
    }


def _block_sums(matrix: np.ndarray) -> np.ndarray:
    size = len(matrix) // _BLOCK
    return matrix.reshape(size, _BLOCK, size, _BLOCK).sum(axis=(1, 3))


def _quadratic(sums: np.ndarray, labels: np.ndarray, first: int) -> tuple[float, np.ndarray]:
    """Return the mean of x against y as observed, and 2 mean(x, y) - mean(x, x) - mean(y, y) for all labels."""
    n, m = first * _BLOCK, (labels.shape[1] - first) * _BLOCK
    rows = labels @ sums
    within = np.einsum("pb,pb->p", rows, labels)
    across = rows.sum(axis=1) - within
    rest = sums.sum() - within - 2 * across
    values = 2 * across / (n * m) - within / n**2 - rest / m**2
    return float(across[0] / (n * m)), values


def _gap(values: np.ndarray, quantile: float, unit: float) -> Gap:
    null = values[1:]
    bias = null.mean()
    p_value = float((1 + (null >= values[0]).sum()) / len(values))
    root = [math.sqrt(max(each - bias, 0.0) / unit) for each in (values[0], np.quantile(null, quantile))]
    return Gap(root[0], root[1], p_value)


def _sliced(pooled: np.ndarray, labels: np.ndarray, first: int, quantile: float, rng: np.random.Generator) -> Gap:
    size = pooled.shape[1]
    directions = rng.normal(size=(size, _DIRECTIONS)) if size > 1 else np.ones((1, 1))
    lines = pooled @ (directions / np.linalg.norm(directions, axis=0))
    n, m = first * _BLOCK, len(pooled) - first * _BLOCK
    weights = np.repeat(np.where(labels > 0, 1 / n, -1 / m), _BLOCK, axis=1)
    totals = np.zeros(len(labels))
    for line in lines.T:
        order = np.argsort(line, kind="stable")
        steps = np.diff(line[order])
        totals += np.abs(np.cumsum(weights[:, order], axis=1)[:, :-1]) @ steps
    totals /= lines.shape[1]
    null = totals[1:]
    p_value = float((1 + (null >= totals[0]).sum()) / len(totals))
    return Gap(float(totals[0]), float(np.quantile(null, quantile)), p_value)


def findings(
    run: str, names: list[str], gaps: dict[str, Gap], against: str, thresholds: Thresholds, no_mean: str = ""
) -> list[Finding]:
    """Check the distances of the joint law of the functionals `names`; `no_mean` says which law has no mean."""
    what = names[0] if len(names) == 1 else f"{count(len(names), 'functional')} jointly"
    results = []
    for name, title in NAMES.items():
        gap, advice = gaps[name], ""
        value: float | None = gap.value
        warn, fail, blind = (getattr(thresholds, f"{name}_{limit}") for limit in ("warn", "fail", "blind"))
        status = grade(gap.value, gap.null, warn, fail, blind)
        measure = title[0].lower() + title[1:].split(" (")[0]
        start = f"On {what}, {run} and {against} are {number(gap.value)} apart by {measure}"
        chance = f"by chance up to {number(gap.null)}, p = {number(gap.p_value, 2)}"
        if name != "mmd" and no_mean:
            status, value = Status.NOT_APPLICABLE, None
            meaning = f"Not applicable: {no_mean} has no usable mean (see the tail index). MMD needs no moments."
        elif name == "sliced" and len(names) == 1:
            status, value, meaning = Status.NOT_APPLICABLE, None, "With one functional this is W1."
        elif status is Status.UNKNOWN:
            meaning, advice = f"{start} ({chance}): these draws are too few to tell.", "Run longer."
        elif gap.value <= gap.null:
            meaning = f"{start}, no more than chance explains ({chance})."
        elif status is Status.PASS:
            meaning = f"{start} ({chance}): more than chance, but too little to matter."
        else:
            meaning = f"{start} ({chance}): the laws differ."
            if len(names) > 1:
                advice = "If W1 and KS of every functional agree, it is how they depend on each other that differs."
        results.append(
            Finding(
                check=f"distance.{name}",
                run=run,
                functional=names[0] if len(names) == 1 else None,
                title=title,
                value=value,
                threshold=fail,
                status=status,
                meaning=meaning,
                advice=advice,
                source=f"{_SOURCES[name]}; null level by permuting blocks of draws, thinned to their effective number.",
                details={"against": against, "null_level": gap.null, "p_value": gap.p_value, "functionals": len(names)},
            )
        )
    return results


def too_few(run: np.ndarray, reference: np.ndarray) -> bool:
    """Whether one of the two thinned samples is too small for a permutation test."""
    return min(len(run), len(reference)) < _FEWEST_POINTS

"""Distances between joint laws of several functionals: MMD, energy distance, sliced W1; nulls by block permutation."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.distance import pdist, squareform

from sgdvi._internal.text import count, number
from sgdvi.diagnostics.case import Case
from sgdvi.diagnostics.declare import Outcome, Skip, graded
from sgdvi.diagnostics.distances import distance, shared
from sgdvi.diagnostics.findings import Details, Status
from sgdvi.diagnostics.run import Law, Run
from sgdvi.diagnostics.thresholds import limits_of

MOST_POINTS = 1_000
_FEWEST_POINTS = 50
# Draws are thinned to their effective number; what is left of the autocorrelation lies within blocks of five.
_BLOCK = 5
_PERMUTATIONS = 999
_DIRECTIONS = 32
# Beyond this many coordinates distances are those of products, but for those below this share of the squares.
_MANY, _CLOSE = 50, 1e-3


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
    pairs = _distances(pooled)
    apart = squareform(pairs, checks=False)
    # of indicators most pairs are equal: their median distance is 0, their mean is not
    width = float(np.median(pairs)) or float(apart.mean()) or 1.0
    between, energy = _quadratic(_block_sums(apart), labels, first)
    alike = squareform(np.exp(-0.5 * (pairs / width) ** 2), checks=False)
    np.fill_diagonal(alike, 1.0)
    mmd = -_quadratic(_block_sums(alike), labels, first)[1]
    return {
        "mmd": _gap(mmd, quantile, 1.0),
        "energy": _gap(energy, quantile, 2 * between),
        "sliced": _sliced(pooled, labels[:400], first, quantile, rng),
    }


def _distances(points: np.ndarray) -> np.ndarray:
    """Return the distances of all pairs of points (n, d), in the order of `pdist`."""
    if points.shape[1] < _MANY:
        return np.asarray(pdist(points))
    # by their products, which is faster; those of close points, in which most digits cancel, by their differences
    centred = points - points.mean(axis=0)
    squares = np.einsum("nd,nd->n", centred, centred)
    first, second = np.triu_indices(len(points), 1)
    total = squares[first] + squares[second]
    apart = total - 2 * (centred @ centred.T)[first, second]
    close = np.flatnonzero(apart < _CLOSE * total)
    if close.size > len(points):
        return np.asarray(pdist(points))
    apart[close] = ((points[first[close]] - points[second[close]]) ** 2).sum(axis=1)
    return np.asarray(np.sqrt(apart))


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
    root = [math.sqrt(max(each - bias, 0.0) / unit) for each in (values[0], _level(null, quantile))]
    return Gap(root[0], root[1], p_value)


def _sliced(pooled: np.ndarray, labels: np.ndarray, first: int, quantile: float, rng: np.random.Generator) -> Gap:
    size = pooled.shape[1]
    directions = rng.normal(size=(size, _DIRECTIONS)) if size > 1 else np.ones((1, 1))
    lines = pooled @ (directions / np.linalg.norm(directions, axis=0))
    n, m = first * _BLOCK, len(pooled) - first * _BLOCK
    weights = np.repeat(np.where(labels > 0, 1 / n, -1 / m).T, _BLOCK, axis=0)
    totals = np.zeros(len(labels))
    for line in lines.T:
        order = np.argsort(line, kind="stable")
        below = weights[order[:-1]]
        for before, here in zip(below, below[1:], strict=False):
            here += before  # all labels at once: a cumulative sum along the points waits for each sum
        totals += np.diff(line[order]) @ np.abs(below, out=below)
    totals /= lines.shape[1]
    null = totals[1:]
    p_value = float((1 + (null >= totals[0]).sum()) / len(totals))
    return Gap(float(totals[0]), _level(null, quantile), p_value)


def _level(null: np.ndarray, quantile: float) -> float:
    # interpolated, it would be exceeded at p = 0.0125 among 400 labels
    return float(np.quantile(null, quantile, method="higher"))


def samples(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Return draws of all shared functionals side by side, of the run and of the reference, thinned; skips few."""
    names = [name for name in shared(case) if not (isinstance(case.run, Run) and name in case.run.still)]
    if not names:
        raise Skip("All runs hold every functional at one value.")
    run, reference = (_rows(side, names, seed) for seed, side in enumerate((case.run, case.other)))
    if min(len(run), len(reference)) < _FEWEST_POINTS:
        raise Skip("Fewer than 50 effective draws: too few for a permutation test.", Status.UNKNOWN)
    return run, reference


def _rows(side: Run | Law, names: Sequence[str], seed: int) -> np.ndarray:
    """Return draws of the functionals side by side, as many as they are worth, shape (n, d)."""
    if isinstance(side, Law):
        values = side.points[names[0]].values
        return np.random.default_rng(seed).choice(values, MOST_POINTS, replace=False)[:, None]
    values = np.stack([side.values[name][side.keep] for name in names], axis=-1)
    return thin(values, side.fewest)


def _gaps(case: Case) -> dict[str, Gap]:
    return measure(*samples(case), case.limits.null_quantile)


_NULL = "null level by permuting blocks of draws, thinned to their effective number."


@distance(
    "distance.mmd",
    "Maximum mean discrepancy (MMD)",
    f"Gretton, Borgwardt, Rasch, Schölkopf, Smola 2012, JMLR 13, 723: Gaussian kernel, median bandwidth; {_NULL}",
    cites=("gretton2012kernel",),
    joint=True,
    thresholds=limits_of("mmd"),
)
def mmd(case: Case) -> Outcome:
    """MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y)."""
    return _apart(case, "mmd", "maximum mean discrepancy")


@distance(
    "distance.energy",
    "Energy distance",
    f"Székely, Rizzo 2013, J. Stat. Plan. Inference 143, 1249: square root of the energy coefficient; {_NULL}",
    cites=("szekely2013energy",),
    joint=True,
    thresholds=limits_of("energy"),
)
def energy(case: Case) -> Outcome:
    """(2 E|x - y| - E|x - x'| - E|y - y'|) / (2 E|x - y|), its root."""
    case.once(_gaps)
    _require_means(case)
    return _apart(case, "energy", "energy distance")


@distance(
    "distance.sliced",
    "Sliced Wasserstein distance",
    f"Bonneel, Rabin, Peyré, Pfister 2015, JMIV 51, 22: mean W1 along {_DIRECTIONS} directions; {_NULL}",
    joint=True,
    thresholds=limits_of("sliced"),
)
def sliced(case: Case) -> Outcome:
    """Mean of W1 over directions."""
    case.once(_gaps)
    _require_means(case)
    if len(shared(case)) == 1:
        raise Skip("With one functional this is W1.")
    return _apart(case, "sliced", "sliced Wasserstein distance")


def _require_means(case: Case) -> None:
    heavy = case.lacks_moment(1, *shared(case))
    if heavy:
        raise Skip(f"Not applicable: {heavy} has no usable mean (see the tail index). MMD needs no moments.")


def _apart(case: Case, name: str, measured_by: str) -> Outcome:
    names, gap, against = shared(case), case.once(_gaps)[name], case.other
    single = names[0] if len(names) == 1 else None
    what = single or f"{count(len(names), 'functional')} jointly"
    start = f"On {what}, {case.run.name} and {against.name} are {number(gap.value)} apart by {measured_by}"
    details: Details = {"against": against.name, "p_value": gap.p_value, "functionals": len(names)}
    limits, words = case.limits.of(name), "the laws differ"
    outcome = graded(start, gap.value, gap.null, limits, p=gap.p_value, beyond=words, details=details)
    return replace(outcome, functional=single)

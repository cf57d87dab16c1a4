"""Do two laws live on the same set? To be known before any divergence is computed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import qr
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from sgdvi._internal.text import count, listed, number
from sgdvi.diagnostics.case import Case
from sgdvi.diagnostics.declare import Outcome, Skip, check
from sgdvi.diagnostics.findings import Details, Status
from sgdvi.diagnostics.labels import labels
from sgdvi.diagnostics.measures import is_discrete
from sgdvi.diagnostics.run import Run
from sgdvi.diagnostics.thresholds import ZIYIN, Thresholds

_MOST_POINTS = 2_000
_FEWEST_POINTS = 50
# Beyond this many coordinates sums of them are looked at.
_MOST_COORDINATES, _SUMS = 500, 200
_COARSE = 8
_FEW_COORDINATES, _CANDIDATES = 10, 6
_THIN = 0.9
# Distance from the middle, in median distances, beyond which a point is an outlier.
_FARTHEST = 3.0
# In more dimensions the distances of neighbours are those of a law's shape: only a gap in the spectrum tells there.
_MOST_NEIGHBOURLY = 10.0
# A coordinate is a copy of others where they explain all of it up to this share of its standard deviation.
_COPY = 1e-4
# Independent Gaussian factors have a median imbalance of 0.71.
_NEARLY = 0.2
# A direction this much narrower than the widest, in units of the reference, counts as none, fuzz about a surface, if a
# gap sets it apart: widths that fall off little by little are those of a full law that is badly scaled.
_FUZZ = 1e-2
_GAP = 10.0


def balance_residual(factors: Sequence[np.ndarray]) -> np.ndarray:
    """Return the relative imbalance of the factors per draw, shape (chain, draw), between 0 and 1.

    ``factors`` are the draws of the factors of one product, each (chain, draw) or (chain, draw, unit). For two
    factors this is sum |u^2 - w^2| / sum (u^2 + w^2) over the units; for more, the largest and the smallest square.
    """
    squares = np.stack([np.asarray(factor, dtype=np.float64).reshape(*factor.shape[:2], -1) for factor in factors])
    # Collapsed factors underflow when squared: only ratios matter, so the largest becomes 1 first.
    top = np.abs(squares).max(axis=(0, 3), keepdims=True)
    squares = (squares / np.where(top > 0, top, 1.0)) ** 2
    high, low = squares.max(axis=0), squares.min(axis=0)
    total = (high + low).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, (high - low).sum(axis=-1) / total, np.nan)


def two_nn(points: np.ndarray) -> float:
    """Estimate the intrinsic dimension of `points` (n, d) from the ratio of the two nearest distances.

    The maximum-likelihood form of Facco, d'Errico, Rodriguez and Laio 2017 (Scientific Reports 7, 12140). Repeated
    points count once; fewer than three different points have dimension 0.
    """
    points = np.unique(points, axis=0)
    if len(points) < 3:
        return 0.0
    nearest = _nearest(points)
    ratio = np.log(nearest[:, 1] / nearest[:, 0])
    total = ratio.sum()
    return float((len(ratio) - 1) / total) if total > 0 else math.inf


def without_outliers(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return `points` (n, d) about their median, outliers drawn in, and the mask (n,) of those that are none.

    Those farther out than three times the median distance are drawn in to it: the way of a transient is no direction of
    the law, a few points far out would make all others look like none.
    """
    centred = points - np.median(points, axis=0)
    lengths = np.sqrt((centred**2).sum(axis=1))
    longest = _FARTHEST * float(np.median(lengths))
    scale = np.minimum(1.0, longest / np.maximum(lengths, 1e-300)) if longest > 0 else np.ones(len(points))
    return centred * scale[:, None], scale == 1


def _nearest(points: np.ndarray) -> np.ndarray:
    """Return the distances of different points (n, d) to their two nearest neighbours, shape (n, 2)."""
    if points.shape[1] <= _FEW_COORDINATES or len(points) <= _CANDIDATES:
        return np.asarray(cKDTree(points).query(points, k=3)[0][:, 1:])
    # a tree looks at all points in many dimensions, more slowly; the candidates' distances are free of cancellation
    squares = np.einsum("nd,nd->n", points, points)
    apart = squares[:, None] + squares - 2 * points @ points.T
    np.fill_diagonal(apart, np.inf)
    candidates = np.argpartition(apart, _CANDIDATES, axis=1)[:, :_CANDIDATES]
    exact = np.sqrt(((points[:, None] - points[candidates]) ** 2).sum(axis=-1))
    return np.sort(exact, axis=1)[:, :2]


def linear_rank(points: np.ndarray) -> int:
    """Return the number of directions in which standardised `points` (n, d) vary beyond fuzz."""
    widths = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    if not widths.size or widths[0] == 0:
        return 0
    ends = np.flatnonzero((widths[1:] < _FUZZ * widths[0]) & (_GAP * widths[1:] < widths[:-1]))
    return int(ends[0]) + 1 if ends.size else len(widths)


@dataclass(frozen=True)
class Dimension:
    """Estimated dimension of the support of a sample.

    Attributes
    ----------
    fine, coarse
        Two-nearest-neighbour estimate from all points, and from an eighth of them (a larger scale, at which a thin
        fuzz about a curve does not show).
    rank
        Number of directions in which the points vary.
    narrowest
        Width of the narrowest of these directions, in standard deviations of the reference.
    size, ambient
        Number of points used; number of coordinates.
    most
        The largest rank that the points can have, outliers apart: they are drawn in to one and the same place.
    """

    fine: float
    coarse: float
    rank: int
    size: int
    ambient: int
    narrowest: float
    most: int

    @property
    def value(self) -> float:
        """The dimension that a person is told."""
        return min(self.fine, self.coarse, float(self.rank))


def whitening(points: np.ndarray, floor: float = 1e-6) -> np.ndarray:
    """Return the matrix (d, d) after which `points` (n, d) have the identity as covariance, as far as they can.

    Directions narrower than `floor` times the widest are left as narrow as they are.
    """
    values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(points, rowvar=False)))
    top = max(float(values[-1]), 1e-300)
    # Blowing up directions without variance would turn rounding into a dimension.
    least = floor**2 * top
    scale = np.where(values > least, 1 / np.sqrt(np.maximum(values, least)), 1 / np.sqrt(top))
    return vectors * scale


def dimension_of(points: np.ndarray, transform: np.ndarray, size: int) -> Dimension:
    """Estimate the dimension of the support from `size` of the `points` (n, d), multiplied by `transform` first.

    Neighbours are then sought in units of the points' own covariance: a law that is narrow in some directions is not
    one of lower dimension.
    """
    size = int(min(size, len(points), _MOST_POINTS))
    rows = np.linspace(0, len(points) - 1, max(size, 1)).round().astype(int)
    chosen = np.asarray(points, dtype=np.float64)[rows]
    chosen, inside = without_outliers((chosen - chosen.mean(axis=0)) @ transform)
    widths = np.linalg.svd(chosen, compute_uv=False) / math.sqrt(max(len(chosen), 1))
    rank = linear_rank(chosen)
    # what a gap sets apart stays narrow; what is badly scaled is scaled
    # what was drawn in lies on a sphere, of lower dimension: on the line at two points, which rounding tells apart
    chosen = (chosen @ (whitening(chosen, _FUZZ) if rank < chosen.shape[1] else whitening(chosen)))[inside]
    # Every eighth draw would be as autocorrelated as the draws are: a permutation is not.
    few = chosen[np.random.default_rng(0).permutation(len(chosen))[: max(len(chosen) // _COARSE, 3)]]
    most = min(len(chosen) - 1, chosen.shape[1])
    narrowest = float(widths[rank - 1]) if 0 < rank <= len(widths) else math.nan
    return Dimension(two_nn(chosen), two_nn(few), rank, len(rows), chosen.shape[1], narrowest, most)


def independent_columns(points: np.ndarray) -> np.ndarray:
    """Return the columns of `points` (n, d) that are no linear function of others, (k,): copies count once.

    Pivoted QR takes the columns in the order of what the ones before leave of them.
    """
    points = points[np.linspace(0, len(points) - 1, min(len(points), _MOST_POINTS)).round().astype(int)]
    if len(points) <= points.shape[1] + 1:
        return np.arange(points.shape[1])  # fewer points than coordinates depend on each other whatever the law
    centred = points - points.mean(axis=0)
    sd = centred.std(axis=0)
    _, triangle, order = qr(centred / np.where(sd > 0, sd, 1.0), mode="economic", pivoting=True)
    left = np.abs(np.diag(triangle)) / math.sqrt(len(points))
    count_ = max(int((left > _COPY).sum()), 1)
    return np.sort(order[:count_]) if count_ < len(left) else np.arange(points.shape[1])


def _free(run: Run, other: Run) -> tuple[np.ndarray, np.ndarray]:
    """Return the coordinates that move in either run, counts left out; of very many, sums of them with random signs.

    Each of some hundred sums has its own coordinates, in units of the reference: time and memory are linear in their
    number, and a set of lower dimension than that of the sums stays one.
    """
    sides = (run, other)
    moves = [high > low for low, high in (side.columns.within(side.keep) for side in sides)]
    # neighbours on a grid of whole numbers say nothing of a dimension; a run that stands still has dimension 0
    counts = _counts(run) & _counts(other) & moves[0]
    free = np.flatnonzero((moves[0] | moves[1]) & ~counts)
    if not free.size:
        raise Skip("Every parameter is a count or is held at one value: there is no dimension to compare.")
    if free.size <= _MOST_COORDINATES:
        first, second = (side.columns.take(side.keep, free) for side in sides)
        return first, second
    rng = np.random.default_rng(0)
    order, signs = rng.permutation(free.size), rng.choice([-1.0, 1.0], free.size)
    starts = np.linspace(0, free.size, _SUMS, endpoint=False).astype(int)
    group = np.empty(free.size, int)
    group[order] = np.searchsorted(starts, np.arange(free.size), side="right") - 1
    done, sums = 0, [np.zeros((min(side.columns.rows(side.keep), _MOST_POINTS), _SUMS)) for side in sides]
    for here in run.columns.blocks(max(side.columns.rows(side.keep) for side in sides), free):
        part = slice(done, done := done + here.size)
        draws = [side.columns.take(side.keep, here) for side in sides]
        unit = np.where((sd := draws[1].std(axis=0)) > 0, sd, 1.0)
        adds = csr_array((signs[part] / unit, (group[part], np.arange(here.size))), (_SUMS, here.size))
        sums = [total + (adds @ _thinned(each).T).T for total, each in zip(sums, draws, strict=True)]
    return sums[0], sums[1]


def _thinned(draws: np.ndarray) -> np.ndarray:
    return draws[np.linspace(0, len(draws) - 1, min(len(draws), _MOST_POINTS)).round().astype(int)]


def _counts(run: Run) -> np.ndarray:
    """Return a mask of the columns of whole numbers."""
    low, high = run.columns.within(run.keep)
    counts = (low == np.round(low)) & (high == np.round(high))
    for here in run.columns.blocks(run.columns.rows(run.keep), np.flatnonzero(counts)):
        counts[here] = [is_discrete(column) for column in run.columns.take(run.keep, here).T]
    return counts


@check(
    "support.balance",
    "Support: imbalance of |u| and |w|",
    f"{ZIYIN}: law of balance, u^2 - w^2 decays to 0 under SGD.",
    cites=("ziyin2025noise",),
    thresholds=("balance",),
    kinds=("judged", "independent"),
    of_chains=False,
    always=True,
    in_parameters=True,
)
def balance(case: Case) -> Outcome:
    """The run leaves the balanced set |u| = |w|, where no posterior with a density lives."""
    factors, names, limit = case.factors, case.facts.factors, case.limits.balance
    if factors is None:
        raise Skip(case.facts.missing or "The parameters of this run are not the factors of a product.")
    if len(factors) < 2:
        raise Skip("Depth 0: there is one factor, hence nothing to balance.")
    residual = balance_residual(factors)
    residual = residual[np.isfinite(residual)]
    plane, line = f"({', '.join(names)})", " = ".join(f"|{name}|" for name in names)
    title = f"Support: imbalance of {listed([f'|{name}|' for name in names])}"
    if not residual.size:
        meaning = f"All draws of {plane} are 0: every set contains them."
        return Outcome(Status.UNKNOWN, meaning, math.nan, limit, details={"last": None}, title=title)
    value, high = (float(each) for each in np.quantile(residual, [0.5, 0.95]))
    value = float(np.median(residual))
    status, advice = Status.PASS, ""
    meaning = f"The draws leave {line}: median relative imbalance {number(value)}, 95 % below {number(high)}."
    if value < limit:
        status, size = Status.FAIL, "area" if len(names) == 2 else "volume"
        meaning = f"The draws lie on {line} (median relative imbalance {number(value)}): a set of zero {size} in "
        meaning += f"{plane}, to which the posterior gives probability 0."
        advice = f"Do not read the spread of {listed(names, 'or')} off this run. Use their product, on which laws can "
        advice += "be compared."
    elif value < _NEARLY:
        status = Status.WARN
        advice = "Close to the balanced set: SGD that is not yet balanced looks like this. Run a longer warmup."
    return Outcome(status, meaning, value, limit, advice, {"last": float(residual[-1])}, title=title)


@check(
    "support.dimension",
    "Support: dimension",
    "Facco, d'Errico, Rodriguez, Laio 2017, Scientific Reports 7, 12140 (two nearest neighbours).",
    cites=("facco2017estimating",),
    thresholds=("dimension_ratio", "narrow_warn"),
    kinds=("judged", "independent"),
    always=True,
    in_parameters=True,
)
def dimension(case: Case) -> Outcome:
    """The support of the run has no lower dimension than that of the reference."""
    other = case.sampled
    if other is None:
        raise Skip("Needs a reference with draws of the same parameters.")
    if labels(case).details.get("exchanged"):
        raise Skip("The components of some parameters have exchanged labels: no place of one run is that of the other.")
    if not (case.draws.keep.any() and other.keep.any()):
        raise Skip("No chain with finite draws is left, in this run or in the reference.", Status.UNKNOWN)
    points, others = _free(case.draws, other)
    if min(len(points), len(others)) < 3:
        raise Skip("Fewer than three draws: too few to estimate a dimension.", Status.UNKNOWN)
    points, others = points[:, (kept := independent_columns(others))], others[:, kept]
    size, transform = min(case.draws.fewest, other.fewest), whitening(others)
    mine, reference = dimension_of(points, transform, size), dimension_of(others, transform, size)
    return compared(mine, reference, other.name, case.limits)


def compared(mine: Dimension, reference: Dimension, against: str, limits: Thresholds) -> Outcome:
    """Judge the dimension of a support beside that of the reference of this name."""
    value, other = mine.value, reference.value
    limit, status, advice = limits.dimension_ratio * other, Status.PASS, ""
    meaning = f"No sign of a lower dimension: the draws fill about {number(value, 2)} dimensions, those of {against} "
    meaning += f"about {number(other, 2)}."
    if min(mine.size, reference.size) < _FEWEST_POINTS:
        status, advice = Status.UNKNOWN, "Run longer."
        meaning = f"Fewer than {_FEWEST_POINTS} effective draws: too few to estimate a dimension."
    elif is_lower(mine, reference, limits):
        status, advice = Status.FAIL, "Compare functionals of the parameters only, not the parameters."
        sizes = f"fill a set of dimension about {number(value, 2)}; those of {against} fill about {number(other, 2)}"
        if mine.rank < min(reference.rank, mine.most):
            value, other, limit = float(mine.rank), float(reference.rank), float(reference.rank)
            sizes = f"vary in {count(mine.rank, 'direction')}; those of {against} in {reference.rank}"
        meaning = f"In {count(mine.ambient, 'coordinate')} the draws {sizes}. The two laws cannot have densities with "
        meaning += "respect to each other."
    elif mine.narrowest < limits.narrow_warn * reference.narrowest:
        status, advice = Status.WARN, "Compare functionals of the parameters only, not the parameters."
        factor = number(reference.narrowest / mine.narrowest, 2)
        meaning = f"Narrow, of no lower dimension: in its narrowest direction the run is {factor} times narrower than "
        meaning += f"{against}."
    details: Details = {"against": against, "reference": other, "coordinates": mine.ambient, "points": mine.size}
    details["narrowest"] = None if math.isnan(mine.narrowest) else mine.narrowest
    return Outcome(status, meaning, value, limit, advice, details)


def is_lower(mine: Dimension, reference: Dimension, thresholds: Thresholds) -> bool:
    """Decide whether the first support has a lower dimension: by its linear rank, or at one of the two scales.

    A thin cloud that is full at the fine scale is thin, not singular, so the fine scale has to agree somewhat.
    """
    if mine.rank < min(reference.rank, mine.most):
        return True
    if mine.fine > _THIN * reference.fine or reference.fine > _MOST_NEIGHBOURLY:
        return False
    for own, other, size in (
        (mine.fine, reference.fine, min(mine.size, reference.size)),
        (mine.coarse, reference.coarse, min(mine.size, reference.size) // _COARSE),
    ):
        error = math.hypot(own, other) / math.sqrt(max(size, 1))
        if own < thresholds.dimension_ratio * other and other - own > 3 * error:
            return True
    return False

"""Wasserstein-1 and Kolmogorov distances on the line, each with its null level."""

import math
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from scipy import special, stats

from sgdvi._internal.text import number
from sgdvi.diagnostics.case import Case
from sgdvi.diagnostics.declare import Outcome, Skip, check, grade, graded
from sgdvi.diagnostics.findings import Details, Status
from sgdvi.diagnostics.measures import is_discrete, linear_quantile
from sgdvi.diagnostics.run import Run
from sgdvi.diagnostics.thresholds import Thresholds, limits_of
from sgdvi.laws.line import Points

# A shift moves all mass by as much: a median that moves by more than this many W1 is no shift.
MOST_JUMP = 2.0
_NULL_POINTS, _MOST_NULL_POINTS = 1_000, 4_000
_SIZES = 1.1
_UPPER = np.array([0.8, 0.9, 0.95, 0.975, 0.99])
_LEVELS = (np.arange(2_000) + 0.5) / 2_000


@dataclass(frozen=True)
class Distance:
    """Both distances between two laws with their null levels, and the difference in two plain numbers.

    Attributes
    ----------
    w1, w1_null
        Wasserstein-1 distance and its null level in units of the reference's standard deviation.
    ks, ks_null
        Kolmogorov distance and its null level.
    shift
        Median minus the reference's median, in standard deviations of the reference.
    widening
        Width from the 5 % to the 95 % quantile over the reference's.
    unit
        Standard deviation of the reference in the units of the functional.
    """

    w1: float
    w1_null: float
    ks: float
    ks_null: float
    shift: float
    widening: float
    unit: float


def kolmogorov(a: np.ndarray, b: np.ndarray) -> float:
    """Return the largest difference between the empirical distribution functions of two sorted arrays."""
    points = np.concatenate([a, b])
    order = np.argsort(points, kind="stable")  # merges what is sorted
    of_a, points = np.cumsum(order < a.size), points[order]
    last = np.append(points[1:] > points[:-1], True)  # of equal ones all count
    of_a, both = of_a[last], np.flatnonzero(last) + 1
    return float(np.abs(of_a / a.size - (both - of_a) / b.size).max())


def null_level(reference: Points, n: float, m: float, quantile: float = 0.99, seed: int = 0) -> tuple[float, float]:
    """Return the W1 and Kolmogorov distances that two samples of the *same* law exceed with a small probability.

    Parameters
    ----------
    reference
        The law, as points.
    n, m
        Effective sizes of the two samples; inf for a law that is known.
    quantile
        Probability of staying below the null level.
    seed
        Seed of the resampling; the result depends on nothing else.

    Returns
    -------
    tuple of float
        Null level of W1 in the units of the points, and of the Kolmogorov distance.

    Notes
    -----
    W1: pairs of independent samples are drawn from the reference, of at most 1000 points each, and the result is
    scaled with sqrt(1/n + 1/m). Kolmogorov: the limit law of the two-sample statistic.
    """
    root = math.sqrt(1 / n + 1 / m) if min(n, m) > 0 else math.inf
    if root == 0 or math.isinf(root):
        return root, root
    w1 = _null_wasserstein(reference, root, quantile, 0, seed)
    return w1, min(1.0, float(special.kolmogi(1 - quantile)) * root)


def _null_wasserstein(reference: Points, root: float, quantile: float, order: int, seed: int = 0) -> float:
    size = _rounded_size(min(2 / root**2, _NULL_POINTS))
    return _quantile(reference.null_distances(size, seed)[order], quantile) * root / math.sqrt(2 / size)


def _rounded_size(size: float) -> int:
    # few different sizes, so that what is drawn for one serves others; levels are scaled to the size asked for
    return max(2, int(_SIZES ** math.floor(math.log(max(size, 1.0)) / math.log(_SIZES) + 1e-9)))


def second_order(points: Points, reference: Points, quantile: float = 0.99) -> tuple[float, float]:
    """Return the Wasserstein-2 distance and its null level, in the units of the points.

    Unlike W1 it weighs the tails, and needs the variances. What seems to be more than chance is looked at again, in
    samples of both laws together and of their actual size: where tails are heavy, the largest values decide, which one
    of the two may lack, and the level falls more slowly than with the root of the size.
    """
    value = float(np.sqrt(np.mean((points.quantile(_LEVELS) - reference.quantile(_LEVELS)) ** 2)))
    root = math.sqrt(1 / points.effective + 1 / reference.effective)
    null = _null_wasserstein(reference, root, quantile, 1) if root > 0 else 0.0
    return value, max(null, _null_of_both(points, reference, root, quantile)) if value > null > 0 else null


def _null_of_both(points: Points, reference: Points, root: float, quantile: float) -> float:
    count = min(points.values.size, reference.values.size)
    levels = (np.arange(count) + 0.5) / count
    pooled = Points(np.sort(np.concatenate([each.quantile(levels) for each in (points, reference)])), math.inf)
    size = _rounded_size(min(2 / root**2, _MOST_NULL_POINTS))
    distances = pooled.null_distances(size)[1] * root / math.sqrt(2 / size)
    # in the logarithm: a heavy tail of the values is one of the distances
    return math.exp(_quantile(np.log(distances), quantile))


def _quantile(distances: np.ndarray, quantile: float) -> float:
    # The repeats hold hardly anything beyond their own 0.99 quantile: norms of Gaussian processes have the tail of
    # |N|, so a line in its quantiles is fitted to the upper fifth, and read at the level. Heavier tails are kept.
    upper = linear_quantile(np.sort(distances), np.append(_UPPER, min(quantile, _UPPER[-1])))
    slope, start = _line() @ upper[:-1]
    return max(float(start + slope * _half_normal(np.array(quantile))), float(upper[-1]))


@lru_cache(maxsize=1)
def _line() -> np.ndarray:
    """Return what makes slope and start of the least-squares line of quantiles, (2, levels)."""
    return np.linalg.pinv(np.vander(_half_normal(_UPPER), 2))


def _half_normal(levels: np.ndarray) -> np.ndarray:
    return np.asarray(special.ndtri((1 + levels) / 2))


def measure(points: Points, reference: Points, quantile: float = 0.99) -> Distance:
    """Measure how far `points` are from `reference`, with null levels at their effective sizes."""
    unit = reference.sd
    if not (np.isfinite(unit) and unit > 0):
        unit = reference.spread
    # a constant reference has no unit: that of the run
    unit = unit if unit > 0 else points.sd if math.isfinite(points.sd) and points.sd > 0 else 1.0
    w1_null, ks_null = null_level(reference, points.effective, reference.effective, quantile)
    width = reference.spread
    middle = np.array([0.5])
    return Distance(
        w1=_wasserstein(points.values, reference.values) / unit,
        w1_null=w1_null / unit,
        ks=kolmogorov(points.values, reference.values),
        ks_null=ks_null,
        shift=float((points.quantile(middle) - reference.quantile(middle))[0]) / unit,
        widening=points.spread / width if width > 0 else math.inf if points.spread > 0 else 1.0,
        unit=unit,
    )


def _wasserstein(a: np.ndarray, b: np.ndarray) -> float:
    # sorted: of equal numbers of points each goes to its like
    return float(np.abs(a - b).mean() if a.size == b.size else stats.wasserstein_distance(a, b))


def grade_both(w1: float, ks: float, w1_null: float, ks_null: float, limits: Thresholds) -> Status:
    """Return the worse of the statuses of W1 and KS, see `grade`; null levels are 0 between known laws."""
    each = [
        grade(w1, w1_null, limits.w1_warn, limits.w1_fail, limits.w1_blind),
        grade(ks, ks_null, limits.ks_warn, limits.ks_fail, limits.ks_blind),
    ]
    return max(each, key=lambda status: status.severity)


def difference(distance: Distance, unit: str) -> str:
    """Say the difference in words: where the middle is and how wide the spread is."""
    side = "higher" if distance.shift > 0 else "lower"
    # the median of two modes jumps from one to the other where hardly any mass moves
    moved = 0.02 <= abs(distance.shift) <= MOST_JUMP * distance.w1
    parts = [f"its median is {number(abs(distance.shift), 2)} {unit} {side}"] if moved else []
    if abs(distance.widening - 1) >= 0.02:
        parts.append(f"its spread is {number(distance.widening, 3)} times as wide")
    return " and ".join(parts) if parts else "median and spread agree"


def shared(case: Case) -> list[str]:
    """Return the functionals of which both the run and its reference are known, for ``each``."""
    run, reference = case.run, case.reference
    if reference is None:
        raise Skip(case.facts.improper or "There is no reference to compare with.")
    names = [name for name in run.points if name in reference.points]
    if not names:
        reason = "No functional is known of both this run and the reference."
        if (isinstance(run, Run) and not run.points) or not reference.points:
            reason = "No chain with finite draws is left, in this run or in the reference."
        raise Skip(reason, Status.UNKNOWN)
    return names


def from_reference(case: Case, name: str) -> Distance:
    """Measure the distance of the run from the reference; null levels are those of all functionals together."""
    return measure(case.run.points[name], case.other.points[name], level_of_each(case))


def discrete(case: Case, name: str) -> bool:
    """Whether a functional takes whole numbers on both sides: counts, classes, indicators, constants among them."""
    return is_discrete(case.run.points[name].values) and is_discrete(case.other.points[name].values)


def level_of_each(case: Case) -> float:
    """Return the quantile for the null levels of single functionals, so that `null_quantile` is that of all."""
    # Among 100 functionals one would be beyond its own level of 1 in 100.
    return 1 - (1 - case.limits.null_quantile) / len(case.once(shared))


# What all checks of distances share: laws on the line are compared too.
distance = partial(check, kinds=("compared", "law"), of_reference=True)
_NULL = "Null level: the same distance between two samples of the reference with as many effective draws."


@distance(
    "distance.w1",
    "Wasserstein distance (W1)",
    _NULL,
    each=shared,
    thresholds=limits_of("w1"),
    always=True,
    on_functional=True,
)
def w1(case: Case, name: str) -> Outcome:
    """W1 = integral of |F - G|, in standard deviations of the reference."""
    gap, against = case.once(from_reference, name), case.other.name
    heavy = case.lacks_moment(1, name)
    if heavy:
        reason = f"Not applicable: {heavy} has no usable mean on {name} (see the tail index), so W1 does not settle."
        raise Skip(f"{reason} The Kolmogorov distance needs no moments.")
    start = f"On {name}, {case.run.name} is {number(gap.w1)} sd away from {against} (W1)"
    return _graded(case, name, start, gap, "w1")


@distance(
    "distance.ks",
    "Kolmogorov distance (KS)",
    _NULL,
    each=shared,
    thresholds=limits_of("ks"),
    always=True,
    on_functional=True,
)
def ks(case: Case, name: str) -> Outcome:
    """KS = sup |F - G|."""
    gap, of = case.once(from_reference, name), f"of {name} under {case.run.name} and {case.other.name}"
    start = f"The distribution functions {of} differ by up to {number(gap.ks)} (KS)"
    return _graded(case, name, start, gap, "ks")


@distance("distance.w2", "Wasserstein distance (W2)", _NULL, each=shared, thresholds=limits_of("w2"), tails=True)
def w2(case: Case, name: str) -> Outcome:
    """W2^2 = integral of (F^-1 - G^-1)^2, in standard deviations of the reference: it weighs the tails."""
    unit, against = case.once(from_reference, name).unit, case.other
    if discrete(case, name):
        raise Skip(f"{name} takes whole numbers: W2 is the root of the mass that moves; W1 and KS compare it.")
    heavy = case.lacks_moment(2, name)
    if heavy:
        raise Skip(f"Not applicable: {heavy} has no usable variance on {name} (see the tail index).")
    distances = second_order(case.run.points[name], against.points[name], level_of_each(case))
    value, null = (each / unit for each in distances)
    start = f"On {name}, {case.run.name} is {number(value)} sd away from {against.name} (W2)"
    details: Details = {"against": against.name}
    return graded(start, value, null, case.limits.of("w2"), unit=" sd", details=details)


def _graded(case: Case, name: str, start: str, gap: Distance, which: str) -> Outcome:
    """Judge W1 or KS; both say what the difference is and what follows from it."""
    value, null, unit = getattr(gap, which), getattr(gap, f"{which}_null"), gap.unit if which == "w1" else None
    against = case.other.name
    details: Details = {"against": against, "unit": unit, "shift": gap.shift, "widening": gap.widening}
    details |= {"w1": gap.w1, "ks": gap.ks}
    words = difference(gap, f"sd of {against}")
    limits, sd = case.limits.of(which), "" if unit is None else " sd"
    return graded(start, value, null, limits, unit=sd, beyond=words, details=details)

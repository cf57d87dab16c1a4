"""Wasserstein-1 and Kolmogorov distances on the line, each with its null level."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from sgdvi._internal.text import number
from sgdvi.diagnostics.findings import Finding, Status
from sgdvi.diagnostics.thresholds import Thresholds
from sgdvi.laws.line import Points

_NULL_POINTS = 1_000
_SIMULATED = 0.99
_LEVELS = 2_000


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
    below_a = np.searchsorted(a, points, side="right") / a.size
    below_b = np.searchsorted(b, points, side="right") / b.size
    return float(np.abs(below_a - below_b).max())


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
    w1 = _null_wasserstein(reference, root, quantile, seed)[0]
    return w1, min(1.0, float(stats.kstwobign.ppf(quantile)) * root)


def _null_wasserstein(reference: Points, root: float, quantile: float, seed: int = 0) -> tuple[float, float]:
    size = int(np.clip(math.ceil(2 / root**2), 2, _NULL_POINTS))
    levels = [_quantile(each, quantile) for each in reference.null_distances(size, seed)]
    return levels[0] * root / math.sqrt(2 / size), levels[1] * root / math.sqrt(2 / size)


def second_order(points: Points, reference: Points, quantile: float = 0.99) -> tuple[float, float]:
    """Return the Wasserstein-2 distance and its null level, in the units of the points.

    Unlike W1 it weighs the tails, and needs the variances.
    """
    levels = (np.arange(_LEVELS) + 0.5) / _LEVELS
    value = float(np.sqrt(np.mean((points.quantile(levels) - reference.quantile(levels)) ** 2)))
    root = math.sqrt(1 / points.effective + 1 / reference.effective)
    return value, _null_wasserstein(reference, root, quantile)[1] if root > 0 else 0.0


def _quantile(distances: np.ndarray, quantile: float) -> float:
    # 400 repeats hold nothing beyond their own 0.99 quantile: from there on a Gaussian tail, as norms of Gaussian
    # processes have it.
    if quantile <= _SIMULATED:
        return float(np.quantile(distances, quantile))
    middle, high = np.quantile(distances, [0.5, _SIMULATED])
    return float(middle + (high - middle) * stats.norm.ppf(quantile) / stats.norm.ppf(_SIMULATED))


def measure(points: Points, reference: Points, quantile: float = 0.99) -> Distance:
    """Measure how far `points` are from `reference`, with null levels at their effective sizes."""
    unit = reference.sd
    if not (np.isfinite(unit) and unit > 0):
        unit = reference.spread
    unit = unit if unit > 0 else 1.0
    w1_null, ks_null = null_level(reference, points.effective, reference.effective, quantile)
    width = reference.spread
    middle = np.array([0.5])
    return Distance(
        w1=float(stats.wasserstein_distance(points.values, reference.values)) / unit,
        w1_null=w1_null / unit,
        ks=kolmogorov(points.values, reference.values),
        ks_null=ks_null,
        shift=float((points.quantile(middle) - reference.quantile(middle))[0]) / unit,
        widening=points.spread / width if width > 0 else math.inf if points.spread > 0 else 1.0,
        unit=unit,
    )


def grade_both(w1: float, ks: float, w1_null: float, ks_null: float, limits: Thresholds) -> Status:
    """Return the worse of the statuses of W1 and KS, see `grade`; null levels are 0 between known laws."""
    each = [
        grade(w1, w1_null, limits.w1_warn, limits.w1_fail, limits.w1_blind),
        grade(ks, ks_null, limits.ks_warn, limits.ks_fail, limits.ks_blind),
    ]
    return max(each, key=lambda status: status.severity)


def grade(value: float, null: float, warn: float, fail: float, blind: float) -> Status:
    """Turn a distance into a status: small, or within its null level, or too large, or too few draws to tell."""
    if math.isnan(value) or math.isnan(null):
        return Status.UNKNOWN
    if value > null:
        return Status.FAIL if value >= fail else Status.WARN if value >= warn else Status.PASS
    return Status.UNKNOWN if null > blind else Status.PASS


def difference(distance: Distance, unit: str) -> str:
    """Say the difference in words: where the middle is and how wide the spread is."""
    side = "higher" if distance.shift > 0 else "lower"
    parts = [f"its median is {number(abs(distance.shift), 2)} {unit} {side}"] if abs(distance.shift) >= 0.02 else []
    if abs(distance.widening - 1) >= 0.02:
        parts.append(f"its spread is {number(distance.widening, 3)} times as wide")
    return " and ".join(parts) if parts else "median and spread agree"


def findings(
    run: str,
    functional: str,
    distance: Distance,
    against: str,
    thresholds: Thresholds,
    note: str = "",
    no_mean: str = "",
) -> tuple[Finding, Finding]:
    """Check both distances of `run` from the run named `against`; `note` is appended to the meanings.

    `no_mean` says which law has no mean, where one has none: W1 is infinite or does not settle then.
    """
    words = difference(distance, f"sd of {against}")
    results = []
    for name, value, null, limits, unit in (
        ("w1", distance.w1, distance.w1_null, (thresholds.w1_warn, thresholds.w1_fail, thresholds.w1_blind), " sd"),
        ("ks", distance.ks, distance.ks_null, (thresholds.ks_warn, thresholds.ks_fail, thresholds.ks_blind), ""),
    ):
        status = grade(value, null, *limits)
        subject = (
            f"On {functional}, {run} is {number(value)} sd away from {against} (W1)"
            if name == "w1"
            else (
                f"The distribution functions of {functional} under {run} and {against} differ by up to "
                f"{number(value)} (KS)"
            )
        )
        chance = f"by chance it would be up to {number(null)}{unit}"
        advice = ""
        if status is Status.UNKNOWN:
            meaning = f"{subject}; {chance}, so these draws are too few to tell."
            advice = "Run longer: the null level falls with the square root of the effective draws."
        elif value <= null:
            meaning = f"{subject}, no more than chance explains ({chance})."
        elif status is Status.PASS:
            meaning = f"{subject}: more than chance ({number(null)}{unit}), but too little to matter."
        else:
            meaning = f"{subject}: {words} ({chance})."
            advice = f"Intervals and probabilities of {functional} read off {run} are off by this much."
        if name == "w1" and no_mean:
            status, advice = Status.NOT_APPLICABLE, ""
            meaning = f"Not applicable: {no_mean} has no usable mean on {functional} (see the tail index), so W1 does "
            meaning += "not settle. The Kolmogorov distance needs no moments."
            value = math.nan
        results.append(
            Finding(
                check=f"distance.{name}",
                run=run,
                functional=functional,
                title={"w1": "Wasserstein distance (W1)", "ks": "Kolmogorov distance (KS)"}[name],
                value=None if math.isnan(value) and status is Status.NOT_APPLICABLE else value,
                threshold=limits[1],
                status=status,
                meaning=meaning + note,
                advice=advice,
                source=(
                    "Null level: the same distance between two samples of the reference with as many effective draws."
                ),
                details={
                    "against": against,
                    "null_level": null,
                    "unit": distance.unit if name == "w1" else None,
                    "shift": distance.shift,
                    "widening": distance.widening,
                },
            )
        )
    return results[0], results[1]


def second_finding(
    run: str, functional: str, value: float, null: float, against: str, thresholds: Thresholds, no_variance: str = ""
) -> Finding:
    """Check the Wasserstein-2 distance, in standard deviations; `no_variance` says which law has none."""
    status = grade(value, null, thresholds.w2_warn, thresholds.w2_fail, thresholds.w2_blind)
    subject = f"On {functional}, {run} is {number(value)} sd away from {against} (W2)"
    chance = f"by chance it would be up to {number(null)} sd"
    advice = ""
    if no_variance:
        status = Status.NOT_APPLICABLE
        meaning = f"Not applicable: {no_variance} has no usable variance on {functional} (see the tail index)."
    elif status is Status.UNKNOWN:
        meaning, advice = f"{subject}; {chance}, so these draws are too few to tell.", "Run longer."
    elif value <= null:
        meaning = f"{subject}, no more than chance explains ({chance})."
    elif status is Status.PASS:
        meaning = f"{subject}: more than chance ({number(null)} sd), but too little to matter."
    else:
        meaning = f"{subject}: {chance}."
        advice = "Where W2 is much larger than W1, the tails differ."
    return Finding(
        check="distance.w2",
        run=run,
        functional=functional,
        title="Wasserstein distance (W2)",
        value=None if no_variance else value,
        threshold=thresholds.w2_fail,
        status=status,
        meaning=meaning,
        advice=advice,
        source="Null level: the same distance between two samples of the reference with as many effective draws.",
        details={"against": against, "null_level": null},
    )

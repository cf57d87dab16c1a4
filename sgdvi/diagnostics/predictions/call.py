"""Comparison of the predictions of a test set: every run against a reference, point by point, and against the data."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sgdvi._internal.arguments import checked
from sgdvi._internal.text import count, number, percent
from sgdvi.diagnostics.declare import grade
from sgdvi.diagnostics.findings import Status
from sgdvi.diagnostics.predictions import apart, calibration, scores
from sgdvi.diagnostics.predictions.given import Given, read
from sgdvi.diagnostics.predictions.result import Predictions, RunPredictions
from sgdvi.diagnostics.thresholds import Thresholds


@checked
def compare_predictions(
    runs: Mapping[str, Any],
    reference: str | None = "NUTS",
    observed: Any = None,
    *,
    variable: str | None = None,
    noise_sd: Any = None,
    independent: Sequence[str] = (),
    thresholds: Thresholds | Mapping[str, float] | None = None,
) -> Predictions:
    """Compare predictions of a test set with those of a reference: which of them can be trusted?

    Parameters
    ----------
    runs
        Name -> predictions at the same test points. Classification: probabilities (chain, draw, point, class).
        Regression: draws of the predictive law, or with `noise_sd` of its mean, (chain, draw, point). NumPy, JAX or
        xarray arrays, or DataTrees that hold such an array; see `variable`. Chains that are not finite are left out and
        counted.
    reference
        Name of the run that the others are held against: NUTS or HMC, long SGHMC, a deep ensemble, another tool's
        draws. None where there is none: then scores and calibration alone.
    observed
        What was observed at the test points, (point,): classes from 0, or real values. None: no scores.
    variable
        Name of the variable of DataTrees that holds predictions, looked for in the groups ``predictions``,
        ``posterior_predictive`` and ``posterior``; None: the only one of the group ``predictions``.
    noise_sd
        For regression with draws of means: standard deviation of the normal noise, a number or (point,).
    independent
        Names of the runs whose draws are independent, such as ensembles (one chain per member will do) and variational
        fits; DataTrees that say so need not be named. All others need two chains of two draws.
    thresholds
        `Thresholds`, or a mapping of single changes: ``tv_*`` or ``w1_*`` hold for every point, ``points_*`` for the
        share of points that differ.

    Returns
    -------
    Predictions
        Per run the distance of every test point with its null level, whether it can be trusted, scores, calibration,
        uncertainties; as text, `table`, `to_json` and `plot`.

    Raises
    ------
    InputError
        If runs have other test points or classes than the reference, probabilities do not add up to 1, labels are out
        of range, or there are fewer than two chains or draws.

    Examples
    --------
    >>> import numpy as np, sgdvi
    >>> rng = np.random.default_rng(0)
    >>> p = rng.beta(4, 2, (2, 4, 100, 50))
    >>> runs = {name: np.stack([1 - one, one], axis=-1) for name, one in zip(("SGD", "NUTS"), p)}
    >>> compared = sgdvi.compare_predictions(runs, "NUTS", observed=np.ones(50, int))
    >>> compared
    <Predictions of 50 test points by SGD against NUTS>
    >>> print(compared.runs["SGD"].meaning)
    SGD predicts as NUTS does: no more of the 50 test points differ than chance explains.
    """
    given = read(runs, reference, observed, variable, noise_sd, independent)
    limits = Thresholds.make(thresholds)
    spread = {name: apart.mixed(draws, name in given.independent) for name, draws in given.draws.items()}
    scored = {name: _scores(given, name) for name in given.draws} if given.observed is not None else {}
    found = {}
    for name in given.draws:
        gap = None
        if reference is not None and name != reference:
            ess = spread[name].ess, spread[reference].ess
            gap = _apart(given, name, ess, limits.null_quantile)
        found[name] = _found(given, name, gap, spread[name], scored, limits)
    kind = "classification" if given.classes else "regression"
    return Predictions(kind, reference, given.points, given.classes, given.observed is not None, found)


def _apart(given: Given, name: str, ess: tuple[np.ndarray, np.ndarray], quantile: float) -> apart.Apart:
    assert given.reference is not None
    run, reference = given.draws[name], given.draws[given.reference]
    if given.classes:
        return apart.total_variation(run, reference, ess, quantile)
    return apart.wasserstein(run, reference, given.noise_sd, ess, quantile)


def _scores(given: Given, name: str) -> dict[str, np.ndarray]:
    assert given.observed is not None
    draws = given.draws[name]
    if given.classes:
        return scores.classification(draws.mean(axis=(0, 1), dtype=np.float64), given.observed)
    return scores.regression(draws, given.observed, given.noise_sd)


def _calibration(given: Given, name: str, scored: Mapping[str, np.ndarray], quantile: float) -> calibration.Calibration:
    assert given.observed is not None
    draws = given.draws[name]
    if given.classes:
        return calibration.classification(draws.mean(axis=(0, 1), dtype=np.float64), given.observed, quantile)
    variance = draws.var(axis=(0, 1), dtype=np.float64) + (0.0 if given.noise_sd is None else given.noise_sd**2)
    return calibration.regression(scored["probability"], scored["error"], np.sqrt(variance), quantile)


def _found(
    given: Given,
    name: str,
    gap: apart.Apart | None,
    spread: apart.Mixed,
    scored: Mapping[str, Mapping[str, np.ndarray]],
    limits: Thresholds,
) -> RunPredictions:
    numbers: dict[str, float | None] = {"left_out": float(given.left_out[name])}
    curves: dict[str, np.ndarray] = {}
    trust: tuple[Status, ...] = ()
    status, meaning = Status.UNKNOWN, ""
    if gap is not None:
        warn, fail, blind = limits.of("tv" if given.classes else "w1")
        trust = tuple(grade(d, n, warn, fail, blind) for d, n in zip(gap.distance, gap.null, strict=True))
        numbers |= _distances(given, name, gap, trust, fail, limits.null_quantile)
        status, meaning = _judged(given, name, trust, numbers, limits)
    if name in scored:
        numbers |= _means(scored, name, given.reference)
        judged = _calibration(given, name, dict(scored[name]), limits.null_quantile)
        numbers |= {f"calibration_{key}": float(getattr(judged, key)) for key in ("error", "null", "bias")}
        numbers |= {"coverage": judged.coverage, "coverage_said": judged.coverage_said}
        curves = {key: getattr(judged, key) for key in ("said", "happened", "low", "high", "kept", "error_kept")}
    parts = scores.uncertainty(given.draws[name], given.noise_sd)
    if parts is not None:
        numbers |= {"epistemic": float(parts[0].mean()), "aleatoric": float(parts[1].mean())}
    numbers |= _spread(spread)
    distance, null = (None, None) if gap is None else (gap.distance, gap.null)
    return RunPredictions(status, meaning, numbers, distance, null, trust, curves)


def _distances(
    given: Given, name: str, gap: apart.Apart, trust: tuple[Status, ...], fail: float, quantile: float
) -> dict[str, float | None]:
    by_chance = ((gap.by_chance > gap.null) & (gap.by_chance >= fail)).mean(axis=1)
    numbers: dict[str, float | None] = {
        "distance": float(gap.distance.mean()),
        "distance_null": float(np.quantile(gap.by_chance.mean(axis=1), quantile)),
        "apart": sum(one is Status.FAIL for one in trust) / len(trust),
        "apart_null": float(np.quantile(by_chance, quantile)),
    }
    if given.classes and given.reference is not None:
        top = [given.draws[one].mean(axis=(0, 1)).argmax(axis=1) for one in (name, given.reference)]
        numbers["agreement"] = float((top[0] == top[1]).mean())
    return numbers


def _judged(
    given: Given,
    name: str,
    trust: tuple[Status, ...],
    numbers: Mapping[str, float | None],
    limits: Thresholds,
) -> tuple[Status, str]:
    """Return whether the predictions of a run can stand for those of the reference, and why."""
    against, points = given.reference, count(given.points, "test point")
    share, chance = numbers["apart"] or 0.0, numbers["apart_null"] or 0.0
    unsure = sum(one is Status.UNKNOWN for one in trust) / len(trust)
    what = "total variation" if given.classes else "W1"
    mean, null = number(numbers["distance"]), number(numbers["distance_null"])
    tail = f" (mean {what} {mean}, by chance up to {null})"
    if share > chance and share >= limits.points_warn:
        status = Status.FAIL if share >= limits.points_fail else Status.WARN
        differ = sum(one is Status.FAIL for one in trust)
        verb = "is" if differ == 1 else "are"
        meaning = f"{differ:,} of the {points} {verb} not predicted by {name} as by {against}{tail}."
    elif unsure > limits.points_fail:
        status = Status.UNKNOWN
        meaning = f"The draws of {name} and {against} are too few to tell at {percent(unsure)} of the {points}{tail}."
    else:
        status = Status.PASS
        meaning = f"{name} predicts as {against} does: no more of the {points} differ than chance explains."
        if share > chance:
            meaning = f"{name} predicts as {against} does at all but {percent(share)} of the {points}{tail}."
    lost = given.left_out[name]
    if lost:
        status = Status.WARN if status is Status.PASS else status
        meaning += f" ({count(lost, 'chain')} with predictions that are not finite left out.)"
    return status, meaning


def _means(scored: Mapping[str, Mapping[str, np.ndarray]], name: str, reference: str | None) -> dict[str, float | None]:
    numbers: dict[str, float | None] = {}
    for score, values in scored[name].items():
        if score == "probability":
            continue
        root = score == "error" and "crps" in scored[name]
        numbers[score] = float(math.sqrt(values.mean()) if root else values.mean())
        if reference is not None and name != reference:
            gain = (values - scored[reference][score]) * (1 if score == "log_score" else -1)
            numbers[f"{score}_gain"] = float(gain.mean())
            error = gain.std(ddof=1) / math.sqrt(gain.size) if gain.size > 1 else math.nan
            numbers[f"{score}_gain_error"] = None if math.isnan(error) else float(error)
    return numbers


def _spread(spread: apart.Mixed) -> dict[str, float | None]:
    def mean(values: np.ndarray) -> float | None:
        return float(values.mean()) if np.isfinite(values).all() else None

    rhat = spread.rhat[np.isfinite(spread.rhat)]
    return {
        "between": mean(spread.between),
        "within": mean(spread.within),
        "rhat": float(np.quantile(rhat, 0.99)) if rhat.size else None,
        "ess": float(np.quantile(spread.ess, 0.01)),
    }

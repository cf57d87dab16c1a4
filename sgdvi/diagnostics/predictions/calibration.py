"""Calibration of predictive laws: do events happen as often as they are said to, and are sure predictions right?"""

from dataclasses import dataclass

import numpy as np

_REPEATS, _BINS = 1000, 10
_MASS = 0.9


@dataclass(frozen=True, eq=False)
class Calibration:
    """Calibration of one run.

    Attributes
    ----------
    said, happened
        Classification: mean confidence in the most probable class, and how often it was right, by bins of equally many
        test points. Regression: nominal levels of central intervals, and how many observed values they hold.
    low, high
        Limits between which `happened` is by chance where the run is calibrated.
    error, null
        Expected calibration error, the mean size of happened - said, and the level that chance explains.
    bias
        Mean of said - happened: above 0 is overconfident.
    coverage, coverage_said
        Share of observed values in the smallest 90 % set, and the mass of these sets (classes are whole).
    kept, error_kept
        Shares of the test points, the surest first, and the mean error among them.
    """

    said: np.ndarray
    happened: np.ndarray
    low: np.ndarray
    high: np.ndarray
    error: float
    null: float
    bias: float
    coverage: float
    coverage_said: float
    kept: np.ndarray
    error_kept: np.ndarray


def classification(probabilities: np.ndarray, observed: np.ndarray, quantile: float, seed: int = 0) -> Calibration:
    """Judge probabilities (point, class) by the classes that were observed (point,).

    Ten bins of equally many points; the null level and the limits are those of classes drawn from the probabilities
    themselves (Broecker and Smith 2007, Weather and Forecasting 22, 651).
    """
    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == observed
    order = np.argsort(sure, kind="stable")
    bins = np.array_split(order, min(_BINS, len(order)))
    sizes = np.array([len(one) for one in bins])
    said, happened = (np.array([values[one].mean() for one in bins]) for values in (sure, right))
    drawn = np.random.default_rng(seed).random((_REPEATS, len(sure))) < sure
    by_chance = np.stack([drawn[:, one].mean(axis=1) for one in bins], axis=1)
    errors = (np.abs(by_chance - said) * sizes).sum(axis=1) / len(sure)
    ranked = np.argsort(-probabilities, axis=1, kind="stable")
    masses = np.cumsum(np.take_along_axis(probabilities, ranked, axis=1), axis=1)
    last = np.minimum((masses < _MASS - 1e-9).sum(axis=1), masses.shape[1] - 1)
    place = (ranked == observed[:, None]).argmax(axis=1)
    kept, kept_error = selective(-sure, ~right)
    return Calibration(
        said=said,
        happened=happened,
        **_limits(by_chance, quantile),
        error=float((np.abs(happened - said) * sizes).sum() / len(sure)),
        null=float(np.quantile(errors, quantile)),
        bias=float(sure.mean() - right.mean()),
        coverage=float((place <= last).mean()),
        coverage_said=float(np.take_along_axis(masses, last[:, None], axis=1).mean()),
        kept=kept,
        error_kept=kept_error,
    )


def regression(
    below: np.ndarray, squared_errors: np.ndarray, sd: np.ndarray, quantile: float, seed: int = 0
) -> Calibration:
    """Judge predictive laws by their probabilities below the observed values, (point,), uniform where calibrated.

    Parameters
    ----------
    below
        Probability of each law below the value (Dawid 1984, JRSS A 147, 278).
    squared_errors, sd
        Squared errors of the means, and the predictive standard deviations by which points are kept.
    quantile, seed
        Of the null level and its simulation.
    """
    said = np.arange(1, _BINS) / _BINS
    drawn = np.random.default_rng(seed).random((_REPEATS, len(below)))

    def held(values: np.ndarray) -> np.ndarray:
        return (2 * np.abs(values - 0.5)[..., None] <= said).mean(axis=-2)

    happened = held(below)
    by_chance = np.stack([held(one) for one in drawn])
    kept, kept_error = selective(sd, squared_errors)
    return Calibration(
        said=said,
        happened=happened,
        **_limits(by_chance, quantile),
        error=float(np.abs(happened - said).mean()),
        null=float(np.quantile(np.abs(by_chance - said).mean(axis=1), quantile)),
        bias=float((said - happened).mean()),
        coverage=float((2 * np.abs(below - 0.5) <= _MASS).mean()),
        coverage_said=_MASS,
        kept=kept,
        error_kept=kept_error,
    )


def selective(unsure: np.ndarray, errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return shares of the points, and the mean error of the share that is surest (El-Yaniv and Wiener 2010, JMLR)."""
    ordered = errors[np.argsort(unsure, kind="stable")].astype(np.float64)
    running = np.cumsum(ordered) / np.arange(1, len(ordered) + 1)
    kept = np.unique(np.ceil(np.linspace(0.05, 1.0, 20) * len(ordered)).astype(int))
    return kept / len(ordered), running[kept - 1]


def _limits(by_chance: np.ndarray, quantile: float) -> dict[str, np.ndarray]:
    low, high = np.quantile(by_chance, [(1 - quantile) / 2, (1 + quantile) / 2], axis=0)
    return {"low": low, "high": high}

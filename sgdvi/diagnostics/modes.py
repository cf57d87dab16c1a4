"""Does a run visit every mode of the reference, on each functional and over the signs of the parameters?"""

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
from arviz_stats.base import array_stats

from sgdvi._internal.text import count, number, percent
from sgdvi.diagnostics.case import Case
from sgdvi.diagnostics.declare import Outcome, Skip, check
from sgdvi.diagnostics.findings import Details, Status
from sgdvi.diagnostics.measures import is_discrete, linear_quantile
from sgdvi.diagnostics.run import Run
from sgdvi.diagnostics.thresholds import Thresholds
from sgdvi.laws.line import Points

# A valley separates two modes where the density falls below this share of the lower of the two peaks.
_VALLEY = 0.5
_LEAST_MASS = 0.01
_FEWEST_EXPECTED = 5.0
_MOST_SIGNS = 8
_MOST_POINTS = 20_000
# A mode counts as missed where the run has less than this share of what the reference has there.
_MISSED = 0.05


@dataclass(frozen=True)
class Coverage:
    """Masses of the modes, or of the sign patterns, under the reference and under the run.

    Attributes
    ----------
    labels
        What each one is, in words.
    reference, run
        Its share of the draws of either.
    expected
        Effective draws of the run that the reference's share amounts to.
    """

    labels: tuple[str, ...]
    reference: np.ndarray
    run: np.ndarray
    expected: np.ndarray

    @property
    def missed(self) -> np.ndarray:
        """Mask of those that the run misses although it should have met them."""
        return (self.expected >= _FEWEST_EXPECTED) & (self.run < _MISSED * self.reference)

    @property
    def mass(self) -> float:
        """Mass of the reference that is missed."""
        return float(self.reference[self.missed].sum())


def valleys(points: Points) -> np.ndarray:
    """Return where the density of the points has valleys between modes of at least 1 % each, shape (k,)."""
    values = points.values
    size = min(points.effective, values.size)
    if is_discrete(values):
        return np.zeros(0)  # every whole number would be a mode; the distances compare their masses
    low, high = linear_quantile(values, np.array([0.005, 0.995]))
    if not high > low or size < 100:
        return np.zeros(0)
    inside = values[(values >= low) & (values <= high)]
    inside = inside[:: max(1, inside.size // _MOST_POINTS)]
    # The bandwidth of Sheather and Jones: that of Silverman blurs modes that lie far apart into one.
    width = max(float(array_stats.bw_isj(inside)) * (inside.size / size) ** 0.2, (high - low) / 500)
    grid = np.linspace(low - 3 * width, high + 3 * width, 512)
    step = grid[1] - grid[0]
    heights = np.diff(np.searchsorted(inside, np.append(grid - step / 2, grid[-1] + step / 2)))
    reach = int(np.ceil(4 * width / step))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * step / width) ** 2)
    density = np.convolve(heights, kernel / kernel.sum(), mode="same")
    # Variance of the smoothed counts over their mean, for effective draws.
    return _split(grid, density, values, step / (2 * math.sqrt(math.pi) * width) * inside.size / size)


def _split(grid: np.ndarray, density: np.ndarray, values: np.ndarray, variance: float) -> np.ndarray:
    cuts: list[float] = []
    start = 0
    peaks = np.flatnonzero((density[1:-1] > density[:-2]) & (density[1:-1] >= density[2:])) + 1
    for left, right in zip(peaks[:-1], peaks[1:], strict=True):
        bottom = left + int(np.argmin(density[left:right]))
        peak = min(density[start : bottom + 1].max(), density[bottom:].max())
        # Chance: peak and valley differ by more than four of their standard errors.
        noise = 4 * math.sqrt((peak + density[bottom]) * variance)
        deep = density[bottom] < _VALLEY * peak and peak - density[bottom] > noise
        low, high = (cuts[-1] if cuts else -math.inf), grid[bottom]
        mass = float(((values > low) & (values <= high)).mean())
        if deep and mass >= _LEAST_MASS and float((values > high).mean()) >= _LEAST_MASS:
            cuts.append(float(high))
            start = bottom
    return np.array(cuts)


def on_functional(points: Points, reference: Points) -> Coverage:
    """Compare the masses of the reference's modes on one functional."""
    cuts = valleys(reference)
    edges = np.concatenate([[-np.inf], cuts, [np.inf]])
    shares = [np.diff(np.searchsorted(each.values, edges)) / each.values.size for each in (reference, points)]
    words = [
        f"above {number(low)}" if math.isinf(high) else f"below {number(high)}" if math.isinf(low)
        else f"between {number(low)} and {number(high)}"
        for low, high in zip(edges[:-1], edges[1:], strict=True)
    ]  # fmt: skip
    return Coverage(tuple(words), shares[0], shares[1], shares[0] * min(points.effective, points.values.size))


def sign_patterns(run: np.ndarray, reference: np.ndarray, names: list[str], effective: float) -> Coverage | None:
    """Compare the shares of the sign patterns of the coordinates; None for more than 8 or for one.

    `run` and `reference` are (n, d), `effective` the effective draws of the run. Coordinates that have one sign in the
    reference throughout tell nothing and are left out.
    """
    both = np.flatnonzero(((reference > 0).mean(axis=0) > _LEAST_MASS) & ((reference < 0).mean(axis=0) > _LEAST_MASS))
    if not 2 <= both.size <= _MOST_SIGNS:
        return None
    weights = 1 << np.arange(both.size)
    codes = [(each[:, both] > 0) @ weights for each in (reference, run)]
    shares = [np.bincount(code, minlength=1 << both.size) / max(code.size, 1) for code in codes]
    labels = [
        ", ".join(f"{names[k]} {'>' if code >> place & 1 else '<'} 0" for place, k in enumerate(both))
        for code in range(1 << both.size)
    ]
    return Coverage(tuple(labels), shares[0], shares[1], shares[0] * min(effective, len(run)))


_declared = partial(
    check,
    source=f"A mode ends where the density falls below {_VALLEY:.0%} of the lower peak and by more than chance.",
    thresholds=("missing_mass_warn", "missing_mass_fail"),
)


@_declared("coverage.modes", "Modes that are missed", each=lambda case: _shared(case), untested=True)
def modes(case: Case, name: str) -> Outcome:
    """The run has met every mode of the reference on each functional."""
    assert case.against is not None  # `_shared` has seen to it
    coverage = on_functional(case.draws.points[name], case.against.points[name])
    return met(case.run.name, coverage, case.against.name, case.limits, "mode", f" of {name}")


@_declared("coverage.signs", "Sign patterns that are missed")
def signs(case: Case) -> Outcome:
    """The run has met every sign pattern of the reference."""
    _usable(case)
    other = case.sampled
    if other is None or not other.keep.any():
        raise Skip("Needs a reference with draws of the same parameters.")
    run = case.draws
    chosen = _of_both_signs(other)
    names = [run.columns.name(k) for k in chosen]
    mine, others = (side.columns.take(side.keep, chosen) for side in (run, other))
    coverage = sign_patterns(mine, others, names, run.fewest)
    if coverage is None:
        raise Skip("Fewer than two parameters change sign in the reference, or more than eight.")
    return met(run.name, coverage, other.name, case.limits, "sign pattern", " of the parameters")


def _of_both_signs(run: Run) -> np.ndarray:
    """Return the numbers of the parameters of either sign, so far as there are no more of them than can be told."""
    low, high = run.columns.within(run.keep)
    chosen = np.zeros(0, int)
    for here in run.columns.blocks(run.columns.rows(run.keep), np.flatnonzero((low < 0) & (high > 0))):
        draws = run.columns.take(run.keep, here)
        either = ((draws > 0).mean(axis=0) > _LEAST_MASS) & ((draws < 0).mean(axis=0) > _LEAST_MASS)
        chosen = np.concatenate([chosen, here[either]])
        if chosen.size > _MOST_SIGNS:
            break
    return chosen


def met(run: str, coverage: Coverage, against: str, limits: Thresholds, noun: str, of: str) -> Outcome:
    """Judge whether a run has met all that the reference of this name has."""
    held, limit = int((coverage.reference >= _LEAST_MASS).sum()), limits.missing_mass_warn
    mass, missed = coverage.mass, np.flatnonzero(coverage.missed)
    blind = (coverage.reference >= _LEAST_MASS) & (coverage.expected < _FEWEST_EXPECTED)
    status, advice = Status.PASS, ""
    if missed.size and mass >= limit:
        status = Status.FAIL if mass >= limits.missing_mass_fail else Status.WARN
        largest = coverage.labels[missed[np.argmax(coverage.reference[missed])]]
        meaning = f"{run} misses {missed.size} of the {count(held, noun)}{of} that {against} has: {percent(mass)} of "
        meaning += f"its draws, most of them at {largest}."
        advice = (
            "Where a symmetry of the model, such as a change of sign, relates them: apply it to each draw at random."
        )
    elif blind.any():
        status, advice = Status.UNKNOWN, "Run longer."
        meaning = f"Too few effective draws of {run} to have met every {noun}{of} of {against}."
    elif held <= 1:
        meaning = f"{against} has one {noun}{of}, and {run} covers it."
    else:
        meaning = f"{run} has met all {held} {noun}s{of} that {against} has."
    details: Details = {"against": against, "modes": held, "missed": int(missed.size)}
    return Outcome(status, meaning, mass, limit, advice, details)


def _usable(case: Case) -> None:
    if not case.draws.points:
        raise Skip("No usable chain is left.", Status.UNKNOWN)
    if case.against is None or not case.against.points:
        raise Skip("There is no reference to compare with.")


def _shared(case: Case) -> list[str]:
    _usable(case)
    names = [name for name in case.draws.points if case.against is not None and name in case.against.points]
    if not names:
        raise Skip("No functional is known of both this run and the reference.", Status.UNKNOWN)
    return names

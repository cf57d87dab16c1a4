"""Did the chains reach the posterior: by their negative log joint and their place, and if not, why not?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from sgdvi._internal.text import count, listed, number
from sgdvi.diagnostics.case import Case
from sgdvi.diagnostics.declare import NO_DRAWS, Outcome, Skip, check
from sgdvi.diagnostics.distances import ks, shared, w1
from sgdvi.diagnostics.findings import Details, Status
from sgdvi.diagnostics.labels import labels
from sgdvi.diagnostics.measures import is_discrete
from sgdvi.diagnostics.run import Run
from sgdvi.diagnostics.thresholds import Thresholds

_BATCHES = 16
_FEWEST_DRAWS = 16
# The range of a chain and that of the posterior, between which there is nothing.
_CHAIN, _POSTERIOR = (0.05, 0.95), (0.001, 0.999)
# Chains at starts of their own lie this many times their own width apart.
_APART = 5.0
# A chain whose range is below this many standard deviations of the posterior on every functional has not moved.
_STILL = 0.1
# Share of its way to the posterior that a chain on its way makes from its first half to its second.
_ON_ITS_WAY = 0.02


@dataclass(frozen=True)
class Levels:
    """Negative log joint of the chains above that of the reference, nats, each (chain,).

    Attributes
    ----------
    gaps
        Mean of the chain minus mean of the reference.
    nulls
        What chance alone exceeds rarely, of all chains together.
    spread
        Standard deviation of the negative log joint under the reference.
    """

    gaps: np.ndarray
    nulls: np.ndarray
    spread: float


def levels(case: Case) -> Levels | None:
    r"""Return how much less probable the chains' draws are than the reference's; None where either is not recorded.

    The loss of a minibatch times N estimates the negative log joint without bias, and the mean over a chain is held
    against the mean of the reference, with the scatter of the means of 16 batches of the chain as its error.
    """
    run, other = case.draws, case.against
    loss, size = run.stats.get("loss"), run.settings.get("num_data")
    if loss is None or not size or not isinstance(other, Run) or "lp" not in other.stats:
        return None
    mine, its = loss[run.keep] * float(size), -np.asarray(other.stats["lp"][other.keep], dtype=np.float64)
    if not (run.ours and other.ours and mine.shape[1] >= _FEWEST_DRAWS and np.isfinite(its).all() and its.size > 1):
        return None
    mine = np.asarray(mine, dtype=np.float64)
    length = mine.shape[1] // _BATCHES
    means = mine[:, : _BATCHES * length].reshape(len(mine), _BATCHES, length).mean(axis=2)
    spread = float(its.std())
    errors = np.hypot(means.std(axis=1, ddof=1) / math.sqrt(_BATCHES), spread / math.sqrt(max(other.fewest, 1)))
    critical = float(stats.t.isf((1 - case.limits.null_quantile) / (2 * len(mine)), _BATCHES - 1))
    return Levels(means.mean(axis=1) - float(its.mean()), critical * errors, spread)


@dataclass(frozen=True)
class Place:
    """Where the chains are on the functional on which one is farthest from the posterior.

    Attributes
    ----------
    name
        Of the functional.
    away
        Per chain: distance of its 5 % to 95 % range from that of the reference (99.8 %), in standard deviations of the
        reference; 0 where they meet.
    separate
        Whether the chains that are away lie apart from each other, by several times their own width.
    ranges
        Per chain: its widest 5 % to 95 % range over the functionals, in standard deviations of the reference.
    moving
        Whether the chains that are away come nearer.
    """

    name: str
    away: np.ndarray
    separate: bool
    ranges: np.ndarray
    moving: bool


def place(case: Case) -> Place | None:
    """Return where the chains are; None where no functional is a real number that varies."""
    places = [one for name in shared(case) if (one := _place_on(case, name)) is not None]
    if not places:
        return None
    farthest = max(places, key=lambda one: float(one.away.max()))
    return replace(farthest, ranges=np.max([one.ranges for one in places], axis=0))


def _place_on(case: Case, name: str) -> Place | None:
    values, reference = case.values(name), case.other.points[name]
    unit = reference.spread
    if is_discrete(reference.values) or not unit > 0:
        return None
    low, high = np.quantile(values, _CHAIN, axis=1)
    floor, ceiling = reference.quantile(np.array(_POSTERIOR))
    away = np.maximum(np.maximum(floor - high, low - ceiling), 0.0) / unit
    if not (away > 0).any():
        return Place(name, away, False, (high - low) / unit, False)
    middles = np.median(values, axis=1)
    width = float(np.median(high - low))
    between = float(np.ptp(middles[away > 0]))
    half, middle = values.shape[1] // 2, reference.quantile(np.array([0.5]))
    far, near = (np.abs(np.median(each, axis=1) - middle) for each in (values[:, :half], values[:, -half:]))
    scatter = np.ptp(np.quantile(values[:, -half:], _CHAIN, axis=1), axis=0)
    # every chain that is away comes nearer, by a share of its way and by more than it scatters about
    approach = (far - near > np.maximum(_ON_ITS_WAY * far, scatter / 2))[away > 0]
    return Place(name, away, between > _APART * width, (high - low) / unit, bool(approach.all()))


@check(
    "arrival.posterior",
    "Whether the posterior was reached",
    "Negative log joint of every chain against the reference's, and the gap between the range of a chain and that of "
    "the reference; null levels by the means of 16 batches.",
    question="arrive",
    thresholds=("arrival_sd", "arrival_nats", "null_quantile"),
    kinds=("judged",),
    first=True,
)
def posterior(case: Case) -> Outcome:
    """Every chain is where the reference is, or no less probable than it."""
    run, other = case.draws, case.against
    if run.independent or other is None:
        raise Skip("The draws are independent." if run.independent else "Needs a reference that can be relied on.")
    if not run.keep.any():
        raise Skip(NO_DRAWS, Status.UNKNOWN)
    if run.values and case.values(next(iter(run.values))).shape[1] < _FEWEST_DRAWS:
        raise Skip("Too few draws per chain.", Status.UNKNOWN)
    if labels(case).status is Status.WARN:
        raise Skip("The chains differ by the labels of exchangeable components: see there.")
    where, level, limits = case.once(place), case.once(levels), case.limits
    away = np.zeros(int(run.keep.sum())) if where is None else where.away
    far = away > limits.arrival_sd
    behind = np.zeros(away.shape, dtype=bool) if level is None else _behind(level, limits)
    # what differs in parameters alone is no matter of the functionals that were asked for
    behind &= not _same_functionals(case)
    lost = far | behind
    value = float(away.max())
    gap = None if level is None else float(level.gaps[np.argmax(np.abs(level.gaps))])
    details: Details = {"against": other.name, "lost": int(lost.sum()), "chains": len(away), "nats": gap}
    if not lost.any():
        nats = "" if gap is None else f", {number(abs(gap))} nats {'less' if gap > 0 else 'more'} probable at most"
        meaning = f"Every chain of {run.name} is where the draws of {other.name} are{nats}."
        return Outcome(Status.PASS, meaning, value, limits.arrival_sd, details=details)
    cause, words = _cause(case, where, level, far, lost)
    details["cause"] = cause
    chains = f"{int(lost.sum())} of {count(len(away), 'chain')}" if len(away) > 1 else "the chain"
    parts = []
    if where is not None and far.any():
        parts.append(f"up to {number(value)} sd of {other.name} away from it on {where.name}")
    if level is not None and behind.any():
        parts.append(f"up to {number(float(level.gaps[behind].max()))} nats less probable than it")
    meaning = f"{run.name} did not reach the posterior: {chains} stayed {' and '.join(parts)}. {words}"
    name = where.name if where is not None and far.any() else None
    return Outcome(Status.FAIL, meaning, value, limits.arrival_sd, _ADVICE[cause], details, name)


def _behind(level: Levels, limits: Thresholds) -> np.ndarray:
    """Say which chains are less probable than the best chain, and than the reference, by far.

    A law that is too wide is less probable too, but in all chains alike.
    """
    far = np.maximum(limits.arrival_nats, limits.arrival_sd * level.spread)
    gaps, best = level.gaps, int(np.argmin(level.gaps))
    chance = np.hypot(level.nulls, level.nulls[best])
    return np.asarray((gaps > np.maximum(far, level.nulls)) & (gaps - gaps[best] > np.maximum(far, chance)))


def _same_functionals(case: Case) -> bool:
    return all(check(case).status in (Status.PASS, Status.NOT_APPLICABLE) for check in (w1, ks))


NOT_MOVED, PLATEAU, JOINT_MODE, ON_ITS_WAY, ELSEWHERE = "not moved", "plateau", "joint mode", "on its way", "elsewhere"
_ADVICE = {
    NOT_MOVED: "Run SGD longer, or with a larger learning rate: its chains are where they began.",
    PLATEAU: "Start SGD at the mode of the joint density (sgdvi.find_mode), not on the plateau.",
    JOINT_MODE: "Integrate the values of the rows out (sgdvi.integrate_rows), or use NUTS for this model.",
    ON_ITS_WAY: "Run SGD with a longer warmup: its chains still come nearer.",
    ELSEWHERE: "Start SGD at the mode of the joint density (sgdvi.find_mode).",
}


def _cause(case: Case, where: Place | None, level: Levels | None, far: np.ndarray, lost: np.ndarray) -> tuple[str, str]:
    """Return why chains did not reach the posterior: its name, and a sentence."""
    if where is not None and far.any() and where.moving:
        return ON_ITS_WAY, "They are on their way: they still come nearer."
    gaps = None if level is None else level.gaps[lost]
    nulls = None if level is None else level.nulls[lost]
    if gaps is not None and nulls is not None and far.any() and (gaps < -nulls).all():
        more = number(float(-gaps.max()))
        names = _scales(case)
        at = f" at small {listed(names)}" if names else ""
        return JOINT_MODE, (
            f"They are at a mode of the joint density of a hierarchy{at}: {more} nats more probable than the draws of "
            f"{case.other.name}, in a region that has hardly any volume."
        )
    if where is not None and far.any() and where.separate:
        return NOT_MOVED, "They have not moved from their starts: each is at a place of its own."
    if where is not None and far.any() and (where.ranges[far] < _STILL).all():
        widest = number(float(where.ranges[far].max()), 2)
        return NOT_MOVED, f"They have not moved: no functional of a chain ranges over more than {widest} sd."
    if gaps is not None and nulls is not None and (gaps > nulls).all():
        return PLATEAU, "They stay on a plateau, or in a minor mode, of the joint density."
    return ELSEWHERE, "They have settled elsewhere."


def _scales(case: Case) -> Sequence[str]:
    """Return positive functionals that the run holds far below the reference: scales of a hierarchy."""
    names = []
    for name in shared(case):
        mine, its = case.run.points[name], case.other.points[name]
        middle = np.array([0.5])
        if mine.values[0] > 0 and its.values[0] > 0 and mine.quantile(middle)[0] < its.quantile(middle)[0] / 2:
            names.append(name)
    return names[:3]

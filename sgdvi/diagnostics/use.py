"""What can be used of a run: its means, its intervals, its tails, each held against the reference on its own."""

import math
from functools import partial

import numpy as np
from scipy import special

from sgdvi._internal.text import number, percent
from sgdvi.diagnostics.case import Case
from sgdvi.diagnostics.declare import Outcome, Skip, graded
from sgdvi.diagnostics.distances import discrete, distance, from_reference, level_of_each, shared
from sgdvi.diagnostics.thresholds import limits_of
from sgdvi.laws.line import Points

_INTERVAL, _TAIL = 0.05, 0.01
_NULL = "Null level: the normal quantile of its standard error at the effective draws of both, over all functionals."
_use = partial(distance, source=_NULL, question="use", each=shared)


def _errors(case: Case, name: str, variance: float) -> float:
    """Return the null level of a difference whose variance per effective draw is `variance`."""
    run, reference = case.run.points[name], case.other.points[name]
    size = 1 / max(run.effective, 1.0) + 1 / max(reference.effective, 1.0)
    return -float(special.ndtri((1 - level_of_each(case)) / 2)) * math.sqrt(variance * size)


@_use("use.means", "Means", thresholds=limits_of("w1"))
def means(case: Case, name: str) -> Outcome:
    """The mean is that of the reference: their difference in its standard deviations."""
    heavy = case.lacks_moment(1, name)
    if heavy:
        raise Skip(f"{heavy} has no usable mean on {name}, see the tail index: use medians.")
    gap, of = case.once(from_reference, name), case.other.name
    sides = [side.points[name].values.mean() for side in (case.run, case.other)]
    value = abs(float(sides[0] - sides[1])) / gap.unit
    wide = 1.0 + (case.run.points[name].sd / gap.unit) ** 2
    start = f"The mean of {name} under {case.run.name} is {number(value)} sd of {of} away from that of {of}"
    return graded(start, value, _errors(case, name, wide / 2), case.limits.of("w1"), unit=" sd")


@_use("use.intervals", "Intervals (90 %)", thresholds=limits_of("ks"))
def intervals(case: Case, name: str) -> Outcome:
    """The ends of the run's 90 % interval cut off 5 % of the reference each."""
    value, share = _cut_off(case.run.points[name], case.other.points[name], _INTERVAL)
    start = f"An end of the 90 % interval of {name} read off {case.run.name} cuts off {percent(share)} of "
    start += f"{case.other.name} where it should be {percent(_INTERVAL)}"
    mass = max(share, _INTERVAL)
    return graded(start, value, _errors(case, name, mass * (1 - mass)), case.limits.of("ks"))


@_use("use.tails", "Tails (1 %)", thresholds=limits_of("tail"), tails=True)
def tails(case: Case, name: str) -> Outcome:
    """Beyond the run's 1 % and 99 % quantiles lies 1 % of the reference each."""
    if discrete(case, name):
        raise Skip(f"{name} takes whole numbers, which have no quantile of 1 %: W1 and KS compare their masses.")
    value, share = _cut_off(case.run.points[name], case.other.points[name], _TAIL)
    start = f"Beyond the 1 % or 99 % quantile of {name} under {case.run.name} lies {percent(share)} of "
    start += f"{case.other.name} where it should be {percent(_TAIL)}"
    mass = max(share, _TAIL)
    return graded(start, value, _errors(case, name, mass * (1 - mass)), case.limits.of("tail"))


def _cut_off(run: Points, reference: Points, share: float) -> tuple[float, float]:
    """Return how much the tails beyond the run's outer quantiles differ, and the mass of the reference there.

    Values that are equal to a quantile count half: with counts a quantile takes much of the mass.
    """
    worst = (0.0, share)
    for level in (share, 1 - share):
        at = run.quantile(np.array([level]))[0]
        mine, other = (_below(side, at) for side in (run, reference))
        beyond = other if level < 0.5 else 1 - other
        worst = max(worst, (abs(mine - other), beyond))
    return worst


def _below(points: Points, at: float) -> float:
    ends = (np.searchsorted(points.values, at, side="left"), np.searchsorted(points.values, at, side="right"))
    return float(np.mean(ends)) / points.values.size

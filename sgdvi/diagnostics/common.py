"""What the checks of a comparison share: the facts they are given, the worst functional, what is left of the chains."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from sgdvi._internal.text import count
from sgdvi.diagnostics import laws, stein
from sgdvi.diagnostics.distances import Points
from sgdvi.diagnostics.divergence import LineLaw
from sgdvi.diagnostics.findings import Finding, Status
from sgdvi.diagnostics.phases import Setting
from sgdvi.diagnostics.run import Law, Run
from sgdvi.diagnostics.tail import Tail

_MOST_LISTED = 20


@dataclass(frozen=True, eq=False)
class Facts:
    """What is known in closed form of one functional, as the checks need it.

    Attributes
    ----------
    functional
        Name of the functional.
    factors
        Names of the sites whose product it is; one where it is the parameter itself; none where nothing is known.
    setting
        Temperature and thresholds of SGD; None where unknown.
    stationary, stationary_points
        Exact law of SGD, and its quantiles as points; None where unknown.
    posterior, posterior_points, posterior_negative
        Exact posterior, its quantiles, its mass below 0 (nan if unknown).
    stationary_tail
        Index of the power-law tail of the exact law of SGD; inf for none, nan where unknown.
    steps
        What the finite steps of SGD alone make of its law; None where unknown.
    side
        Sign that the law of SGD covers; None where it covers both or nothing is known.
    singular
        True where the law of SGD lives on a set of lower dimension than the posterior.
    improper
        Why there is no posterior; "" where there is one.
    missing
        Why there is no exact law; "" where there is one.
    no_temperature
        Why SGD has no temperature; "" where it has one.
    roles
        Name of a law among the runs -> "stationary", "posterior" or "".
    """

    functional: str = ""
    factors: tuple[str, ...] = ()
    setting: Setting | None = None
    stationary: LineLaw | None = None
    stationary_points: Points | None = None
    posterior: LineLaw | None = None
    posterior_points: Points | None = None
    posterior_negative: float = math.nan
    stationary_tail: float = math.nan
    steps: laws.Steps | None = None
    side: int | None = None
    singular: bool = False
    improper: str = ""
    missing: str = ""
    no_temperature: str = ""
    roles: Mapping[str, str] = field(default_factory=dict)

    @property
    def collapsed(self) -> bool:
        """Whether the exact law of SGD is the point mass at 0."""
        return self.stationary is not None and self.stationary.zero >= 1

    @cached_property
    def stein_null(self) -> np.ndarray | None:
        """What `stein.null_sums` draws for the exact posterior, once for all runs; None where it is unknown."""
        if self.posterior is None or self.posterior_points is None:
            return None
        return stein.null_sums(self.posterior_points, self.posterior.log_prob)


def worst(each: Sequence[Finding], *, lowest: bool = False) -> Finding:
    """Return the worst of several findings of one check, one per functional, and say how many there were.

    Among equal statuses the one with the largest value counts as worst, or the smallest if `lowest`.
    """
    if len(each) == 1:
        return each[0]

    def rank(finding: Finding) -> tuple[int, float]:
        value = finding.value if finding.value is not None and not math.isnan(finding.value) else -math.inf
        return finding.status.severity, -value if lowest else value

    each = [finding for finding in each if finding.status is not Status.NOT_APPLICABLE] or list(each)
    chosen = max(each, key=rank)
    listed = {f"value of {f.functional}": f.value for f in each[:_MOST_LISTED]}
    if chosen.status is Status.NOT_APPLICABLE:
        return chosen
    tail = f" This is the worst of {count(len(each), 'functional')}."
    details = {**chosen.details, **listed, "functionals": len(each)}
    return replace(chosen, meaning=chosen.meaning + tail, details=details)


def tail_of(run: Run | Law, name: str, facts: Facts) -> Tail:
    """Return the tail of a functional of a run, with the index of its exact law where that is known."""
    seen = run.tails[name]
    exact = isinstance(run, Run) and run.kind == "sgd" and name == facts.functional
    return replace(seen, exact=facts.stationary_tail) if exact else seen


def ordered(reference: Run, run: Run) -> Run:
    """Return the reference with its sites in the order of those of the run."""
    return replace(reference, sites={name: reference.sites[name] for name in run.sites})


def survivors(run: Run, finding: Finding) -> Finding:
    """Say that chains were left out, and let no check pass on what is left."""
    if run.keep.all() or not run.keep.any() or finding.status is Status.NOT_APPLICABLE:
        return finding
    note = f" (From {int(run.keep.sum())} of {count(len(run.keep), 'chain')}: the others hold NaN or infinite draws.)"
    status = Status.WARN if finding.status is Status.PASS else finding.status
    return replace(finding, status=status, meaning=finding.meaning + note)


def nothing(check: str, run: str, title: str, status: Status, reason: str) -> Finding:
    """Return a finding without a value: the check does not apply, or could not be made, for a reason."""
    return Finding(check=check, run=run, title=title, value=None, threshold=None, status=status, meaning=reason)

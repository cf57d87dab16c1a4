"""What the checks of a comparison share: the facts they are given, the worst functional, what is left of the chains."""

import math
from collections.abc import Sequence
from dataclasses import replace

from sgdvi._internal.text import count
from sgdvi.diagnostics.facts import Facts
from sgdvi.diagnostics.findings import Finding, Status
from sgdvi.diagnostics.run import Law, Run
from sgdvi.diagnostics.tail import Tail

_MOST_LISTED = 20


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

"""What only Hamiltonian Monte Carlo reports: divergences, energy (BFMI), tree depth."""

from functools import partial
from typing import Any

import numpy as np
from arviz_stats.base import array_stats

from sgdvi._internal.text import count, number, percent
from sgdvi.diagnostics.case import Case
from sgdvi.diagnostics.declare import Outcome, Skip, check
from sgdvi.diagnostics.findings import Status

_declared = partial(
    check,
    source="Betancourt 2017, arXiv:1701.02434",
    question="arrive",
    cites=("betancourt2017conceptual",),
    kinds=("draws",),
    of_chains=False,
)


@_declared("hmc.divergences", "Divergences", thresholds=("divergent",))
def divergences(case: Case) -> Outcome:
    """No step of the Hamiltonian flow diverged."""
    total, size = _count(case, "diverging")
    value, limit = total / size, case.limits.divergent
    details = {"count": total, "draws": size}
    if not total:
        return Outcome(Status.PASS, "No divergences.", value, limit, details=details)
    meaning = f"{count(total, 'divergence')} ({percent(value)} of the draws): the sampler misses a part of the "
    meaning += "posterior that is too curved for its step size."
    advice = "Raise the target acceptance, or reparametrise the model."
    return Outcome(Status.FAIL if value > limit else Status.WARN, meaning, value, limit, advice, details)


@_declared("hmc.energy", "Energy (BFMI)", thresholds=("bfmi",))
def energy(case: Case) -> Outcome:
    """The energies of the chains spread as far as their laws do: BFMI."""
    values = np.asarray(_statistic(case, "energy"), dtype=np.float64)
    limit = case.limits.bfmi
    if not np.isfinite(values).all() or (np.ptp(values, axis=1) == 0).any():
        return Outcome(Status.UNKNOWN, "The energies are not finite, or do not change.", float("nan"), limit)
    value = float(np.min(array_stats.bfmi(values, chain_axis=0, draw_axis=1)))
    good = value >= limit
    meaning = f"The smallest BFMI of the chains is {number(value)}, {'above' if good else 'below'} {number(limit)}."
    advice = "" if good else "The tails are hard to reach: reparametrise the model, or run longer."
    return Outcome(Status.PASS if good else Status.WARN, meaning, value, limit, advice)


@_declared("hmc.depth", "Tree depth", thresholds=("deep",))
def depth(case: Case) -> Outcome:
    """Few draws reach the largest tree depth."""
    total, size = _count(case, "reached_max_treedepth")
    value, limit = total / size, case.limits.deep
    meaning = f"{percent(value)} of the draws reached the largest tree depth."
    details = {"count": total, "draws": size}
    if value <= limit:
        return Outcome(Status.PASS, meaning, value, limit, details=details)
    advice = "Slow, not wrong: allow deeper trees or rescale the parameters."
    return Outcome(Status.WARN, meaning, value, limit, advice, details)


def _statistic(case: Case, name: str) -> Any:
    if name not in case.draws.stats:
        raise Skip("Only Hamiltonian Monte Carlo has this, where it was recorded.")
    return case.draws.stats[name]


def _count(case: Case, name: str) -> tuple[int, int]:
    values = np.asarray(_statistic(case, name), dtype=bool)
    return int(values.sum()), int(values.size)

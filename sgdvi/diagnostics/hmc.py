"""What only Hamiltonian Monte Carlo reports: divergences, energy (BFMI), tree depth."""

from collections.abc import Mapping

import numpy as np
from arviz_stats.base import array_stats

from sgdvi._internal.text import count, number, percent
from sgdvi.diagnostics.findings import Finding, Status
from sgdvi.diagnostics.thresholds import Thresholds

BETANCOURT = "Betancourt 2017, arXiv:1701.02434"
_TITLES = {"divergences": "Divergences", "energy": "Energy (BFMI)", "depth": "Tree depth"}
_NEEDED = {"divergences": "diverging", "energy": "energy", "depth": "reached_max_treedepth"}


def findings(run: str, stats: Mapping[str, np.ndarray], thresholds: Thresholds) -> list[Finding]:
    """Check the statistics of a run, each (chain, draw), under the names that ArviZ uses; what is missing is said."""
    return [_one(run, name, stats.get(needed), thresholds) for name, needed in _NEEDED.items()]


def _one(run: str, name: str, values: np.ndarray | None, thresholds: Thresholds) -> Finding:
    value: float | None = None
    limit: float | None = None
    advice, details = "", {}
    if values is None:
        status, meaning = Status.NOT_APPLICABLE, "Only Hamiltonian Monte Carlo has this, where it was recorded."
    elif name == "energy":
        value, limit = _bfmi(values), thresholds.bfmi
        good = value >= limit
        status = Status.UNKNOWN if np.isnan(value) else Status.PASS if good else Status.WARN
        meaning = f"The smallest BFMI of the chains is {number(value)}, {'above' if good else 'below'} {number(limit)}."
        if status is Status.WARN:
            advice = "The tails are hard to reach: reparametrise the model, or run longer."
        elif status is Status.UNKNOWN:
            meaning = "The energies are not finite, or do not change."
    else:
        total = int(np.asarray(values, dtype=bool).sum())
        value = total / values.size
        limit = thresholds.divergent if name == "divergences" else thresholds.deep
        details = {"count": total, "draws": int(values.size)}
        status = Status.PASS if total == 0 else Status.FAIL if name == "divergences" and value > limit else Status.WARN
        if name == "depth":
            status = Status.WARN if value > limit else Status.PASS
            meaning = f"{percent(value)} of the draws reached the largest tree depth."
            advice = "Slow, not wrong: allow deeper trees or rescale the parameters." if status is Status.WARN else ""
        elif total:
            meaning = f"{count(total, 'divergence')} ({percent(value)} of the draws): the sampler misses a part of the "
            meaning += "posterior that is too curved for its step size."
            advice = "Raise the target acceptance, or reparametrise the model."
        else:
            meaning = "No divergences."
    return Finding(
        check=f"hmc.{name}",
        run=run,
        title=_TITLES[name],
        value=value,
        threshold=limit,
        status=status,
        meaning=meaning,
        advice=advice,
        source=BETANCOURT,
        details=details,
    )


def _bfmi(energy: np.ndarray) -> float:
    energy = np.asarray(energy, dtype=np.float64)
    if not np.isfinite(energy).all() or (np.ptp(energy, axis=1) == 0).any():
        return float("nan")
    return float(np.min(array_stats.bfmi(energy, chain_axis=0, draw_axis=1)))

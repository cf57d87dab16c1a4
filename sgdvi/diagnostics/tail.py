"""How heavy the tails are: the tail index of the draws beside the exact one, and which moments exist."""

import math
from dataclasses import dataclass

import numpy as np
from arviz_stats.base import array_stats

from sgdvi._internal.text import number
from sgdvi.diagnostics.findings import Finding, Status
from sgdvi.diagnostics.thresholds import ZIYIN, Thresholds

# Below this the Pareto fit to the tail has hardly any points.
_FEWEST_EFFECTIVE = 100


@dataclass(frozen=True)
class Tail:
    """The tail of the law of one scalar, P(|v| > x) ~ x^-index.

    Attributes
    ----------
    khat
        Shape of the generalised Pareto law fitted to the heavier tail of the draws, an estimate of 1/index; at most 0
        for tails that fall faster than a power; nan where there are too few draws.
    exact
        Index by the exact law (inf: no power tail); nan where none is known.
    """

    khat: float = math.nan
    exact: float = math.nan

    @property
    def estimate(self) -> float:
        """Index that the draws show; inf for no power tail."""
        return math.nan if math.isnan(self.khat) else math.inf if self.khat <= 0 else 1 / self.khat

    def has_moment(self, order: float, thresholds: Thresholds) -> bool:
        """Whether the moment of this order can be used: it exists by the exact law, or else by the draws.

        By the draws it takes a khat below ``tail_khat`` divided by the order: nearer to 1/order the moment may exist
        but averages of any practical length do not settle.
        """
        if not math.isnan(self.exact):
            return self.exact > order
        return math.isnan(self.khat) or self.khat <= thresholds.tail_khat / order


def measure(values: np.ndarray, effective: float, exact: float = math.nan) -> Tail:
    """Fit a generalised Pareto law to both tails of `values` (chain, draw) and keep the heavier one."""
    values = np.asarray(values, dtype=np.float64)
    if values.size == 0 or not math.isfinite(effective) or effective < _FEWEST_EFFECTIVE or np.ptp(values) == 0:
        return Tail(exact=exact)
    centred = values - np.median(values)  # a large mean would round the excesses away
    with np.errstate(all="ignore"):
        share = min(1.0, effective / values.size)
        khat = float(array_stats.pareto_khat(centred, chain_axis=0, draw_axis=1, r_eff=share))
    return Tail(khat if math.isfinite(khat) else math.nan, exact)


def finding(run: str, functional: str, tail: Tail, thresholds: Thresholds) -> Finding:
    """Check that mean and variance exist."""
    shown = "no power law" if math.isinf(tail.estimate) else f"index about {number(tail.estimate, 2)}"
    seen = "too few draws to see the tail" if math.isnan(tail.khat) else f"the draws show {shown}"
    exact = ""
    if not math.isnan(tail.exact):
        known = "has no power-law tail" if math.isinf(tail.exact) else f"has tail index {number(tail.exact)}"
        exact = f"The exact law {known}; "
    mean, variance = (tail.has_moment(order, thresholds) for order in (1, 2))
    advice = ""
    if math.isnan(tail.khat) and math.isnan(tail.exact):
        status, meaning = Status.UNKNOWN, f"Too few effective draws of {functional} to see how heavy its tails are."
        advice = "Run longer."
    elif mean and variance:
        status = Status.PASS
        meaning = f"{exact}{seen}: mean and variance of {functional} exist."
        if exact and math.isfinite(tail.exact) and not tail.estimate < 2 * tail.exact:
            meaning += " The exact power law sets in beyond what these draws reach."
    else:
        status = Status.WARN
        lost = "variance" if mean else "mean"
        settled = "does not exist" if exact else "cannot be relied on"
        meaning = f"{exact}{seen}: the {lost} of {functional} {settled}, nor does what rests on it."
        if not exact:
            meaning = f"{seen[0].upper()}{seen[1:]} (Pareto k = {number(tail.khat, 2)}): the {lost} of {functional} "
            meaning += "does not exist, or no run of this length settles it."
        advice = (
            f"Report median and quantiles of {functional}, not {'mean or sd' if not mean else 'its sd'}; distances "
            "that rest on moments are left out below."
        )
    return Finding(
        check="tail.index",
        run=run,
        functional=functional,
        title="Tail index",
        value=tail.exact if not math.isnan(tail.exact) else None if math.isnan(tail.khat) else tail.estimate,
        threshold=2.0,
        status=status,
        meaning=meaning[0].upper() + meaning[1:],
        advice=advice,
        source=(
            "Vehtari, Simpson, Gelman, Yao, Gabry 2024, JMLR 25 (72): Pareto k beyond 0.7 makes means useless. "
            f"Exact index 4 - 3/n for depth 1 and above: {ZIYIN}."
        ),
        details={
            "khat": None if math.isnan(tail.khat) else tail.khat,
            "exact_index": None if math.isnan(tail.exact) else tail.exact,
            "mean_exists": mean,
            "variance_exists": variance,
        },
    )

"""R-hat and effective draws, behind a gate that constants, NaN and single chains do not pass."""

from dataclasses import dataclass

import numpy as np
import numpyro  # noqa: F401  before ArviZ, whose lazy stand-in for it would load its parts twice
from arviz_stats.base import array_stats

from sgdvi._internal.text import count, number
from sgdvi.diagnostics.findings import Finding, Status
from sgdvi.diagnostics.thresholds import VEHTARI, Thresholds

_FEWEST_DRAWS = 8
# Beyond this, ranking takes seconds and the draws are autocorrelated anyway: chains are thinned first.
_MOST_DRAWS = 400_000


@dataclass(frozen=True)
class Mixing:
    """How well the chains of one scalar mixed.

    Attributes
    ----------
    rhat
        Rank-normalised split R-hat; nan where it does not exist.
    ess
        Effective draws: the smaller of bulk and tail, at most the number of draws; nan where it does not exist.
    chains, draws
        Number of chains and of draws per chain.
    trouble
        Why a number is missing: "", "constant", "stuck", "short" or "non-finite".
    independent
        True for independent draws, which need no R-hat.
    mcse
        Monte Carlo standard error of the mean, in standard deviations of the draws; nan where it does not exist.
    """

    rhat: float
    ess: float
    chains: int
    draws: int
    trouble: str = ""
    independent: bool = False
    mcse: float = np.nan


def measure(values: np.ndarray, independent: bool = False) -> Mixing:
    """Return R-hat and effective draws of `values` (chain, draw)."""
    values = np.asarray(values, dtype=np.float64)
    chains, draws = values.shape
    trouble = _trouble(values)
    if trouble:
        return Mixing(np.nan, np.nan, chains, draws, trouble, independent)
    if independent:
        return Mixing(np.nan, float(values.size), chains, draws, "", True, values.size**-0.5)
    values = values[:, :: max(1, -(-values.size // _MOST_DRAWS))]
    with np.errstate(all="ignore"):
        bulk = array_stats.ess(values, chain_axis=0, draw_axis=1, method="bulk")
        tail = array_stats.ess(values, chain_axis=0, draw_axis=1, method="tail", prob=(0.05, 0.95))
        rhat = array_stats.rhat(values, chain_axis=0, draw_axis=1, method="rank") if chains > 1 else np.nan
        # A chain of antithetic draws can have more effective draws than draws; nothing here relies on such luck.
        mean = array_stats.ess(values, chain_axis=0, draw_axis=1, method="mean")
    error = float(mean) ** -0.5 if mean > 0 else np.nan
    return Mixing(float(rhat), float(min(bulk, tail, values.size)), chains, draws, mcse=error)


def _trouble(values: np.ndarray) -> str:
    if values.size == 0 or not np.isfinite(values).all():
        return "non-finite"
    if np.ptp(values) == 0:
        return "constant"
    if values.shape[1] < _FEWEST_DRAWS:
        return "short"
    return "stuck" if (np.ptp(values, axis=1) == 0).any() else ""


_TROUBLES = {
    "constant": (
        Status.FAIL,
        "All draws of {name} are equal, so {what} does not exist.",
        "See the checks of the draws.",
    ),
    "stuck": (
        Status.FAIL,
        "At least one chain of {name} never moved, so {what} has no meaning.",
        "Look at the traces.",
    ),
    "short": (Status.UNKNOWN, "Fewer than 8 draws per chain: too few for {what}.", "Run longer."),
    "non-finite": (Status.FAIL, "No chain with finite draws of {name} is left.", "Lower the learning rate."),
}


def rhat(run: str, functional: str, mixing: Mixing, thresholds: Thresholds) -> Finding:
    """Check that the chains agree with each other (R-hat)."""
    advice = ""
    if mixing.trouble:
        status, words, advice = _TROUBLES[mixing.trouble]
        meaning = words.format(name=functional, what="R-hat")
    elif mixing.independent:
        status, meaning = Status.NOT_APPLICABLE, "The draws are independent: there are no chains that could disagree."
    elif mixing.chains < 2:
        status, meaning = Status.UNKNOWN, "One chain only: whether chains from other starts agree was not tested."
        advice = "Run at least 4 chains from different starts."
    elif not np.isfinite(mixing.rhat):
        status, meaning = Status.FAIL, f"R-hat of {functional} is {number(mixing.rhat)}."
        advice = "Look at the traces of the chains."
    else:
        agree = f"The {mixing.chains} chains of {functional} "
        if mixing.rhat <= thresholds.rhat_warn:
            status, meaning = Status.PASS, agree + "agree with each other."
        else:
            status = Status.FAIL if mixing.rhat > thresholds.rhat_fail else Status.WARN
            meaning = agree + ("disagree" if status is Status.FAIL else "do not quite agree") + " with each other."
            advice = (
                "Run longer, with a longer warmup; if that does not help, the chains are locked to different regions."
            )
    return Finding(
        check="mixing.rhat",
        run=run,
        functional=functional,
        title="R-hat",
        value=None if np.isnan(mixing.rhat) else mixing.rhat,
        threshold=thresholds.rhat_warn,
        status=status,
        meaning=meaning,
        advice=advice,
        source=VEHTARI,
        details={"chains": mixing.chains, "draws": mixing.draws},
    )


def ess(run: str, functional: str, mixing: Mixing, thresholds: Thresholds) -> Finding:
    """Check that there are enough effective draws (the smaller of bulk and tail)."""
    advice = ""
    total = mixing.chains * mixing.draws
    if mixing.trouble:
        status, words, advice = _TROUBLES[mixing.trouble]
        meaning = words.format(name=functional, what="the number of effective draws")
    elif not np.isfinite(mixing.ess):
        status, meaning, advice = Status.FAIL, f"The effective draws of {functional} cannot be counted.", "Run longer."
    else:
        meaning = f"{count(total, 'draw')} of {functional} are worth {number(mixing.ess)} independent ones."
        if mixing.ess >= thresholds.ess_warn:
            status = Status.PASS
        else:
            status = Status.FAIL if mixing.ess < thresholds.ess_fail else Status.WARN
            advice = f"Run longer or with more chains, for at least {number(thresholds.ess_warn)} effective draws."
    return Finding(
        check="mixing.ess",
        run=run,
        functional=functional,
        title="Effective draws",
        value=None if np.isnan(mixing.ess) else mixing.ess,
        threshold=thresholds.ess_warn,
        status=status,
        meaning=meaning,
        advice=advice,
        source=VEHTARI,
        details={"draws": total},
    )


def mcse(run: str, functional: str, mixing: Mixing, sd: float, no_variance: bool, thresholds: Thresholds) -> Finding:
    """Check the Monte Carlo standard error of the mean; `sd` is the standard deviation of the draws."""
    advice, value = "", None if np.isnan(mixing.mcse) else mixing.mcse
    if mixing.trouble:
        status, words, advice = _TROUBLES[mixing.trouble]
        meaning = words.format(name=functional, what="the standard error of the mean")
    elif no_variance:
        status, value = Status.NOT_APPLICABLE, None
        meaning = f"{functional} has no usable variance (see the tail index), so its mean has no standard error."
    elif value is None:
        status, meaning = Status.UNKNOWN, f"The standard error of the mean of {functional} cannot be computed."
    else:
        meaning = f"The mean of {functional} is known to {number(mixing.mcse)} sd ({number(mixing.mcse * sd)})."
        status = Status.PASS if value <= thresholds.mcse_warn else Status.WARN
        if status is Status.WARN:
            advice = "Run longer: the error falls with the square root of the effective draws."
    return Finding(
        check="mixing.mcse",
        run=run,
        functional=functional,
        title="Standard error of the mean",
        value=value,
        threshold=thresholds.mcse_warn,
        status=status,
        meaning=meaning,
        advice=advice,
        source=VEHTARI,
        details={"error": None if value is None else value * sd},
    )

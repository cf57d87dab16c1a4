"""Does the spread stay? Draws under a falling learning rate are wide first and narrow at the end."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from sgdvi._internal.text import count, number
from sgdvi.diagnostics.case import Case
from sgdvi.diagnostics.declare import Outcome, Skip, beyond, check, usable
from sgdvi.diagnostics.findings import Status
from sgdvi.diagnostics.run import Run

_FEWEST = 16
_FEWEST_CHAINS = 4
# Pieces of each half where there are too few chains to hold against each other.
_PIECES = 16


@dataclass(frozen=True)
class Drift:
    """How the spread changes from the first to the second half, on all functionals.

    Attributes
    ----------
    names
        Functionals, (d,).
    changes
        Logarithm of the ratio of the spreads of the normal scores, (d,).
    p_values
        Of no change, over chains, (d,).
    joint
        Of no change on average over the functionals: one schedule narrows all of them.
    """

    names: tuple[str, ...]
    changes: np.ndarray
    p_values: np.ndarray
    joint: float


def drift(case: Case) -> Drift:
    """Measure how the spread of normal scores within chains changes from half to half; skips too few draws.

    Without a change the logarithm of the ratio has a law that is symmetric about 0, chain by chain: Student's t.
    """
    names = [name for name in usable(case) if name not in case.draws.still and np.ptp(case.values(name)) > 0]
    if not names:
        raise Skip("No functional varies.", Status.UNKNOWN)
    if case.values(names[0]).shape[1] < 2 * _FEWEST:
        raise Skip("Too few draws to see whether the spread changes.", Status.UNKNOWN)
    each = [log_ratios(case.draws.scores[name]) for name in names]
    used = [k for k, ratios in enumerate(each) if np.isfinite(ratios).all()]
    if not used:
        raise Skip("Some chain stands still for half of the run.", Status.UNKNOWN)
    ratios = np.stack([each[k] for k in used])
    # one number per chain and functional: functionals may depend on each other, chains do not
    joint = _p_value(ratios.mean(axis=0)[None])[0]
    return Drift(tuple(names[k] for k in used), ratios.mean(axis=1), _p_value(ratios), float(joint))


def log_ratios(scores: np.ndarray) -> np.ndarray:
    """Return log(sd of the second half / sd of the first) of normal scores (chain, draw): one number per chain.

    With fewer than 4 chains one number per pair of pieces of the two halves.
    """
    chains, half = len(scores), scores.shape[1] // 2
    pieces = 1 if chains >= _FEWEST_CHAINS else max(1, min(_PIECES // chains, half // _FEWEST))
    length = half // pieces
    cut = (scores[:, : pieces * length], scores[:, scores.shape[1] - pieces * length :])
    with np.errstate(divide="ignore", invalid="ignore"):
        first, second = (np.log(each.reshape(chains, pieces, length).std(axis=2)) for each in cut)
        return np.asarray((second - first).reshape(-1))


def _p_value(ratios: np.ndarray) -> np.ndarray:
    """Return two-sided p-values of mean 0 of each row; 1 where there is no scatter to hold against."""
    size = ratios.shape[1]
    if size < 2:
        return np.ones(len(ratios))
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.abs(ratios.mean(axis=1)) / (ratios.std(axis=1, ddof=1) / math.sqrt(size))
    return np.where(np.isfinite(t), 2 * stats.t.sf(t, size - 1), 1.0)


@check(
    "stationarity.spread",
    "Trend of the spread",
    "Ratio of the spreads of the two halves of a chain, in normal scores, Student's t over chains; half of the level "
    "for the worst functional, half for all of them together.",
    question="arrive",
    thresholds=("spread_warn", "spread_fail", "null_quantile"),
    kinds=("draws",),
    gate=True,
)
def spread(case: Case) -> Outcome:
    """The second half of the chains is as wide as the first."""
    if case.draws.independent:
        raise Skip("The draws are independent: there is no run in them.")
    measured, limits = case.once(drift), case.limits
    level = (1 - limits.null_quantile) / 2
    p_values = np.minimum(measured.p_values * len(measured.names), 1.0)
    surely = (p_values < level) | (measured.joint < level)
    worst = int(np.argmax(np.where(surely, np.abs(measured.changes), 0.0)))
    worst = worst if surely.any() else int(np.argmin(p_values))
    name, ratio = measured.names[worst], math.exp(float(measured.changes[worst]))
    # a change in all functionals together is that of their average, not that of the luckiest of them
    typical = math.exp(float(np.mean(measured.changes))) if not p_values[worst] < level else ratio
    value = max(typical, 1 / typical)
    p = min(float(p_values[worst]), measured.joint, 0.5) * 2
    chance, details = f"p = {number(p, 2)}", {"ratio": ratio, "p_value": p}
    words = f"in its second half the run is {number(typical, 3)} times as wide as in its first"
    words += f" on {name}" if typical == ratio else f" on average over {count(len(measured.names), 'functional')}"
    status = beyond(value, limits.spread_warn, limits.spread_fail) if surely.any() else Status.PASS
    if status is Status.PASS:
        much = "more than chance but too little to matter" if surely.any() else "no more than chance explains"
        return Outcome(status, f"I{words[1:]}, {much} ({chance}).", value, limits.spread_warn, "", details, name)
    cause, advice = schedule(case.draws)
    meaning = f"The spread is not stationary: {words} ({chance}).{cause}"
    return Outcome(status, meaning, value, limits.spread_warn, advice, {**details, "cause": cause.strip()}, name)


def schedule(run: Run) -> tuple[str, str]:
    """Return what the record says of the cause, a sentence with a space before it or "", and what to do."""
    rates = run.stats.get("learning_rate")
    longer = "Run a longer warmup: these draws are on their way, not draws of a law."
    if rates is not None and np.ptp(rates) > 0:
        first, last = (number(float(np.median(rates[:, k])), 2) for k in (0, -1))
        words = f" Its learning rate goes from {first} to {last} over these draws."
        return words, "Keep the learning rate constant while draws are kept."
    if "learning_rate" in run.settings and run.settings["learning_rate"] is None:
        words = " Its optimizer has a schedule, or no constant learning rate."
        return words, "Keep the learning rate constant while draws are kept: optax.sgd with a number."
    return "", longer

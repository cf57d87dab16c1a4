"""Do the chains remember where they started: by named starts, and in parameters that no functional shows?"""

import math

import numpy as np
from arviz_stats.base import array_stats
from scipy import stats

from sgdvi._internal.text import number, percent
from sgdvi.diagnostics.case import Case
from sgdvi.diagnostics.declare import NO_DRAWS, Outcome, Skip, beyond, check, usable
from sgdvi.diagnostics.findings import Status
from sgdvi.diagnostics.run import Run


def starts(case: Case) -> np.ndarray:
    """Return the number of each usable chain's start; skips unless there are several starts of equally many chains."""
    names = case.draws.starts
    if names is not None:
        distinct, numbers, counts = np.unique(names[case.draws.keep], return_inverse=True, return_counts=True)
        if len(distinct) > 1 and counts.min() > 1 and counts.min() == counts.max():
            return numbers
    needs = "Needs at least two named starts with two chains each"
    raise Skip(f"{needs}: sgdvi.sample(..., init={{'a': {{...}}, 'b': {{...}}}}).")


@check(
    "mixing.nested",
    "Nested R-hat by start",
    "Margossian, Hoffman, Sountsov, Riou-Durand, Vehtari, Gelman 2024, Bayesian Analysis (nested R-hat)",
    question="arrive",
    cites=("margossian2024nested",),
    thresholds=("rhat_warn", "rhat_fail"),
    kinds=("draws",),
    each=usable,
)
def nested(case: Case, name: str) -> Outcome:
    """Superchains of one start each agree."""
    numbers, values, limits = starts(case), case.values(name), case.limits
    if values.shape[1] < 4 or np.ptp(values) == 0:
        raise Skip("Fewer than 4 draws per chain, or all of them equal.", Status.UNKNOWN)
    with np.errstate(all="ignore"):
        value = float(array_stats.rhat_nested(values, numbers, method="rank", chain_axis=0, draw_axis=1))
    if not math.isfinite(value):
        return Outcome(Status.UNKNOWN, "Nested R-hat cannot be computed.", value, limits.rhat_warn)
    status = beyond(value, limits.rhat_warn, limits.rhat_fail)
    if status is Status.PASS:
        meaning = f"Chains of the {numbers.max() + 1} starts agree on {name}."
        return Outcome(status, meaning, value, limits.rhat_warn)
    meaning = f"Chains from different starts disagree on {name}: nested R-hat {number(value)}."
    advice = "Run a longer warmup; what a conserved quantity keeps no run of any length forgets."
    return Outcome(status, meaning, value, limits.rhat_warn, advice)


@check(
    "memory.start",
    "Memory of the start",
    "Analysis of variance of the chains' means, on normal scores.",
    question="arrive",
    thresholds=("memory_fail", "null_quantile"),
    kinds=("draws",),
    each=usable,
)
def start(case: Case, name: str) -> Outcome:
    """The start explains no more of the chains' means than chance: share of the variance between the starts."""
    numbers, values, limit = starts(case), case.values(name), case.limits.memory_fail
    if np.ptp(values) == 0 or len(values) - numbers.max() - 1 < 2:
        raise Skip("Too few chains, or draws that are all equal.", Status.UNKNOWN)
    level = (1 - case.limits.null_quantile) / len(case.draws.points)
    scores = case.draws.scores[name]
    means = scores.mean(axis=1)
    each = [means[numbers == number_] for number_ in range(numbers.max() + 1)]
    p_value = float(stats.f_oneway(*each).pvalue)
    # what chance puts between the starts is no memory
    within = float(np.mean([group.var(ddof=1) for group in each])) / len(each[0])
    value = max(float(np.var([group.mean() for group in each], ddof=1)) - within, 0.0) / float(scores.var())
    chance = f"p = {number(p_value, 2)}"
    if p_value >= level:
        meaning = f"The start explains no more of {name} than chance does ({chance})."
        return Outcome(Status.PASS, meaning, value, limit)
    meaning = f"The start explains {percent(value)} of the variance of {name} ({chance})."
    advice = "Run a longer warmup. If the share stays, the start decides for ever: see sgdvi.memory."
    return Outcome(Status.FAIL if value > limit else Status.WARN, meaning, value, limit, advice)


@check(
    "memory.parameters",
    "Memory in the parameters",
    "R-hat of every coordinate of the parameters.",
    question="arrive",
    thresholds=("rhat_fail",),
    kinds=("draws",),
)
def parameters(case: Case) -> Outcome:
    """The chains agree on every parameter, not on the functionals alone."""
    if not case.draws.points:
        raise Skip(NO_DRAWS, Status.UNKNOWN)
    mixing, limit = case.draws.coordinates_mixing, case.limits.rhat_fail
    rhats = {name: each.rhat for name, each in mixing.items() if math.isfinite(each.rhat)}
    # what one run holds at one value in all chains is no memory of their starts, as far as that run shows
    held = ("stuck", "constant") if case.reference is not None else ("stuck",)
    stuck = [name for name, each in mixing.items() if each.trouble in held]
    if not rhats and not stuck:
        raise Skip("Needs at least two chains that are not independent draws.")
    if stuck:
        meaning = f"{stuck[0]} does not move in some chain: it keeps its start."
        advice = "Read only functionals that do not depend on it."
        return Outcome(Status.WARN, meaning, None, limit, advice)
    worst = max(rhats, key=lambda name: rhats[name])
    value, words = rhats[worst], f"(worst: {worst}, R-hat {number(rhats[worst])}{_share_of(case.draws)})"
    if value <= limit:
        return Outcome(Status.PASS, f"The chains agree on every parameter {words}.", value, limit)
    clean = all(not each.trouble and not each.rhat > limit for each in case.draws.mixing.values())
    meaning = f"The chains stay apart in the parameters {words}{', though not in the functionals' if clean else ''}."
    advice = "What the chains keep of their starts (signs, shares of subnetworks) is not a posterior's spread."
    return Outcome(Status.WARN, meaning, value, limit, advice)


def _share_of(run: Run) -> str:
    """Say how many parameters were looked at where not all were, and what the fewest effective draws of them are."""
    total, looked = len(run.free_columns), run.coordinates_mixing
    if total <= len(looked):
        return ""
    fewest = min((each.ess for each in looked.values() if math.isfinite(each.ess)), default=math.nan)
    return f"; of {len(looked):,} chosen at random of {total:,}, with at least {number(fewest)} effective draws each"

"""Does a run remember where it started: by named starts, and in parameters that no functional shows?"""

import math
from collections.abc import Sequence

import numpy as np
from arviz_stats.base import array_stats
from scipy import stats

from sgdvi._internal.text import number, percent
from sgdvi.diagnostics.findings import Finding, Status
from sgdvi.diagnostics.mixing import Mixing
from sgdvi.diagnostics.thresholds import Thresholds

_NO_STARTS = "Needs at least two named starts with two chains each: sgdvi.sample(..., init={'a': {...}, 'b': {...}})."
MARGOSSIAN = "Margossian, Hoffman, Sountsov, Riou-Durand, Vehtari, Gelman 2024, Bayesian Analysis (nested R-hat)"


def groups(starts: Sequence[str] | None) -> np.ndarray | None:
    """Return the number of each chain's start; None unless there are several starts of equally many chains."""
    if starts is None:
        return None
    names, numbers, counts = np.unique(np.asarray(starts), return_inverse=True, return_counts=True)
    return numbers if len(names) > 1 and counts.min() > 1 and counts.min() == counts.max() else None


def nested_rhat(
    run: str, functional: str, values: np.ndarray, starts: np.ndarray | None, limits: Thresholds
) -> Finding:
    """Check that superchains of one start each agree; `values` (chain, draw), `starts` from `groups`."""
    value, advice = None, ""
    if starts is None:
        status, meaning = Status.NOT_APPLICABLE, _NO_STARTS
    elif values.shape[1] < 4 or np.ptp(values) == 0:
        status, meaning = Status.UNKNOWN, "Fewer than 4 draws per chain, or all of them equal."
    else:
        with np.errstate(all="ignore"):
            found = array_stats.rhat_nested(values, starts, method="rank", chain_axis=0, draw_axis=1)
        value = float(found)
        if not math.isfinite(value):
            status, meaning = Status.UNKNOWN, "Nested R-hat cannot be computed."
        elif value <= limits.rhat_warn:
            status, meaning = Status.PASS, f"Chains of the {starts.max() + 1} starts agree on {functional}."
        else:
            status = Status.FAIL if value > limits.rhat_fail else Status.WARN
            meaning = f"Chains from different starts disagree on {functional}: nested R-hat {number(value)}."
            advice = "Run a longer warmup; what a conserved quantity keeps no run of any length forgets."
    return _finding("mixing.nested", run, functional, "Nested R-hat by start", value, limits.rhat_warn, status,
                    meaning, advice, MARGOSSIAN)  # fmt: skip


def of_start(
    run: str, functional: str, values: np.ndarray, starts: np.ndarray | None, level: float, limits: Thresholds
) -> Finding:
    r"""Check whether the start explains the means of the chains (analysis of variance at `level`).

    The value is the share of the variance of all draws that lies between the starts, less what chance puts there.
    """
    value, advice = None, ""
    if starts is None:
        status, meaning = Status.NOT_APPLICABLE, _NO_STARTS
    elif values.size == 0 or np.ptp(values) == 0 or len(values) - starts.max() - 1 < 2:
        status, meaning = Status.UNKNOWN, "Too few chains, or draws that are all equal."
    else:
        ranks = stats.norm.ppf((stats.rankdata(values).reshape(values.shape) - 0.375) / (values.size + 0.25))
        means = ranks.mean(axis=1)
        each = [means[starts == start] for start in range(starts.max() + 1)]
        p_value = float(stats.f_oneway(*each).pvalue)
        within = float(np.mean([group.var(ddof=1) for group in each])) / len(each[0])
        value = max(float(np.var([group.mean() for group in each], ddof=1)) - within, 0.0) / float(ranks.var())
        chance = f"p = {number(p_value, 2)}"
        if p_value >= level:
            status = Status.PASS
            meaning = f"The start explains no more of {functional} than chance does ({chance})."
        else:
            status = Status.FAIL if value > limits.memory_fail else Status.WARN
            meaning = f"The start explains {percent(value)} of the variance of {functional} ({chance})."
            advice = "Run a longer warmup. If the share stays, the start decides for ever: see sgdvi.memory."
    return _finding("memory.start", run, functional, "Memory of the start", value, limits.memory_fail, status,
                    meaning, advice, "Analysis of variance of the chains' means, on normal scores.")  # fmt: skip


def of_parameters(run: str, mixing: dict[str, Mixing], functionals: Sequence[Mixing], limits: Thresholds) -> Finding:
    """Check whether chains stay apart in the parameters although the functionals agree; `mixing` by coordinate."""
    rhats = {name: each.rhat for name, each in mixing.items() if math.isfinite(each.rhat)}
    stuck = [name for name, each in mixing.items() if each.trouble in ("stuck", "constant")]
    advice, value, worst = "", None, max(rhats, key=lambda name: rhats[name], default="")
    clean = all(not each.trouble and not each.rhat > limits.rhat_fail for each in functionals)
    if not rhats and not stuck:
        status, meaning = Status.NOT_APPLICABLE, "Needs at least two chains that are not independent draws."
    elif stuck:
        status, meaning = Status.WARN, f"{stuck[0]} does not move in some chain: it keeps its start."
        advice = "Read only functionals that do not depend on it."
    else:
        value = rhats[worst]
        if value <= limits.rhat_fail:
            status, meaning = (
                Status.PASS,
                f"The chains agree on every parameter (worst: {worst}, R-hat {number(value)}).",
            )
        else:
            status = Status.WARN
            meaning = f"The chains stay apart in the parameters (worst: {worst}, R-hat {number(value)})"
            meaning += ", though not in the functionals." if clean else "."
            advice = "What the chains keep of their starts (signs, shares of subnetworks) is not a posterior's spread."
    return _finding("memory.parameters", run, None, "Memory in the parameters", value, limits.rhat_fail, status,
                    meaning, advice, "R-hat of every coordinate of the parameters.")  # fmt: skip


def _finding(check: str, run: str, functional: str | None, title: str, value: float | None, threshold: float,
             status: Status, meaning: str, advice: str, source: str) -> Finding:  # fmt: skip
    return Finding(
        check=check,
        run=run,
        functional=functional,
        title=title,
        value=value,
        threshold=threshold,
        status=status,
        meaning=meaning,
        advice=advice,
        source=source,
    )

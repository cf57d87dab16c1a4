"""Kullback-Leibler divergences: infinite where the laws are mutually singular, quadrature on the line where not."""

import math
from typing import NamedTuple

import numpy as np

from sgdvi._internal.text import number, percent
from sgdvi.diagnostics.case import Case
from sgdvi.diagnostics.declare import Outcome, Skip, beyond, check
from sgdvi.diagnostics.findings import Details, Status
from sgdvi.diagnostics.support import dimension
from sgdvi.diagnostics.thresholds import ZIYIN
from sgdvi.laws.line import LineLaw

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
_LOG_SMALLEST, _LOG_LARGEST = -600.0, 270.0
_LEVELS = np.concatenate([np.logspace(-9, -2, 15), np.linspace(0.02, 0.98, 49), 1 - np.logspace(-2, -9, 15)])


def kl_divergence(p: LineLaw, q: LineLaw) -> float:
    r"""Return :math:`KL(p\|q) = \int p \log(p/q)` on the line, in nats.

    Parameters
    ----------
    p, q
        The laws. The expectation is over `p`.

    Returns
    -------
    float
        inf where `p` has an atom or mass where `q` has none, and where the integral diverges in a power-law tail.

    Notes
    -----
    Composite Gauss-Legendre quadrature in log|v|, on either side of 0, with panels between the quantiles of both
    laws: power laws at 0 and at infinity become exponentials in log|v|.
    """
    if p.atom > 0:
        return math.inf
    levels = np.concatenate([_quantiles(p), _quantiles(q)])
    total = 0.0
    for side in (1.0, -1.0):
        edges = _edges(side * levels)
        middle, half = (edges[1:] + edges[:-1]) / 2, (edges[1:] - edges[:-1]) / 2
        y = middle[:, None] + half[:, None] * _NODES
        v = side * np.exp(y)
        log_p, log_q = p.log_prob(v.reshape(-1)).reshape(v.shape), q.log_prob(v.reshape(-1)).reshape(v.shape)
        with np.errstate(invalid="ignore", over="ignore"):
            weight = np.where(np.isneginf(log_p), 0.0, np.exp(log_p + y)) * half[:, None] * _WEIGHTS
            if weight[np.isneginf(log_q)].sum() > 1e-12:
                return math.inf
            # -inf minus a finite number where p has no mass; where q's is below the tiny mass allowed above.
            terms = np.where((weight > 0) & ~np.isneginf(log_q), weight * (log_p - log_q), 0.0)
        if np.isnan(terms).any():
            return math.nan
        panels = terms.sum(axis=1)
        total += panels.sum() + _tail(panels[::-1], half[::-1]) + _tail(panels, half)
    return math.inf if math.isinf(total) else max(float(total), 0.0)


def restrict(law: LineLaw, side: int, mass: float) -> LineLaw:
    """Return `law` given that v has the sign `side`, which it has with probability `mass`."""

    def log_prob(v: np.ndarray) -> np.ndarray:
        return np.where(side * v > 0, law.log_prob(v) - math.log(mass), -np.inf)

    def icdf(q: np.ndarray) -> np.ndarray:
        return law.icdf(1 - mass + mass * q if side > 0 else mass * q)

    return LineLaw(log_prob, icdf)


class Divergences(NamedTuple):
    """Both divergences between the law of SGD, p, and a posterior, q, on one functional; in nats.

    Attributes
    ----------
    forward, backward
        KL(p || q) and KL(q || p).
    missed
        Mass of q on the sign that p does not cover.
    forward_covered, backward_covered
        The same from and to q restricted to the sign that p covers.
    """

    forward: float
    backward: float
    missed: float
    forward_covered: float
    backward_covered: float


def divergences(p: LineLaw, q: LineLaw, side: int | None = None, negative: float = 0.0) -> Divergences:
    """Return both divergences between `p`, which covers the sign `side` alone (None: both), and `q`.

    `negative` is the mass of `q` below 0. However small the mass that `p` cannot reach: quadrature does not see it, the
    reverse divergence does.
    """
    forward = kl_divergence(p, q)
    missed = 0.0 if side is None else negative if side > 0 else 1 - negative
    if not 0 < missed < 1:
        backward = kl_divergence(q, p)
        return Divergences(forward, backward, 0.0 if side is None else missed, forward, backward)
    covered = kl_divergence(restrict(q, side or 1, 1 - missed), p)
    return Divergences(forward, math.inf, missed, forward + math.log1p(-missed), covered)


def _tail(panels: np.ndarray, half: np.ndarray) -> float:
    """Add up what lies beyond the outermost panel, from its ratio to the next: geometric, or divergent."""
    outer, inner = panels[0] / half[0], panels[1] / half[1]
    if abs(outer) < 1e-14:
        return 0.0
    ratio = outer / inner if inner else math.inf
    if not 0 < ratio < 1:
        return math.inf
    decay = -math.log(ratio) / (half[0] + half[1])
    return outer / 2 / decay if decay > 1e-3 else math.inf


def _quantiles(law: LineLaw) -> np.ndarray:
    values = np.asarray(law.icdf(_LEVELS), dtype=np.float64)
    return values[np.isfinite(values)]


def _edges(levels: np.ndarray) -> np.ndarray:
    """Return panel edges in log v on one side: fine between quantiles, one unit wide elsewhere."""
    inside = np.log(levels[levels > math.exp(_LOG_SMALLEST)])
    edges = np.unique(np.concatenate([inside, np.arange(_LOG_SMALLEST, _LOG_LARGEST + 1.0)]))
    return edges[(edges >= _LOG_SMALLEST) & (edges <= _LOG_LARGEST)]


def _names(case: Case) -> str:
    sites = case.facts.factors or tuple(case.draws.sites)
    return f"({', '.join(sites)})" if len(case.draws.sites) < 6 else "parameter space"


@check(
    "kl.parameters",
    lambda case: f"KL divergence in {_names(case)}",
    "Two laws on sets of different dimension are mutually singular.",
    kinds=("judged",),
    of_chains=False,
    always=True,
    in_parameters=True,
)
def in_parameters(case: Case) -> Outcome:
    """The divergence in parameter space: infinite where the supports differ, by the law or as far as draws show."""
    facts, run, names = case.facts, case.run.name, _names(case)
    if facts.improper:
        raise Skip(facts.improper)
    if facts.singular:
        ground, advice = "by construction", "More steps do not change this, and importance weights do not exist. "
        reason = "its stationary law lives on a set of lower dimension, the posterior has a density everywhere"
    elif dimension(case).status is Status.FAIL:
        ground, advice = "as far as its draws show", ""
        reason = "they fill a set of lower dimension than those of the reference"
    elif len(facts.factors) == 1:
        raise Skip(f"The parameters are {facts.functional} itself: see the divergence on {facts.functional}.")
    else:
        meaning = f"No sign of different supports in {names}, and no density of {run} is known: a divergence is not "
        advice = "Estimates of a KL divergence from draws are badly biased; the distances below are not."
        return Outcome(Status.NOT_APPLICABLE, f"{meaning}estimated from draws.", advice=advice)
    meaning = f"KL({run} || posterior) and KL(posterior || {run}) in {names} are infinite, {ground}: {reason}."
    return Outcome(Status.FAIL, meaning, math.inf, None, f"{advice}Compare functionals of the parameters.")


@check(
    "kl.functional",
    lambda case: f"KL divergence on {case.facts.functional or 'functionals'}",
    f"Quadrature between the exact stationary law ({ZIYIN}) and the exact posterior.",
    cites=("ziyin2025noise",),
    thresholds=("kl_warn", "kl_fail"),
    kinds=("judged",),
    of_chains=False,
    always=True,
    on_functional=True,
)
def on_functional(case: Case) -> Outcome:
    """KL(SGD || posterior) between the two exact laws of the functional is small."""
    facts, name, limits = case.facts, case.facts.functional, case.limits
    if facts.stationary is None or facts.posterior is None:
        raise Skip(facts.missing or facts.improper or "Needs the exact law of SGD and the exact posterior.")
    side = None if facts.collapsed else facts.side
    forward, backward, missed, forward_covered, backward_covered = divergences(
        facts.stationary, facts.posterior, side, facts.posterior_negative
    )
    status = beyond(forward, limits.kl_warn, limits.kl_fail)
    size = "infinite" if math.isinf(forward) else f"{number(forward)} nats"
    meaning = f"KL(SGD || posterior) on {name} is {size}, between the exact laws"
    if math.isinf(backward) and missed > 0:
        meaning += ". The reverse, KL(posterior || SGD), is infinite, because SGD never covers the other sign "
        meaning += f"({percent(missed)} of the posterior); on the sign that it covers it is {number(backward_covered)}."
    else:
        meaning += f"; KL(posterior || SGD) is {number(backward)}."
    advice = "Tune the temperature (learning rate over batch size): the width of SGD's law follows it, the posterior's "
    advice += "does not. sgdvi.optimal_temperature gives the best one, and the KL that no temperature removes."
    details: Details = {
        "direction": "KL(SGD || posterior)",
        "reverse": backward,
        "missed_mass": missed,
        "forward_on_covered_sign": forward_covered,
        "reverse_on_covered_sign": backward_covered,
    }
    advice = advice if status in (Status.WARN, Status.FAIL) else ""
    return Outcome(status, meaning, forward, limits.kl_fail, advice, details, name)

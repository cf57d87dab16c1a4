"""The checks in their order: which check is made of which run, and the worst functional of each."""

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from sgdvi.diagnostics import (
    distances,
    divergence,
    finite,
    fresh,
    hmc,
    laws,
    memory,
    mixing,
    phases,
    signs,
    stationarity,
    support,
    tail,
)
from sgdvi.diagnostics.common import nothing, ordered, survivors, tail_of, worst
from sgdvi.diagnostics.facts import Facts, Known
from sgdvi.diagnostics.findings import Finding, Status
from sgdvi.diagnostics.run import Law, Run
from sgdvi.diagnostics.thresholds import Thresholds

# The order in which a person reads the checks.
ORDER = (
    "draws.finite",
    "draws.distinct",
    "chains.overflow",
    "tail.index",
    "mixing.rhat",
    "mixing.ess",
    "mixing.mcse",
    "mixing.nested",
    "hmc.divergences",
    "hmc.energy",
    "hmc.depth",
    "stationarity.trend",
    "stationarity.identity",
    "stationarity.bias",
    "memory.start",
    "memory.parameters",
    "support.balance",
    "support.dimension",
    "kl.parameters",
    "sign.factors",
    "sign.functional",
    "coverage.modes",
    "coverage.signs",
    "kl.functional",
    "importance.khat",
    "distance.w1",
    "distance.ks",
    "distance.w2",
    "distance.mmd",
    "distance.energy",
    "distance.sliced",
    "distance.ksd",
    "distance.c2st",
    "predictive.loo",
    "predictive.coverage",
    "law.gap",
    "phase.temperature",
    "phase.collapse",
)


def health(run: Run, thresholds: Thresholds) -> list[Finding]:
    """Check that the draws of a run are usable and its chains mixed."""
    everything = {**run.sites, **{name: values for name, values in run.values.items() if name not in run.sites}}
    results = [
        finite.finite_draws(run.name, everything),
        finite.distinct_draws(run.name, everything, thresholds, run.fixed),
    ]
    if run.overflowed is not None or run.kind == "sgd":
        lost = ~run.keep if run.overflowed is None else run.overflowed
        steps = np.full(len(lost), -1) if run.steps is None else run.steps
        results.append(finite.overflowed_chains(run.name, list(lost), [int(step) for step in steps], thresholds))
    for check in (mixing.rhat, mixing.ess):
        each = [check(run.name, name, measured, thresholds) for name, measured in run.mixing.items()]
        results.append(survivors(run, worst(each, lowest=check is mixing.ess)))
    return results


def chains_of(run: Run, facts: Facts, thresholds: Thresholds) -> list[Finding]:
    """Check the chains of a run beyond R-hat: standard errors, starts, trends, and what Hamiltonian samplers report."""
    starts = memory.groups(None if run.starts is None else run.starts[run.keep])
    usable = {name: run.values[name][run.keep] for name in run.points}
    level = (1 - thresholds.null_quantile) / max(len(usable), 1)
    errors, nested, trends, remembered = [], [], [], []
    for name, values in usable.items():
        heavy = not tail_of(run, name, facts).has_moment(2, thresholds)
        errors.append(mixing.mcse(run.name, name, run.mixing[name], run.points[name].sd, heavy, thresholds))
        nested.append(memory.nested_rhat(run.name, name, values, starts, thresholds))
        trends.append(stationarity.trend(run.name, name, values, level, thresholds))
        remembered.append(memory.of_start(run.name, name, values, starts, level, thresholds))
    if not usable:
        titles = {
            "mixing.mcse": "Standard error of the mean",
            "mixing.nested": "Nested R-hat by start",
            "stationarity.trend": "Trend over the run",
            "memory.start": "Memory of the start",
            "memory.parameters": "Memory in the parameters",
        }
        reason = "No chain with finite draws is left."
        lost = [nothing(check, run.name, title, Status.UNKNOWN, reason) for check, title in titles.items()]
        return [*lost, *hmc.findings(run.name, run.stats, thresholds)]
    if run.independent:
        reason = "The draws are independent: there is no run in them."
        trends = [nothing("stationarity.trend", run.name, "Trend over the run", Status.NOT_APPLICABLE, reason)]
    kept = memory.of_parameters(run.name, run.coordinates_mixing, list(run.mixing.values()), thresholds)
    results = [worst(errors), worst(nested), worst(trends), worst(remembered), kept]
    return [*(survivors(run, each) for each in results), *hmc.findings(run.name, run.stats, thresholds)]


def stationary_of(run: Run, known: Known | None, facts: Facts, thresholds: Thresholds) -> list[Finding]:
    """Check the identities that a stationary run of SGD keeps: of one fresh step, and of its exact law."""
    missing = facts.missing or "Needs a fresh step from each draw, which is taken for linear networks."
    usable = known is not None and run.kind == "sgd" and _factors(run, facts) is not None
    step = None
    if usable and known is not None:
        sites = {name: run.sites[name][run.keep] for name in facts.factors}
        step = fresh.fresh_step(known, sites, facts.stationary_tail)
    elif known is not None and not run.keep.any():
        missing = "No chain with finite draws is left."
    name = facts.functional
    v = run.values[name][run.keep] if usable and name in run.points else None
    without = facts.missing or "Needs the exact law of SGD on a linear network, not collapsed."
    found = [
        stationarity.identity(run.name, step, missing, thresholds),
        stationarity.bias(run.name, name, v, facts, without, thresholds),
    ]
    return [survivors(run, each) for each in found]


def tails_of(run: Run, facts: Facts, thresholds: Thresholds) -> Finding:
    """Check how heavy the tails of the functionals are."""
    each = [tail.finding(run.name, name, tail_of(run, name, facts), thresholds) for name in run.points]
    if not each:
        return nothing("tail.index", run.name, "Tail index", Status.UNKNOWN, "No chain with finite draws is left.")
    return survivors(run, worst(each, lowest=True))


def support_of(run: Run, reference: Run | Law | None, facts: Facts, thresholds: Thresholds) -> list[Finding]:
    """Check on what set a run lives: the balanced set, and the dimension of the draws."""
    title = "Support: imbalance of |u| and |w|"
    factors = _factors(run, facts)
    if factors is None:
        reason = facts.missing or "The parameters of this run are not the factors of a product."
        results = [nothing("support.balance", run.name, title, Status.NOT_APPLICABLE, reason)]
    elif len(factors) < 2:
        reason = "Depth 0: there is one factor, hence nothing to balance."
        results = [nothing("support.balance", run.name, title, Status.NOT_APPLICABLE, reason)]
    else:
        results = [support.balance(run.name, factors, facts.factors, thresholds)]
    title = "Support: dimension"
    if not isinstance(reference, Run) or set(reference.sites) != set(run.sites):
        reason = "Needs a reference with draws of the same parameters."
        return [*results, nothing("support.dimension", run.name, title, Status.NOT_APPLICABLE, reason)]
    mine, other = run.parameters(), Run.parameters(ordered(reference, run))
    if min(len(mine), len(other)) < 3:
        reason = "No chain with finite draws is left, in this run or in the reference."
        return [*results, nothing("support.dimension", run.name, title, Status.UNKNOWN, reason)]
    size = min(run.fewest, reference.fewest)
    transform = support.whitening(other)
    dimensions = support.dimension(mine, transform, size), support.dimension(other, transform, size)
    found = support.support_dimension(run.name, dimensions[0], reference.name, dimensions[1], thresholds)
    return [*results, survivors(run, found)]


def divergences(run: Run, found: Iterable[Finding], facts: Facts, thresholds: Thresholds) -> list[Finding]:
    """State the divergences of SGD from the posterior, in parameter space and on the functional."""
    by_check = {finding.check: finding for finding in found}
    names = f"({', '.join(facts.factors or tuple(run.sites))})" if len(run.sites) < 6 else "parameter space"
    seen = by_check["support.dimension"].status is Status.FAIL
    if facts.improper:
        results = [
            nothing("kl.parameters", run.name, f"KL divergence in {names}", Status.NOT_APPLICABLE, facts.improper)
        ]
    elif facts.singular:
        line = "its stationary law lives on a set of lower dimension, the posterior has a density everywhere"
        results = [divergence.in_parameters(run.name, names, True, line)]
    elif seen:
        reason = "they fill a set of lower dimension than those of the reference"
        results = [divergence.in_parameters(run.name, names, True, reason, observed=True)]
    else:
        single = facts.functional if len(facts.factors) == 1 else ""
        results = [divergence.in_parameters(run.name, names, False, "", same_as=single)]
    return [*results, _on_functional(run, facts, thresholds)]


def _on_functional(run: Run, facts: Facts, thresholds: Thresholds) -> Finding:
    title = f"KL divergence on {facts.functional or 'functionals'}"
    if facts.stationary is None or facts.posterior is None:
        reason = facts.missing or facts.improper or "Needs the exact law of SGD and the exact posterior."
        return nothing("kl.functional", run.name, title, Status.NOT_APPLICABLE, reason)
    side = None if facts.collapsed else facts.side
    found = divergence.divergences(facts.stationary, facts.posterior, side, facts.posterior_negative)
    return divergence.on_functional(run.name, facts.functional, found, thresholds)


def signs_of(run: Run, reference: Run | Law | None, facts: Facts, thresholds: Thresholds) -> list[Finding]:
    """Check the signs of the factors, and the posterior mass on signs of the functionals that the run misses."""
    factors = _factors(run, facts)
    if factors is None or len(factors) < 2:
        reason = facts.missing or "There is no pair of factors whose signs could be exchanged."
        results = [nothing("sign.factors", run.name, "Signs of the factors", Status.NOT_APPLICABLE, reason)]
    else:
        results = [signs.factor_signs(run.name, factors, facts.factors)]
    each = []
    for name, points in run.points.items():
        negative, against, side = math.nan, "the posterior", None
        if name == facts.functional and not math.isnan(facts.posterior_negative):
            negative = facts.posterior_negative
            side = facts.side if run.kind == "sgd" else None
        elif reference is not None and name in reference.points:
            negative, against = float((reference.points[name].values < 0).mean()), f"the draws of {reference.name}"
        else:
            continue
        share = float((points.values < 0).mean())
        each.append(signs.missing_sign(run.name, name, share, negative, against, thresholds, side, points.effective))
    if each:
        return [*results, survivors(run, worst(each))]
    status = Status.NOT_APPLICABLE if run.points else Status.UNKNOWN
    reason = facts.improper or ("There is no posterior to compare with." if run.points else "No usable chain is left.")
    return [*results, nothing("sign.functional", run.name, "Posterior mass missed at the other sign", status, reason)]


def reference_signs(run: Run, facts: Facts, thresholds: Thresholds) -> Finding:
    """Check the signs of the factors of the reference: at most a warning, as it is used on functionals only."""
    finding = signs_of(run, None, facts, thresholds)[0]
    return replace(finding, status=Status.WARN) if finding.status is Status.FAIL else finding


def own_law(run: Run, facts: Facts, thresholds: Thresholds) -> Finding:
    """Check how far a run of SGD is from its exact law, or another run from the exact posterior."""
    sgd = run.kind == "sgd"
    points = facts.stationary_points if sgd else facts.posterior_points
    title = "Discretisation gap to the exact law" if sgd else "Distance to the exact law"
    if sgd and facts.collapsed:
        reason = f"The exact law is the point mass at {facts.functional} = 0: see the check of collapse."
    elif points is None:
        reason = facts.missing if sgd else facts.improper
        reason = reason or "No exact law is known for this run."
    elif facts.functional not in run.points:
        return nothing("law.gap", run.name, title, Status.UNKNOWN, "No chain with finite draws is left.")
    else:
        distance = distances.measure(run.points[facts.functional], points, thresholds.null_quantile)
        # At depth 2 and above that is the law without the prior's decay: see LinearNetwork.law.
        bare = " (without the prior's weight decay)" if len(facts.factors) > 2 else ""
        law = f"exact stationary law of SGD{bare}" if sgd else "exact posterior"
        steps = facts if sgd else None
        finding = laws.gap(run.name, facts.functional, distance, law, thresholds, discrete=sgd, steps=steps)
        return survivors(run, finding)
    return nothing("law.gap", run.name, title, Status.NOT_APPLICABLE, reason)


def phase_of(run: Run, facts: Facts, thresholds: Thresholds) -> list[Finding]:
    """Check the temperature of SGD and whether its chains collapse."""
    name = facts.functional
    factors = _factors(run, facts)
    if facts.temperature is None:
        reason = facts.no_temperature or facts.missing or "The temperature of this run is not known."
        results = [nothing("phase.temperature", run.name, "Temperature T / Tc", Status.NOT_APPLICABLE, reason)]
    else:
        results = [phases.temperature(run.name, facts, name)]
    title = f"Collapse to {name or 'v'} = 0"
    if factors is None or len(factors) < 2:
        reason = facts.missing or "Only products of factors can collapse to 0."
        return [*results, nothing("phase.collapse", run.name, title, Status.NOT_APPLICABLE, reason)]
    if not run.points:
        reason = "No chain with finite draws is left."
        return [*results, nothing("phase.collapse", run.name, title, Status.UNKNOWN, reason)]
    logs = phases.log_magnitude(run.values[name][run.keep], factors)
    return [*results, survivors(run, phases.collapse(run.name, logs, thresholds, facts, run.thinning, name))]


def _factors(run: Run, facts: Facts) -> list[np.ndarray] | None:
    if not facts.factors or any(name not in run.sites for name in facts.factors) or not run.keep.any():
        return None
    return [run.sites[name][run.keep] for name in facts.factors]

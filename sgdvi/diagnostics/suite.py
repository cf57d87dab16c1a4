"""The checks in their order: which check is made of which run, and the worst functional of each."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from sgdvi.diagnostics import distances, divergence, finite, importance, laws, mixing, modes, phases, signs, support, tail
from sgdvi.diagnostics.distances import Points
from sgdvi.diagnostics.divergence import LineLaw
from sgdvi.diagnostics.findings import Finding, Status
from sgdvi.diagnostics.phases import Setting
from sgdvi.diagnostics.runs import Law, Run
from sgdvi.diagnostics.tail import Tail
from sgdvi.diagnostics.thresholds import Thresholds
from sgdvi.diagnostics.words import count

_MOST_LISTED = 20

# The order in which a person reads the checks.
ORDER = (
    "draws.finite",
    "draws.distinct",
    "chains.overflow",
    "tail.index",
    "mixing.rhat",
    "mixing.ess",
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
    "law.gap",
    "phase.temperature",
    "phase.collapse",
)


@dataclass(frozen=True, eq=False)
class Facts:
    """What is known in closed form of one functional, as the checks need it.

    Attributes
    ----------
    functional
        Name of the functional.
    factors
        Names of the sites whose product it is; one where it is the parameter itself; none where nothing is known.
    setting
        Temperature and thresholds of SGD; None where unknown.
    stationary, stationary_points
        Exact law of SGD, and its quantiles as points; None where unknown.
    posterior, posterior_points, posterior_negative
        Exact posterior, its quantiles, its mass below 0 (nan if unknown).
    stationary_tail
        Index of the power-law tail of the exact law of SGD; inf for none, nan where unknown.
    steps
        What the finite steps of SGD alone make of its law; None where unknown.
    side
        Sign that the law of SGD covers; None where it covers both or nothing is known.
    singular
        True where the law of SGD lives on a set of lower dimension than the posterior.
    improper
        Why there is no posterior; "" where there is one.
    missing
        Why there is no exact law; "" where there is one.
    roles
        Name of a law among the runs -> "stationary", "posterior" or "".
    """

    functional: str = ""
    factors: tuple[str, ...] = ()
    setting: Setting | None = None
    stationary: LineLaw | None = None
    stationary_points: Points | None = None
    posterior: LineLaw | None = None
    posterior_points: Points | None = None
    posterior_negative: float = math.nan
    stationary_tail: float = math.nan
    steps: laws.Steps | None = None
    side: int | None = None
    singular: bool = False
    improper: str = ""
    missing: str = ""
    roles: Mapping[str, str] = field(default_factory=dict)

    @property
    def collapsed(self) -> bool:
        """Whether the exact law of SGD is the point mass at 0."""
        return self.stationary is not None and self.stationary.zero >= 1


def health(run: Run, thresholds: Thresholds) -> list[Finding]:
    """Check that the draws of a run are usable and its chains mixed."""
    everything = {**run.sites, **{name: values for name, values in run.values.items() if name not in run.sites}}
    results = [
        finite.finite_draws(run.name, everything),
        finite.distinct_draws(run.name, everything, thresholds),
    ]
    if run.overflowed is not None or run.kind == "sgd":
        lost = ~run.keep if run.overflowed is None else run.overflowed
        steps = np.full(len(lost), -1) if run.steps is None else run.steps
        results.append(finite.overflowed_chains(run.name, list(lost), [int(step) for step in steps], thresholds))
    for check in (mixing.rhat, mixing.ess):
        each = [check(run.name, name, measured, thresholds) for name, measured in run.mixing.items()]
        results.append(_survivors(run, worst(each, lowest=check is mixing.ess)))
    return results


def tails_of(run: Run, facts: Facts, thresholds: Thresholds) -> Finding:
    """Check how heavy the tails of the functionals are."""
    each = [tail.finding(run.name, name, tail_of(run, name, facts), thresholds) for name in run.points]
    if not each:
        return _nothing("tail.index", run.name, "Tail index", Status.UNKNOWN, "No chain with finite draws is left.")
    return _survivors(run, worst(each, lowest=True))


def tail_of(run: Run | Law, name: str, facts: Facts) -> Tail:
    """Return the tail of a functional of a run, with the index of its exact law where that is known."""
    seen = run.tails[name]
    exact = isinstance(run, Run) and run.kind == "sgd" and name == facts.functional
    return replace(seen, exact=facts.stationary_tail) if exact else seen


def away(run: Run | Law, reference: Run | Law, facts: Facts, thresholds: Thresholds) -> list[Finding]:
    """Check the distances of a run from the reference on every functional that both have."""
    pairs = []
    shared = [name for name in run.points if name in reference.points]
    # The null levels are those of all functionals together: among 100 of them one in 100 would be beyond its own.
    quantile = 1 - (1 - thresholds.null_quantile) / max(len(shared), 1)
    for name in shared:
        distance = distances.measure(run.points[name], reference.points[name], quantile)
        heavy = [side.name for side in (run, reference) if not tail_of(side, name, facts).has_moment(1, thresholds)]
        pairs.append(
            distances.findings(
                run.name, name, distance, reference.name, thresholds, no_mean=" and ".join(dict.fromkeys(heavy))
            )
        )
    if not pairs:
        reason = "No functional is known of both this run and the reference."
        if (isinstance(run, Run) and not run.points) or not reference.points:
            reason = "No chain with finite draws is left, in this run or in the reference."
        return [
            _nothing("distance.w1", run.name, "Wasserstein distance (W1)", Status.UNKNOWN, reason),
            _nothing("distance.ks", run.name, "Kolmogorov distance (KS)", Status.UNKNOWN, reason),
        ]
    results = [worst(column) for column in zip(*pairs, strict=True)]
    return [_survivors(run, result) for result in results] if isinstance(run, Run) else results


def no_distances(run: Run, facts: Facts) -> list[Finding]:
    """Say that there is nothing to measure distances from."""
    reason = facts.improper or "There is no reference to compare with."
    return [
        _nothing("distance.w1", run.name, "Wasserstein distance (W1)", Status.NOT_APPLICABLE, reason),
        _nothing("distance.ks", run.name, "Kolmogorov distance (KS)", Status.NOT_APPLICABLE, reason),
    ]


def spoil(finding: Finding, trouble: str) -> Finding:
    """Turn a distance from a reference that cannot be relied on into one that says nothing."""
    return replace(
        finding, status=Status.UNKNOWN, meaning=f"{trouble} Measured against it: {finding.meaning}", advice=""
    )


def support_of(run: Run, reference: Run | Law | None, facts: Facts, thresholds: Thresholds) -> list[Finding]:
    """Check on what set a run lives: the balanced set, and the dimension of the draws."""
    title = "Support: imbalance of |u| and |w|"
    factors = _factors(run, facts)
    if factors is None:
        reason = facts.missing or "The parameters of this run are not the factors of a product."
        results = [_nothing("support.balance", run.name, title, Status.NOT_APPLICABLE, reason)]
    elif len(factors) < 2:
        reason = "Depth 0: there is one factor, hence nothing to balance."
        results = [_nothing("support.balance", run.name, title, Status.NOT_APPLICABLE, reason)]
    else:
        results = [support.balance(run.name, factors, facts.factors, thresholds)]
    title = "Support: dimension"
    if not isinstance(reference, Run) or set(reference.sites) != set(run.sites):
        reason = "Needs a reference with draws of the same parameters."
        return [*results, _nothing("support.dimension", run.name, title, Status.NOT_APPLICABLE, reason)]
    mine, other = run.parameters(), Run.parameters(_ordered(reference, run))
    if min(len(mine), len(other)) < 3:
        reason = "No chain with finite draws is left, in this run or in the reference."
        return [*results, _nothing("support.dimension", run.name, title, Status.UNKNOWN, reason)]
    size = min(run.fewest, reference.fewest)
    transform = support.whitening(other)
    dimensions = support.dimension(mine, transform, size), support.dimension(other, transform, size)
    found = support.support_dimension(run.name, dimensions[0], reference.name, dimensions[1], thresholds)
    return [*results, _survivors(run, found)]


def divergences(run: Run, found: Iterable[Finding], facts: Facts, thresholds: Thresholds) -> list[Finding]:
    """State the divergences of SGD from the posterior, in parameter space and on the functional."""
    by_check = {finding.check: finding for finding in found}
    names = f"({', '.join(facts.factors or tuple(run.sites))})" if len(run.sites) < 6 else "parameter space"
    seen = by_check["support.dimension"].status is Status.FAIL
    if facts.improper:
        results = [
            _nothing("kl.parameters", run.name, f"KL divergence in {names}", Status.NOT_APPLICABLE, facts.improper)
        ]
    elif facts.singular:
        line = "its stationary law lives on a set of lower dimension, the posterior has a density everywhere"
        results = [divergence.in_parameters(run.name, names, True, line)]
    elif seen:
        reason = "its draws fill a set of lower dimension than those of the reference"
        results = [divergence.in_parameters(run.name, names, True, reason)]
    else:
        single = facts.functional if len(facts.factors) == 1 else ""
        results = [divergence.in_parameters(run.name, names, False, "", same_as=single)]
    return [*results, _on_functional(run, facts, thresholds)]


def _on_functional(run: Run, facts: Facts, thresholds: Thresholds) -> Finding:
    title = f"KL divergence on {facts.functional or 'functionals'}"
    if facts.stationary is None or facts.posterior is None:
        reason = facts.missing or facts.improper or "Needs the exact law of SGD and the exact posterior."
        return _nothing("kl.functional", run.name, title, Status.NOT_APPLICABLE, reason)
    p, q = facts.stationary, facts.posterior
    forward, backward = divergence.kl_divergence(p, q), divergence.kl_divergence(q, p)
    missed, forward_covered, backward_covered = 0.0, forward, backward
    if facts.side is not None and not facts.collapsed:
        missed = facts.posterior_negative if facts.side > 0 else 1 - facts.posterior_negative
        if 0 < missed < 1:
            # However small the mass that SGD cannot reach: quadrature does not see it, the divergence does.
            forward_covered, backward = forward + math.log1p(-missed), math.inf
            backward_covered = divergence.kl_divergence(divergence.restrict(q, facts.side, 1 - missed), p)
    return divergence.on_functional(
        run.name, facts.functional, forward, backward, missed, forward_covered, backward_covered, thresholds
    )


def signs_of(run: Run, reference: Run | Law | None, facts: Facts, thresholds: Thresholds) -> list[Finding]:
    """Check the signs of the factors, and the posterior mass on signs of the functionals that the run misses."""
    factors = _factors(run, facts)
    if factors is None or len(factors) < 2:
        reason = facts.missing or "There is no pair of factors whose signs could be exchanged."
        results = [_nothing("sign.factors", run.name, "Signs of the factors", Status.NOT_APPLICABLE, reason)]
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
        return [*results, _survivors(run, worst(each))]
    status = Status.NOT_APPLICABLE if run.points else Status.UNKNOWN
    reason = facts.improper or ("There is no posterior to compare with." if run.points else "No usable chain is left.")
    return [*results, _nothing("sign.functional", run.name, "Posterior mass missed at the other sign", status, reason)]


def coverage_of(run: Run, reference: Run | Law | None, thresholds: Thresholds) -> list[Finding]:
    """Check that a run has met every mode of the reference, on the functionals and over the signs of the parameters."""
    titles = {"coverage.modes": "Modes that are missed", "coverage.signs": "Sign patterns that are missed"}
    if reference is None or not run.points or not reference.points:
        status = Status.NOT_APPLICABLE if run.points else Status.UNKNOWN
        reason = "There is no reference to compare with." if run.points else "No usable chain is left."
        return [_nothing(check, run.name, title, status, reason) for check, title in titles.items()]
    each = [
        modes.finding(run.name, name, modes.on_functional(points, reference.points[name]), reference.name, thresholds)
        for name, points in run.points.items()
        if name in reference.points
    ]
    reason = "No functional is known of both this run and the reference."
    found = worst(each) if each else _nothing("coverage.modes", run.name, titles["coverage.modes"], Status.UNKNOWN, reason)
    signs_found, reason = None, "Needs a reference with draws of the same parameters."
    if isinstance(reference, Run) and set(reference.sites) == set(run.sites) and reference.keep.any():
        mine, other = run.parameters(), _ordered(reference, run).parameters()
        pattern = modes.sign_patterns(mine, other, run.coordinates(), run.fewest)
        signs_found = pattern and modes.finding(run.name, None, pattern, reference.name, thresholds)
        reason = "Fewer than two parameters change sign in the reference, or more than eight."
    if signs_found is None:
        title = titles["coverage.signs"]
        signs_found = _nothing("coverage.signs", run.name, title, Status.NOT_APPLICABLE, reason)
    return [_survivors(run, found), _survivors(run, signs_found)]


def weights_of(run: Run, found: Iterable[Finding], facts: Facts, thresholds: Thresholds) -> Finding:
    """Check the importance weights of a run: of its parameters where kept, of its exact law on v where known."""
    by_check = {finding.check: finding for finding in found}
    sgd = run.kind == "sgd"
    p, q = facts.stationary, facts.posterior
    if sgd and p is not None and q is not None and not facts.collapsed and facts.functional in run.points:
        # On the line both have a density, whatever the parameters do.
        values = run.values[facts.functional][run.keep]
        thinned = np.ravel(values)[:: max(1, int(values.size // max(run.fewest, 1)))]
        logs = q.log_prob(thinned) - p.log_prob(thinned)
        usable = logs[~np.isnan(logs) & ~np.isposinf(logs)]  # draws outside the exact law's support: steps too large
        missed = 0.0
        if facts.side is not None:
            missed = facts.posterior_negative if facts.side > 0 else 1 - facts.posterior_negative
        return _survivors(
            run, importance.khat(run.name, usable, thresholds, functional=facts.functional, missed=missed)
        )
    singular = ""
    dimension = by_check.get("support.dimension")
    if any(measured.trouble == "constant" for measured in run.mixing.values()):
        singular = f"{run.name} is a point mass"
    elif dimension is not None and dimension.status is Status.FAIL:
        singular = f"the law of {run.name} lives on a set of lower dimension than the posterior"
    missing = "The density of SGD is not known for this model." if sgd else "No importance weights were kept with the draws."
    return importance.khat(
        run.name, run.log_weights, thresholds, value=run.khat, singular=singular, missing=missing
    )


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
        return _nothing("law.gap", run.name, title, Status.UNKNOWN, "No chain with finite draws is left.")
    else:
        distance = distances.measure(run.points[facts.functional], points, thresholds.null_quantile)
        # At depth 2 and above that is the law without the prior's decay: see LinearNetwork.law.
        bare = " (without the prior's weight decay)" if len(facts.factors) > 2 else ""
        law = f"exact stationary law of SGD{bare}" if sgd else "exact posterior"
        steps = facts.steps if sgd else None
        finding = laws.gap(run.name, facts.functional, distance, law, thresholds, discrete=sgd, steps=steps)
        return _survivors(run, finding)
    return _nothing("law.gap", run.name, title, Status.NOT_APPLICABLE, reason)


def phase_of(run: Run, facts: Facts, thresholds: Thresholds) -> list[Finding]:
    """Check the temperature of SGD and whether its chains collapse."""
    name = facts.functional
    factors = _factors(run, facts)
    if facts.setting is None:
        reason = facts.missing or "The temperature of this run is not known."
        results = [_nothing("phase.temperature", run.name, "Temperature T / Tc", Status.NOT_APPLICABLE, reason)]
    else:
        results = [phases.temperature(run.name, facts.setting, name)]
    title = f"Collapse to {name or 'v'} = 0"
    if factors is None or len(factors) < 2:
        reason = facts.missing or "Only products of factors can collapse to 0."
        return [*results, _nothing("phase.collapse", run.name, title, Status.NOT_APPLICABLE, reason)]
    if not run.points:
        reason = "No chain with finite draws is left."
        return [*results, _nothing("phase.collapse", run.name, title, Status.UNKNOWN, reason)]
    logs = phases.log_magnitude(run.values[name][run.keep], factors)
    return [*results, _survivors(run, phases.collapse(run.name, logs, thresholds, facts.setting, run.thinning, name))]


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


def _factors(run: Run, facts: Facts) -> list[np.ndarray] | None:
    if not facts.factors or any(name not in run.sites for name in facts.factors) or not run.keep.any():
        return None
    return [run.sites[name][run.keep] for name in facts.factors]


def _ordered(reference: Run, run: Run) -> Run:
    return replace(reference, sites={name: reference.sites[name] for name in run.sites})


def _survivors(run: Run, finding: Finding) -> Finding:
    """Say that chains were left out, and let no check pass on what is left."""
    if run.keep.all() or not run.keep.any() or finding.status is Status.NOT_APPLICABLE:
        return finding
    note = f" (From {int(run.keep.sum())} of {count(len(run.keep), 'chain')}: the others hold NaN or infinite draws.)"
    status = Status.WARN if finding.status is Status.PASS else finding.status
    return replace(finding, status=status, meaning=finding.meaning + note)


def _nothing(check: str, run: str, title: str, status: Status, reason: str) -> Finding:
    return Finding(check=check, run=run, title=title, value=None, threshold=None, status=status, meaning=reason)

"""A run against the reference: distances, modes, and weights from one to the other."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from sgdvi.diagnostics import c2st, distances, importance, joint, modes, predictive, stein
from sgdvi.diagnostics.common import nothing, ordered, survivors, tail_of, worst
from sgdvi.diagnostics.facts import Facts
from sgdvi.diagnostics.findings import Finding, Status
from sgdvi.diagnostics.run import Law, Run
from sgdvi.diagnostics.thresholds import Thresholds


def away(run: Run | Law, reference: Run | Law, facts: Facts, thresholds: Thresholds) -> list[Finding]:
    """Check the distances of a run from the reference on every functional that both have."""
    shared = [name for name in run.points if name in reference.points]
    if not shared:
        reason = "No functional is known of both this run and the reference."
        if (isinstance(run, Run) and not run.points) or not reference.points:
            reason = "No chain with finite draws is left, in this run or in the reference."
        return _no_distances(run.name, Status.UNKNOWN, reason)
    triples = []
    # The null levels are those of all functionals together: among 100 of them one in 100 would be beyond its own.
    quantile = 1 - (1 - thresholds.null_quantile) / len(shared)
    for name in shared:
        points, other = run.points[name], reference.points[name]
        distance = distances.measure(points, other, quantile)
        no_mean, no_variance = (_without(order, name, run, reference, facts, thresholds) for order in (1, 2))
        first = distances.findings(run.name, name, distance, reference.name, thresholds, no_mean=no_mean)
        value, null = (each / distance.unit for each in distances.second_order(points, other, quantile))
        second = distances.second_finding(run.name, name, value, null, reference.name, thresholds, no_variance)
        triples.append((*first, second))
    results = [worst(column) for column in zip(*triples, strict=True)]
    results += _jointly(run, reference, shared, facts, thresholds)
    return [survivors(run, result) for result in results] if isinstance(run, Run) else results


def _without(order: int, name: str, run: Run | Law, reference: Run | Law, facts: Facts, thresholds: Thresholds) -> str:
    """Name the laws that lack the moment of this order."""
    heavy = [side.name for side in (run, reference) if not tail_of(side, name, facts).has_moment(order, thresholds)]
    return " and ".join(dict.fromkeys(heavy))


def _jointly(
    run: Run | Law, reference: Run | Law, names: Sequence[str], facts: Facts, thresholds: Thresholds
) -> list[Finding]:
    mine, other = _rows(run, names, 0), _rows(reference, names, 1)
    if joint.too_few(mine, other):
        reason = "Fewer than 50 effective draws: too few for a permutation test."
        return [
            nothing(f"distance.{name}", run.name, title, Status.UNKNOWN, reason) for name, title in joint.NAMES.items()
        ]
    heavy = [_without(1, name, run, reference, facts, thresholds) for name in names]
    gaps = joint.measure(mine, other, thresholds.null_quantile)
    no_mean = next(filter(None, heavy), "")
    return joint.findings(run.name, list(names), gaps, reference.name, thresholds, no_mean)


def _rows(side: Run | Law, names: Sequence[str], seed: int) -> np.ndarray:
    """Return draws of the functionals side by side, as many as they are worth, shape (n, d)."""
    if isinstance(side, Law):
        values = side.points[names[0]].values
        chosen = np.random.default_rng(seed).choice(values, joint.MOST_POINTS, replace=False)
        return chosen[:, None]
    values = np.stack([side.values[name][side.keep] for name in names], axis=-1)
    return joint.thin(values, side.fewest)


def stein_of(run: Run, facts: Facts, law_name: str, thresholds: Thresholds) -> Finding:
    """Check the Stein discrepancy of a run from the exact posterior, where its density is known."""
    law, points, name = facts.posterior, facts.posterior_points, facts.functional
    title = "Kernel Stein discrepancy (KSD)"
    if law is None or points is None or facts.stein_null is None:
        reason = facts.missing or facts.improper or "Needs a posterior with a known density on a functional."
        return nothing("distance.ksd", run.name, title, Status.NOT_APPLICABLE, reason)
    if name not in run.points:
        return nothing("distance.ksd", run.name, title, Status.UNKNOWN, "No chain with finite draws is left.")
    # Half as many as the draws are worth: the null level is that of independent ones.
    values = joint.thin(run.values[name][run.keep][..., None], run.points[name].effective / 2)[:, 0]
    gap = stein.on_line(values, points, law.log_prob, facts.stein_null, thresholds.null_quantile)
    return survivors(run, stein.finding(run.name, name, gap, law_name, thresholds))


def classified(run: Run, reference: Run | Law, wanted: bool, thresholds: Thresholds) -> Finding:
    """Check by a classifier whether draws of the functionals can be told from those of the reference."""
    title = "Classifier two-sample test (C2ST)"
    shared = [name for name in run.points if name in reference.points]
    if not wanted or not c2st.available():
        reason = "On request: compare(..., classifier=True)."
        if wanted:
            reason = "Needs scikit-learn: pip install 'sgdvi[c2st]'."
        return nothing("distance.c2st", run.name, title, Status.NOT_APPLICABLE, reason)
    mine, other = (_rows(side, shared, k) for k, side in enumerate((run, reference))) if shared else (np.empty(0),) * 2
    if not shared or joint.too_few(mine, other):
        return nothing("distance.c2st", run.name, title, Status.UNKNOWN, "Too few effective draws.")
    return survivors(run, c2st.finding(run.name, *c2st.accuracy(mine, other), reference.name, thresholds))


def predictions_of(run: Run, reference: Run | Law | None, thresholds: Thresholds) -> list[Finding]:
    """Check what the run predicts, beside the reference and against the data."""
    other = reference.log_likelihood if isinstance(reference, Run) else None
    against = reference.name if reference is not None else ""
    return [
        predictive.loo(run.name, run.log_likelihood, other, against, thresholds),
        predictive.coverage(run.name, run.predicted, run.observed, thresholds),
    ]


def no_distances(run: Run, facts: Facts) -> list[Finding]:
    """Say that there is nothing to measure distances from."""
    return _no_distances(run.name, Status.NOT_APPLICABLE, facts.improper or "There is no reference to compare with.")


def _no_distances(run: str, status: Status, reason: str) -> list[Finding]:
    titles = {
        "w1": "Wasserstein distance (W1)",
        "ks": "Kolmogorov distance (KS)",
        "w2": "Wasserstein distance (W2)",
        **joint.NAMES,
    }
    return [nothing(f"distance.{name}", run, title, status, reason) for name, title in titles.items()]


def spoil(finding: Finding, trouble: str) -> Finding:
    """Turn a distance from a reference that cannot be relied on into one that says nothing."""
    return replace(
        finding, status=Status.UNKNOWN, meaning=f"{trouble} Measured against it: {finding.meaning}", advice=""
    )


def coverage_of(run: Run, reference: Run | Law | None, thresholds: Thresholds) -> list[Finding]:
    """Check that a run has met every mode of the reference, on the functionals and over the signs of the parameters."""
    titles = {"coverage.modes": "Modes that are missed", "coverage.signs": "Sign patterns that are missed"}
    if reference is None or not run.points or not reference.points:
        status = Status.NOT_APPLICABLE if run.points else Status.UNKNOWN
        reason = "There is no reference to compare with." if run.points else "No usable chain is left."
        return [nothing(check, run.name, title, status, reason) for check, title in titles.items()]
    each = [
        modes.finding(run.name, name, modes.on_functional(points, reference.points[name]), reference.name, thresholds)
        for name, points in run.points.items()
        if name in reference.points
    ]
    reason = "No functional is known of both this run and the reference."
    found = (
        worst(each) if each else nothing("coverage.modes", run.name, titles["coverage.modes"], Status.UNKNOWN, reason)
    )
    pattern, reason = None, "Needs a reference with draws of the same parameters."
    if isinstance(reference, Run) and set(reference.sites) == set(run.sites) and reference.keep.any():
        mine, other = run.parameters(), ordered(reference, run).parameters()
        pattern = modes.sign_patterns(mine, other, run.coordinates(), run.fewest)
        reason = "Fewer than two parameters change sign in the reference, or more than eight."
    if pattern is None:
        signs_found = nothing("coverage.signs", run.name, titles["coverage.signs"], Status.NOT_APPLICABLE, reason)
    else:
        signs_found = modes.finding(run.name, None, pattern, reference.name, thresholds)
    return [survivors(run, found), survivors(run, signs_found)]


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
        found_khat = importance.khat(
            run.name, usable, thresholds, functional=facts.functional, missed=facts.missed_mass
        )
        return survivors(run, found_khat)
    singular = ""
    dimension = by_check.get("support.dimension")
    if any(measured.trouble == "constant" for measured in run.mixing.values()):
        singular = f"{run.name} is a point mass"
    elif dimension is not None and dimension.status is Status.FAIL:
        singular = f"the law of {run.name} lives on a set of lower dimension than the posterior"
    missing = (
        "The density of SGD is not known for this model." if sgd else "No importance weights were kept with the draws."
    )
    return importance.khat(run.name, run.log_weights, thresholds, value=run.khat, singular=singular, missing=missing)

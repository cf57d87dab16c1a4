"""Are components exchanged, such as those of a mixture? Then chains differ by labels that mean nothing."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sgdvi._internal.text import listed, number
from sgdvi.diagnostics.case import Case
from sgdvi.diagnostics.declare import NO_DRAWS, Outcome, Skip, check
from sgdvi.diagnostics.distances import kolmogorov, ks, w1
from sgdvi.diagnostics.findings import Details, Status
from sgdvi.diagnostics.measures import is_discrete, mixing_of
from sgdvi.diagnostics.mixing import rhat
from sgdvi.diagnostics.run import Run

_MOST_COMPONENTS = 10
# Distances of the laws of single components: beyond the first labels are seen to differ, below the second not.
_APART, _TOGETHER = 0.2, 0.1


@dataclass(frozen=True)
class Labelled:
    """How chains, and run and reference, differ over the components of sites: worst R-hat, worst KS."""

    rhat: float
    ks: float


def _groups(run: Run) -> Iterator[dict[str, np.ndarray]]:
    """Yield the sites that have one axis of as many components, of the usable chains, (chain, draw, K)."""
    by_size: dict[int, dict[str, np.ndarray]] = {}
    for name, site in run.sites.items():
        if site.ndim == 3 and 2 <= site.shape[2] <= _MOST_COMPONENTS and not is_discrete(site):
            by_size.setdefault(site.shape[2], {})[name] = site[run.keep]
    yield from by_size.values()


def _in_order(sites: dict[str, np.ndarray], key: str) -> dict[str, np.ndarray]:
    """Return the sites with their components in the order of those of one of them, draw by draw."""
    order = np.argsort(sites[key], axis=-1, kind="stable")
    return {name: np.take_along_axis(site, order, axis=-1) for name, site in sites.items()}


def _labelled(run: dict[str, np.ndarray], reference: dict[str, np.ndarray] | None) -> Labelled:
    rhats, gaps = [1.0], [0.0]
    for name, site in run.items():
        for k in range(site.shape[2]):
            rhats.append(mixing_of(site[..., k]).rhat if len(site) > 1 else 1.0)
            if reference is not None:
                gaps.append(kolmogorov(*(np.sort(each[name][..., k], axis=None) for each in (run, reference))))
    return Labelled(float(np.nanmax(rhats)), max(gaps))


@check(
    "symmetry.labels",
    "Exchanged labels",
    "Stephens 2000, J. R. Stat. Soc. B 62, 795 (label switching): components in order have no labels.",
    thresholds=("rhat_fail",),
    kinds=("compared", "reference"),
    of_chains=False,
)
def labels(case: Case) -> Outcome:
    """Components have the same labels in all chains, and in the reference."""
    run, limit = case.draws, case.limits.rhat_fail
    if not run.keep.any():
        raise Skip(NO_DRAWS, Status.UNKNOWN)
    other = case.reference if isinstance(case.reference, Run) and case.reference is not run else None
    looked = False
    for sites in _groups(run):
        held = other.keep.any() if other is not None else False
        its = {name: other.sites[name][other.keep] for name in sites if name in other.sites} if other and held else {}
        reference = its if set(its) == set(sites) and all(its[s].shape[2:] == sites[s].shape[2:] for s in its) else None
        looked, raw = True, _labelled(sites, reference)
        if raw.rhat <= limit and raw.ks <= _APART:
            continue
        for key in sites:
            ordered = _labelled(_in_order(sites, key), None if reference is None else _in_order(reference, key))
            # the gain has to be large: components that merely differ are no more alike in order
            if ordered.rhat <= limit and ordered.ks <= _TOGETHER and (raw.rhat > limit or raw.ks > 2 * ordered.ks):
                return _exchanged(case, list(sites), key, raw, ordered, None if reference is None else other)
    if not looked:
        raise Skip("No site has from 2 to 10 components side by side.")
    return Outcome(Status.PASS, "No exchanged labels: no chains differ by the order of components alone.")


def _exchanged(case: Case, sites: list[str], key: str, raw: Labelled, ordered: Labelled, other: Run | None) -> Outcome:
    sides = f"the chains of {case.run.name} agree (R-hat {number(ordered.rhat)}, by label {number(raw.rhat)})"
    if other is not None:
        sides += f", and {case.run.name} is {number(ordered.ks)} away from {other.name} (KS, by label {number(raw.ks)})"
    meaning = f"The components of {listed(sites)} are exchangeable and their labels exchanged: in the order of {key} "
    meaning += f"{sides}."
    status, code = Status.WARN, f"lambda draws: draws[{key!r}].copy(data=numpy.sort(draws[{key!r}].values, axis=-1))"
    advice = f"Compare functionals that do not see the labels: functionals={{'{key} in order': {code}}}"
    if all(check(case).status in (Status.PASS, Status.NOT_APPLICABLE) for check in (rhat, w1, ks)):
        meaning, status, advice = f"{meaning} The functionals that are compared do not see it.", Status.PASS, ""
    details: Details = {
        "exchanged": True,
        "site": key,
        "rhat_by_label": raw.rhat,
        "ks_by_label": raw.ks,
        "ks_in_order": ordered.ks,
    }
    return Outcome(status, meaning, ordered.rhat, case.limits.rhat_fail, advice, details)

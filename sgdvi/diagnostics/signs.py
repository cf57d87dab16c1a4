"""Signs: of the factors (an orbit that changes nothing in the fit) and of the functional (mass that is missed)."""

import math
from collections.abc import Sequence

import numpy as np

from sgdvi._internal.text import count, listed, percent
from sgdvi.diagnostics.case import Case
from sgdvi.diagnostics.declare import Outcome, Skip, check
from sgdvi.diagnostics.findings import Status
from sgdvi.diagnostics.thresholds import ZIYIN

# Fewer draws than this are expected on a sign before its absence means anything.
_FEWEST_EXPECTED = 5


@check(
    "sign.factors",
    "Signs of the factors",
    f"{ZIYIN}: SGD keeps the signs of u + w and u - w. NUTS gets stuck in these orbits, too.",
    kinds=("compared", "reference"),
    of_chains=False,
    always=True,
    in_parameters=True,
)
def factors(case: Case) -> Outcome:
    """The chains move between (u, w) and (-u, -w), which have the same posterior density.

    The first factor's sign tells the two halves of the orbit apart; for several units every unit has its own orbit.
    """
    draws, names = case.factors, case.facts.factors
    if draws is None or len(draws) < 2:
        raise Skip(case.facts.missing or "There is no pair of factors whose signs could be exchanged.")
    first = np.sign(np.asarray(draws[0], dtype=np.float64).reshape(*draws[0].shape[:2], -1))
    chains, _, units = first.shape
    locked = (first[:, 1:] * first[:, :-1] < 0).sum(axis=1) == 0
    positive = float((first > 0).mean())
    both = all(0 < (first[:, :, unit] > 0).mean() < 1 for unit in range(units))
    orbit = f"({', '.join(names)}) and ({', '.join(f'-{name}' for name in names)})"
    if len(names) > 2:
        orbit = "a draw and the same draw with two factors' signs flipped"
    equally = f"{orbit[0].upper() + orbit[1:]} are equally probable, but"
    advice = f"Read only the product of {listed(names)}, which does not depend on these signs."
    if not locked.any():
        status, advice = Status.PASS, ""
        meaning = f"The chains move between {orbit}: {percent(positive)} of the draws have {names[0]} > 0."
    elif both:
        status, whose = Status.WARN, "of all units " if units > 1 else ""
        meaning = f"{equally} chains stay in one half {whose}for the whole run ({count(int(locked.sum()), 'sign')} of "
        meaning += f"{locked.size} never change). The shares, {percent(positive)} with {names[0]} > 0, come from the "
        meaning += "starts."
    else:
        # A reference is used on functionals only.
        status = Status.WARN if "reference" in case.kinds else Status.FAIL
        meaning = f"{equally} {'' if units == 1 else 'for some units '}all {chains} chains have the same sign of "
        meaning += f"{names[0]} throughout: half of the posterior's mass is missing."
    starts = int((first[:, 0] > 0).sum(axis=0)[0])
    details = {"locked": int(locked.sum()), "signs": int(locked.size), "starts_positive": starts, "chains": chains}
    return Outcome(status, meaning, positive, None, advice, details)


def _held(case: Case) -> Sequence[str]:
    """Return the functionals whose posterior mass below 0 is known, by its law or by draws."""
    run, reference, facts = case.draws, case.reference, case.facts
    exact = {facts.functional} if not math.isnan(facts.posterior_negative) else set()
    names = [name for name in run.points if name in exact or (reference is not None and name in reference.points)]
    if not run.points:
        raise Skip(facts.improper or "No usable chain is left.", Status.UNKNOWN)
    if not names:
        raise Skip(facts.improper or "There is no posterior to compare with.")
    return names


@check(
    "sign.functional",
    "Posterior mass missed at the other sign",
    f"{ZIYIN}: the stationary law covers one sign.",
    thresholds=("missing_mass_warn", "missing_mass_fail"),
    each=_held,
    always=True,
    on_functional=True,
)
def functional(case: Case, name: str) -> Outcome:
    """Little posterior mass lies on a sign of the functional that the run does not cover."""
    run, facts = case.draws, case.facts
    share, side = float((run.points[name].values < 0).mean()), None
    if name == facts.functional and not math.isnan(facts.posterior_negative):
        negative, against, side = facts.posterior_negative, "the posterior", facts.side if case.sgd else None
    else:
        other = case.other
        negative, against = float((other.points[name].values < 0).mean()), f"the draws of {other.name}"
    return _missed(case, name, share, negative, against, side)


def _missed(case: Case, name: str, share: float, negative: float, against: str, side: int | None) -> Outcome:
    """Judge the mass below 0 of a run beside that of the posterior; ``side`` is the sign its exact law covers."""
    forever = "none of its draws does" if side is None else "no run of any length gets there"
    if side is None:
        side = 1 if share == 0 else -1 if share == 1 else 0
        expected = {1: negative, -1: 1 - negative, 0: 1.0}[side] * case.draws.points[name].effective
        # a sign that so many draws would hardly have met counts as covered
        side = 0 if expected < _FEWEST_EXPECTED else side
    value, limits, run = {1: negative, -1: 1 - negative, 0: 0.0}[side], case.limits, case.run.name
    details = {"negative_share": share, "posterior_negative": negative, "covered_side": side}
    title, limit = f"Posterior mass missed at the other sign of {name}", limits.missing_mass_warn
    if math.isnan(share) or math.isnan(negative):
        meaning = f"The sign of {name} cannot be compared: there are no finite draws."
        return Outcome(Status.UNKNOWN, meaning, math.nan, limit, details=details, title=title)
    if side == 0:
        meaning = f"No sign of {name} is missed: {percent(share)} of the draws of {run} are below 0, "
        meaning += f"{percent(negative)} of {against}."
        return Outcome(Status.PASS, meaning, value, limit, details=details, title=title)
    covered, missed = (">", "<") if side > 0 else ("<", ">")
    meaning = f"{run} only covers {name} {covered} 0; {percent(value)} of {against} lies at {name} {missed} 0"
    if value < limit:
        return Outcome(Status.PASS, f"{meaning} (too little to matter).", value, limit, details=details, title=title)
    status = Status.WARN if value < limits.missing_mass_fail else Status.FAIL
    advice = f"Do not use {run} for the probability that {name} {missed} 0, nor for intervals that would contain 0."
    return Outcome(status, f"{meaning}, and {forever}.", value, limit, advice, details, title=title)

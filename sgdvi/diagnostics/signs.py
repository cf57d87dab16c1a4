"""Signs: of the factors (an orbit that changes nothing in the fit) and of the functional (mass that is missed)."""

import math
from collections.abc import Sequence

import numpy as np

from sgdvi._internal.text import count, listed, percent
from sgdvi.diagnostics.findings import Finding, Status
from sgdvi.diagnostics.thresholds import ZIYIN, Thresholds

# Fewer draws than this are expected on a sign before its absence means anything.
_FEWEST_EXPECTED = 5


def factor_signs(run: str, factors: Sequence[np.ndarray], names: Sequence[str]) -> Finding:
    """Check whether the chains move between (u, w) and (-u, -w), which have the same posterior density.

    Each of `factors` is (chain, draw) or (chain, draw, unit). The first factor's sign tells the two halves of the
    orbit apart; for several units every unit has its own orbit.
    """
    first = np.sign(np.asarray(factors[0], dtype=np.float64).reshape(*factors[0].shape[:2], -1))
    changes = (first[:, 1:] * first[:, :-1] < 0).sum(axis=1)
    locked = changes == 0
    start_positive = (first[:, 0] > 0).sum(axis=0)
    chains, _, units = first.shape
    share_positive = float((first > 0).mean())
    both = [bool(0 < (first[:, :, unit] > 0).mean() < 1) for unit in range(units)]
    orbit = (
        f"({', '.join(names)}) and ({', '.join('-' + name for name in names[:2])}{', ...' if len(names) > 2 else ''})"
    )
    if len(names) > 2:
        orbit = "a draw and the same draw with two factors' signs flipped"
    advice = f"Read only the product of {listed(names)}, which does not depend on these signs."
    whose = "of all units " if units > 1 else ""
    if not locked.any():
        status, advice = Status.PASS, ""
        meaning = f"The chains move between {orbit}: {percent(share_positive)} of the draws have {names[0]} > 0."
    elif all(both):
        status = Status.WARN
        meaning = (
            f"{orbit[0].upper() + orbit[1:]} are equally probable, but chains stay in one half {whose}for the "
            "whole run "
            f"({count(int(locked.sum()), 'sign')} of {locked.size} never change). The shares, "
            f"{percent(share_positive)} with "
            f"{names[0]} > 0, come from the starts."
        )
    else:
        status = Status.FAIL
        meaning = (
            f"{orbit[0].upper() + orbit[1:]} are equally probable, but "
            + (f"all {chains} chains" if units == 1 else f"for some units all {chains} chains")
            + f" have the same sign of {names[0]} throughout: half of the posterior's mass is missing."
        )
    return Finding(
        check="sign.factors",
        run=run,
        title="Signs of the factors",
        value=share_positive,
        threshold=None,
        status=status,
        meaning=meaning,
        advice=advice,
        source=f"{ZIYIN}: SGD keeps the signs of u + w and u - w. NUTS gets stuck in these orbits, too.",
        details={
            "locked": int(locked.sum()),
            "signs": int(locked.size),
            "starts_positive": int(start_positive[0]),
            "chains": chains,
        },
    )


def missing_sign(
    run: str,
    functional: str,
    negative_share: float,
    posterior_negative: float,
    against: str,
    thresholds: Thresholds,
    side: int | None = None,
    effective: float = math.inf,
) -> Finding:
    """Check how much posterior mass lies on a sign of the functional that the run does not cover.

    Parameters
    ----------
    run, functional
        Names.
    negative_share
        Share of the run's draws below 0; nan where it has none that are finite.
    posterior_negative
        Posterior probability that the functional is below 0.
    against
        What that probability comes from.
    thresholds
        The thresholds.
    side
        Sign (1 or -1) that the run's exact law covers, or None to go by the draws.
    effective
        Effective draws: a sign that so many draws would hardly have met counts as covered if `side` is None.
    """
    by_law = side is not None
    if side is None:
        side = 1 if negative_share == 0 else -1 if negative_share == 1 else 0
        rare = {1: posterior_negative, -1: 1 - posterior_negative, 0: 1.0}[side] * effective < _FEWEST_EXPECTED
        side = 0 if rare else side
    missing = {1: posterior_negative, -1: 1 - posterior_negative, 0: 0.0}[side]
    if np.isnan(negative_share) or np.isnan(posterior_negative):
        missing = float("nan")
    relation = "<" if side > 0 else ">"
    advice = ""
    if np.isnan(missing):
        status, meaning = Status.UNKNOWN, f"The sign of {functional} cannot be compared: there are no finite draws."
    elif side == 0:
        status = Status.PASS
        meaning = (
            f"No sign of {functional} is missed: {percent(negative_share)} of the draws of {run} are below 0, "
            f"{percent(posterior_negative)} of {against}."
        )
    else:
        small = missing < thresholds.missing_mass_warn
        status = Status.PASS if small else Status.WARN if missing < thresholds.missing_mass_fail else Status.FAIL
        meaning = (
            f"{run} only covers {functional} {'>' if side > 0 else '<'} 0; {percent(missing)} of {against} lies "
            f"at {functional} {relation} 0"
        )
        forever = "no run of any length gets there" if by_law else "none of its draws does"
        meaning += " (too little to matter)." if small else f", and {forever}."
        if not small:
            advice = (
                f"Do not use {run} for the probability that {functional} {relation} 0, nor for intervals that "
                "would contain 0."
            )
    return Finding(
        check="sign.functional",
        run=run,
        functional=functional,
        title=f"Posterior mass missed at the other sign of {functional}",
        value=missing,
        threshold=thresholds.missing_mass_warn,
        status=status,
        meaning=meaning,
        advice=advice,
        source=f"{ZIYIN}: the stationary law covers one sign.",
        details={"negative_share": negative_share, "posterior_negative": posterior_negative, "covered_side": side},
    )

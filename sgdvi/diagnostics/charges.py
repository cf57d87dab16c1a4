"""Checks of the law of balance: directions without noise, drift of the charges, noise balance, norm ratios."""

import numpy as np

from sgdvi._internal.text import count, number, percent
from sgdvi.diagnostics.declare import Outcome, Skip, check
from sgdvi.diagnostics.findings import Finding, Status
from sgdvi.diagnostics.thresholds import ZIYIN, Thresholds

# A ratio further than this beyond its bound, in standard errors, is not there by chance.
_RATIO_ERRORS = 3


@check("balance.directions", "Directions without noise", ZIYIN, question="same", kinds=())
def directions(hidden: int, total: int) -> Outcome:
    """Say in how many directions the noise of SGD never acts: one for every charge.

    Parameters
    ----------
    hidden
        Number of charges: functions of the parameters that move without noise.
    total
        Number of parameters that the loss uses.
    """
    if hidden:
        meaning = (
            f"The loss has {count(hidden, 'charge')} on which the noise of SGD never acts: it acts in "
            f"{total - hidden:,} of {total:,} directions, and a posterior with a density spreads in all."
        )
        advice = "Compare functions that the symmetries leave as they are, or sample the quotient."
    else:
        meaning, advice = f"No scaling symmetry: the noise of SGD acts in all {total:,} directions.", ""
    return Outcome(
        value=float(hidden),
        threshold=0.0,
        status=Status.WARN if hidden else Status.PASS,
        meaning=meaning,
        advice=advice,
        details={"directions": total, "left": total - hidden},
    )


@check(
    "balance.drift",
    "Drift of the charges, standard errors",
    f"law of balance, {ZIYIN}; 5 standard errors",
    question="arrive",
    thresholds=("drift_errors",),
    kinds=(),
)
def drift(
    names: list[str], z: np.ndarray, thresholds: Thresholds, note: str = "", *, momentum: bool = False
) -> Outcome:
    """Check the measured drift of the charges against the predicted one.

    Parameters
    ----------
    names
        Names of the symmetries.
    z
        Measured less predicted drift in standard errors, one for each symmetry; nan where it is not known.
    thresholds
        Limits.
    note
        Why there is no prediction, or what makes it approximate.
    momentum
        Whether the optimizer has momentum: the prediction is then that of small steps.
    """
    finite = np.flatnonzero(np.isfinite(z))
    if not finite.size:
        reason = note or "Too few draws to tell."
        raise Skip(reason, Status.UNKNOWN)
    worst = int(finite[np.abs(z[finite]).argmax()])
    value, limit = abs(float(z[worst])), thresholds.drift_errors
    agrees = value <= limit
    of = count(int(finite.size), "charge")
    verdict = "as the law of balance says" if agrees else "not as the law of balance says"
    meaning = f"The mean drift of {of} is {verdict}: at most {number(value)} standard errors apart, at {names[worst]}."
    advice = ""
    if not agrees:
        advice = "Is this plain SGD of this loss, with this rate and batch size? Adam differs."
        if momentum:
            advice = (
                "With momentum the law holds where eta times the curvature is far below 1 - mu: a smaller eta shows it."
            )
    failed = Status.WARN if momentum else Status.FAIL
    return Outcome(
        value=value,
        threshold=limit,
        status=Status.PASS if agrees else failed,
        meaning=f"{meaning} {note}".strip(),
        advice=advice,
        details={"symmetry": names[worst], "charges": int(finite.size)},
    )


@check("balance.noise", "Noise balance", ZIYIN, question="arrive", thresholds=("noise_imbalance",), kinds=())
def noise(
    names: list[str], terms: np.ndarray, thresholds: Thresholds, *, of: str, decays: bool = False, note: str = ""
) -> Outcome:
    """Check whether both sides of every rescaling pull alike: whether SGD has come to rest along it.

    Parameters
    ----------
    names
        Names of the rescalings.
    terms
        The two noise terms, with what weight decay adds to each, shape (2, S), averaged over the end of the run; nan
        where they are not known.
    thresholds
        Limits.
    of
        Name of the run, for the words.
    decays
        Whether there is weight decay.
    note
        Why terms are not known.
    """
    total = terms.sum(axis=0)
    usable = np.flatnonzero(np.isfinite(total) & (total > 0))
    if not usable.size:
        if np.isnan(total).any():
            raise Skip(note, Status.UNKNOWN)
        reason = "There is no rescaling symmetry with gradient noise."
        raise Skip(reason)
    apart = np.abs(terms[0] - terms[1])[usable] / total[usable]
    worst = int(apart.argmax())
    value, limit = float(apart[worst]), thresholds.noise_imbalance
    share = float((apart <= limit).mean())
    rest = value <= limit
    what = "What noise and weight decay pull to either side differs" if decays else "The two noise terms differ"
    meaning = f"{what} by at most {percent(value)} of the sum, at {names[usable[worst]]}. " + (
        f"{of} has come to rest along the orbits of {count(int(usable.size), 'rescaling')}."
        if rest
        else f"{percent(share) if share else 'None'} of {count(int(usable.size), 'rescaling')} "
        f"{'are' if share else 'is'} balanced; along {'the rest' if share else 'them'} it still drifts."
    )
    return Outcome(
        value=value,
        threshold=limit,
        status=Status.PASS if rest else Status.WARN,
        meaning=meaning,
        advice="" if rest else "Run longer, or start from Symmetry.balanced_point.",
        details={"symmetry": names[usable[worst]], "median": float(np.median(apart)), "share balanced": share},
    )


@check("balance.ratio", "Norm ratios within their bounds", ZIYIN, question="arrive", kinds=())
def ratios(
    names: list[str],
    ratio: np.ndarray,
    error: np.ndarray,
    bounds: np.ndarray,
    beyond: np.ndarray,
    *,
    points: int,
    decays: bool = False,
) -> Outcome:
    """Check whether the norm ratios ||u||^2/||w||^2 lie within the bounds that hold at rest.

    Parameters
    ----------
    names
        Names of the rescalings.
    ratio, error
        Ratios of the norms' means over the end of the run, and their standard errors, shape (S,); nan: not known.
    bounds
        Lower and upper bounds, shape (2, S); nan where they were not computed.
    beyond
        By how many standard errors the ratios lie outside the bounds, widened by `slack`, shape (S,).
    points
        Number of points that the bounds rest on.
    decays
        Whether there is weight decay.
    """
    finite = np.flatnonzero(np.isfinite(bounds[0]) & np.isfinite(ratio))
    if not finite.size:
        reason = "No bounds: no rescaling with exponents 1 and -1 and with gradient noise."
        raise Skip(reason)
    inside = beyond <= _RATIO_ERRORS
    value = float(inside[finite].mean())
    fits = value == 1.0
    meaning = (
        f"Over the second half of all chains the norm ratios of {percent(value) if value else 'none'} of "
        f"{count(int(finite.size), 'rescaling')} lie, to {_RATIO_ERRORS} standard errors, within the bounds at balance "
        f"{'of noise and weight decay' if decays else 'of the noise'}, read at {count(points, 'point')}"
    )
    details: dict[str, float | str] = {"points": points}
    if not fits:
        first = next(place for place in finite if not inside[place])
        error_text = f" ± {number(error[first])}" if np.isfinite(error[first]) else ""
        low, high = (number(bound) for bound in bounds[:, first])
        meaning += f"; not that of {names[first]}, {number(ratio[first])}{error_text}, bounds {low} to {high}"
        details["symmetry"] = names[first]
    return Outcome(
        value=value,
        threshold=1.0,
        status=Status.PASS if fits else Status.WARN,
        meaning=f"{meaning}.",
        advice="" if fits else "It is not balanced there yet: a longer run may do it.",
        details=details,
    )


def slack(thresholds: Thresholds) -> float:
    """Return (1 + a)/(1 - a): so far the bounds move where the noise terms differ by the share a of their sum."""
    return (1 + thresholds.noise_imbalance) / (1 - thresholds.noise_imbalance)


def without_symmetry(run: str, reason: str = "The loss has no scaling symmetry, hence no charge.") -> list[Finding]:
    """Say that drift, noise balance and norm ratios do not apply."""
    return [declared.skipped(run, Skip(reason)) for declared in (drift, noise, ratios)]


def not_measured(run: str, reason: str) -> Finding:
    """Say why the symmetries of the model are not known."""
    return directions.skipped(run, Skip(reason, Status.UNKNOWN))

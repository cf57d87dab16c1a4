"""Are the draws usable at all: finite, moving, and did any chain overflow?"""

from collections.abc import Iterator, Mapping

import numpy as np

from sgdvi._internal.text import count, number, percent
from sgdvi.diagnostics.case import Case
from sgdvi.diagnostics.declare import NO_DRAWS, Outcome, check
from sgdvi.diagnostics.findings import Details, Status
from sgdvi.diagnostics.measures import is_discrete, num_distinct

_MOST_POINTS = 20_000
_MOST_NAMED = 5


@check(
    "draws.finite",
    "Finite draws",
    "A NaN makes every comparison with a threshold false, so it has to be looked for first.",
    question="arrive",
    kinds=("draws",),
    of_chains=False,
    gate=True,
    first=True,
)
def finite(case: Case) -> Outcome:
    """No draw is NaN or infinite."""
    arrays, columns = _arrays(case), case.draws.columns
    # most are seen to be finite by their least and largest values
    doubtful = {name for name in arrays if not (name in columns.sites and np.isfinite(columns.range_of(name)).all())}
    bad = {name: int((~np.isfinite(array)).sum()) if name in doubtful else 0 for name, array in arrays.items()}
    total, size = sum(bad.values()), sum(array.size for array in arrays.values())
    share = total / size if size else float("nan")
    details: Details = {"non_finite": total, "values": size}
    if total == 0:
        status = Status.PASS if size else Status.FAIL
        return Outcome(status, f"All {size:,} values are finite.", share, 0.0, details=details)
    meaning = f"{total:,} of {size:,} values are NaN or infinite (most in {max(bad, key=lambda name: bad[name])})."
    advice = "Chains with such draws are left out of the numbers below. "
    advice += "Lower the learning rate." if case.sgd else "Look at what wrote them."
    return Outcome(Status.FAIL, meaning, share, 0.0, advice, details)


@check(
    "draws.distinct",
    "Distinct draws",
    "Ranks survive rounding, so R-hat does not notice it.",
    question="arrive",
    thresholds=("distinct_fail",),
    kinds=("draws",),
    of_chains=False,
    gate=True,
    first=True,
)
def distinct(case: Case) -> Outcome:
    """The draws move: share of distinct values of the worst coordinate, and chains that stand still."""
    shares, stuck = {}, 0
    for name, values in _moving(case):
        stuck = max(stuck, int((np.ptp(values, axis=1) == 0).sum()))
        step = max(1, values.size // _MOST_POINTS)
        if is_discrete(values) and np.ptp(values) > 0:
            shares[name] = (1.0, num_distinct(np.sort(values, axis=None)))  # counts repeat
            continue
        in_order = step == 1 and case.draws.keep.all()
        points = case.draws.ranked[name].ordered if in_order else np.sort(values.reshape(-1)[::step])
        different = num_distinct(points)
        shares[name] = (different / points.size, different)
    limit = case.limits.distinct_fail
    if not shares and case.draws.still:
        held = ", ".join(sorted(case.draws.still)[:_MOST_NAMED])
        return Outcome(Status.PASS, f"All runs hold {held} at one value.", 1.0, limit)
    if not shares:
        return Outcome(Status.UNKNOWN, NO_DRAWS, float("nan"), limit, details={"coordinate": "", "stuck_chains": 0})
    name = min(shares, key=lambda name: shares[name][0])
    share, different = shares[name]
    status, advice = Status.FAIL, ""
    if different == 1:
        meaning = f"All draws of {name} are equal: this is a point mass, not a spread-out law."
        advice = "Raise the learning rate if it is 0 or below the rounding of the numbers." if case.sgd else ""
    elif stuck:
        meaning = f"{count(stuck, 'chain')} never moved from one value."
        advice = "Start these chains elsewhere, or use jax.enable_x64 if they move by less than the rounding."
    elif share < limit:
        meaning = f"Only {different:,} different values of {name} among the draws ({percent(share)})."
        advice = "Typical of float32 with a mean much larger than the spread: use jax.enable_x64, or centre the data."
    else:
        status, meaning = Status.PASS, f"The draws are distinct (worst: {name}, {percent(share)} different)."
    aside = _standing(case)
    if status is Status.PASS and aside:
        meaning += f" {count(aside, 'coordinate')} of the parameters never moved, which no functional shows."
    return Outcome(status, meaning, share, limit, advice, {"coordinate": name, "stuck_chains": stuck})


@check(
    "chains.overflow",
    "Overflowed chains",
    "A diverged chain is a result, not a draw: it is counted, never averaged in.",
    question="arrive",
    thresholds=("overflow_fail",),
    kinds=("recorded",),
    of_chains=False,
    first=True,
)
def overflow(case: Case) -> Outcome:
    """No chain overflowed."""
    run, limit = case.draws, case.limits.overflow_fail
    lost = ~run.keep if run.overflowed is None else run.overflowed
    steps = [] if run.steps is None else [int(step) for step in run.steps[lost] if step >= 0]
    total, share = len(lost), float(lost.mean()) if len(lost) else float("nan")
    details: Details = {"overflowed": int(lost.sum()), "chains": total, "first_step": min(steps, default=None)}
    details["recorded"] = run.overflowed is not None
    if not lost.any():
        return Outcome(Status.PASS, f"None of {count(total, 'chain')} overflowed.", share, limit, details=details)
    first = f", the first at step {number(min(steps))}" if steps else ""
    meaning = f"{lost.sum()} of {count(total, 'chain')} overflowed{first}. The other numbers are those of the chains "
    advice = "Lower the learning rate. With unbounded inputs an overflow comes sooner or later at any rate: state "
    status = Status.FAIL if share > limit else Status.WARN
    return Outcome(status, meaning + "that survived.", share, limit, advice + "the horizon.", details)


def _arrays(case: Case) -> Mapping[str, np.ndarray]:
    run = case.draws
    return {**run.sites, **{name: values for name, values in run.values.items() if name not in run.sites}}


def _moving(case: Case) -> Iterator[tuple[str, np.ndarray]]:
    """Yield name and finite chains of every functional but those that all runs hold at one value.

    Of a reference also not those that it holds at one value while others move: what is fixed is known.
    """
    run = case.draws
    reference = "reference" in case.kinds and any(np.ptp(values) > 0 for values in run.values.values())
    for name, values in run.values.items():
        values = values[np.isfinite(values).all(axis=1)]
        known = name in run.still or (reference and values.size and np.ptp(values) == 0)
        if values.size and not known:
            yield name, values


def _standing(case: Case) -> int:
    """Return how many coordinates of the parameters stand still although no functional shows it."""
    run = case.draws
    shown = np.zeros(run.columns.size, bool)
    for place, name in enumerate(run.sites):
        shown[run.columns.starts[place] : run.columns.starts[place + 1]] = name in run.values
    return int((run.columns.still & ~shown)[run.free_columns].sum())

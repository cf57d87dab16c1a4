"""Are the draws usable at all: finite, moving, and did any chain overflow?"""

from collections.abc import Mapping, Sequence

import numpy as np

from sgdvi._internal.text import count, number, percent
from sgdvi.diagnostics.findings import Finding, Status
from sgdvi.diagnostics.thresholds import Thresholds

_MOST_POINTS = 20_000


def finite_chains(*arrays: np.ndarray) -> np.ndarray:
    """Return a mask (chain,): True where every draw of every array (chain, draw, ...) is finite."""
    keep = np.ones(arrays[0].shape[0], dtype=bool)
    for array in arrays:
        keep &= np.isfinite(array).reshape(array.shape[0], -1).all(axis=1)
    return keep


def finite_draws(run: str, arrays: Mapping[str, np.ndarray]) -> Finding:
    """Check that no draw is NaN or infinite; `arrays` maps names to values (chain, draw, ...)."""
    bad = {name: int((~np.isfinite(array)).sum()) for name, array in arrays.items()}
    total = sum(bad.values())
    size = sum(array.size for array in arrays.values())
    share = total / size if size else float("nan")
    if total == 0:
        meaning, advice = f"All {size:,} values are finite.", ""
    else:
        worst = max(bad, key=lambda name: bad[name])
        meaning = f"{total:,} of {size:,} values are NaN or infinite (most in {worst})."
        advice = (
            "Chains with such draws are left out of the numbers below. Lower the learning rate, or look for the step."
        )
    return Finding(
        check="draws.finite",
        run=run,
        title="Finite draws",
        value=share,
        threshold=0.0,
        status=Status.PASS if total == 0 and size else Status.FAIL,
        meaning=meaning,
        advice=advice,
        source="A NaN makes every comparison with a threshold false, so it has to be looked for first.",
        details={"non_finite": total, "values": size},
    )


def fixed_coordinates(runs: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Find what several runs all hold at one value, such as the 1 that stands for a scale on the quotient.

    Parameters
    ----------
    runs
        The sites of each run, (chain, draw, ...).

    Returns
    -------
    dict
        Site -> mask over its entries, flattened; empty for fewer than two runs: one that stands still is stuck.
    """
    found: dict[str, np.ndarray] = {}
    for name, first in runs[0].items() if len(runs) > 1 else ():
        others = [run.get(name, np.empty((0, 0))) for run in runs]
        if all(other.shape[2:] == first.shape[2:] and other.size for other in others):
            flat = [other.reshape(other.shape[0] * other.shape[1], -1) for other in others]
            found[name] = np.all([(each == flat[0][0]).all(axis=0) for each in flat], axis=0)
    return found


def distinct_draws(
    run: str,
    arrays: Mapping[str, np.ndarray],
    thresholds: Thresholds,
    fixed: Mapping[str, np.ndarray] | None = None,
) -> Finding:
    """Check that the draws move: share of distinct values of the worst coordinate, and chains that stand still.

    Coordinates that are ``fixed``, name -> mask over the flattened entries, are left out.
    """
    worst_name, worst_share, worst_count, stuck = "", np.inf, 0, 0
    for name, array in arrays.items():
        flat = array.reshape(*array.shape[:2], -1)
        moving = np.ones(flat.shape[2], bool) if fixed is None or name not in fixed else ~fixed[name]
        for index in np.flatnonzero(moving):
            values = flat[:, :, index]
            values = values[np.isfinite(values).all(axis=1)]
            if values.size == 0:
                continue
            stuck = max(stuck, int((np.ptp(values, axis=1) == 0).sum()))
            points = values.reshape(-1)[:: max(1, values.size // _MOST_POINTS)]
            distinct = int(np.unique(points).size)
            if distinct / points.size < worst_share:
                label = name if flat.shape[2] == 1 else f"{name}[{index}]"
                worst_name, worst_share, worst_count = label, distinct / points.size, distinct
    advice = ""
    if not np.isfinite(worst_share):
        status, meaning, worst_share = Status.UNKNOWN, "No chain with finite draws is left.", float("nan")
    elif worst_count == 1:
        status, meaning = (
            Status.FAIL,
            f"All draws of {worst_name} are equal: this is a point mass, not a spread-out law.",
        )
        advice = (
            "A point mass can be real (SGD collapsed, or the learning rate is 0); R-hat and effective draws say "
            "nothing here."
        )
    elif stuck:
        status, meaning = Status.FAIL, f"{count(stuck, 'chain')} never moved from one value."
        advice = (
            "Look at the trace of these chains; they are stuck, or their values are below the rounding of the "
            "float type."
        )
    elif worst_share < thresholds.distinct_fail:
        status = Status.FAIL
        meaning = f"Only {worst_count:,} different values of {worst_name} among the draws ({percent(worst_share)})."
        advice = "Typical of float32 with a mean much larger than the spread: use jax.enable_x64, or centre the data."
    else:
        status, meaning = (
            Status.PASS,
            f"The draws are distinct (worst: {worst_name}, {percent(worst_share)} different).",
        )
    return Finding(
        check="draws.distinct",
        run=run,
        title="Distinct draws",
        value=float(worst_share),
        threshold=thresholds.distinct_fail,
        status=status,
        meaning=meaning,
        advice=advice,
        source="Ranks survive rounding, so R-hat does not notice it.",
        details={"coordinate": worst_name, "stuck_chains": stuck},
    )


def overflowed_chains(run: str, overflowed: Sequence[bool], steps: Sequence[int], thresholds: Thresholds) -> Finding:
    """Count the chains that overflowed; `steps` are the steps at which they did (-1 where they did not)."""
    total, lost = len(overflowed), int(np.sum(overflowed))
    share = lost / total if total else float("nan")
    known_steps = [step for step, bad in zip(steps, overflowed, strict=True) if bad and step >= 0]
    advice = ""
    if lost == 0:
        status, meaning = Status.PASS, f"None of {count(total, 'chain')} overflowed."
    else:
        status = Status.FAIL if share > thresholds.overflow_fail else Status.WARN
        first = f", the first at step {number(min(known_steps))}" if known_steps else ""
        meaning = (
            f"{lost} of {count(total, 'chain')} overflowed{first}. The other numbers are those of the chains that "
            "survived."
        )
        advice = (
            "Lower the learning rate. With unbounded inputs an overflow comes sooner or later at any rate: state "
            "the horizon."
        )
    return Finding(
        check="chains.overflow",
        run=run,
        title="Overflowed chains",
        value=share,
        threshold=thresholds.overflow_fail,
        status=status,
        meaning=meaning,
        advice=advice,
        source="A diverged chain is a result, not a draw: it is counted, never averaged in.",
        details={"overflowed": lost, "chains": total, "first_step": min(known_steps) if known_steps else None},
    )

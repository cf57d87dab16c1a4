"""Are chains copies of each other or of the reference, as they are or shifted? Copies agree and count for nothing."""

import numpy as np

from sgdvi._internal.text import count, percent
from sgdvi.diagnostics.case import Case
from sgdvi.diagnostics.declare import NO_DRAWS, Outcome, Skip, check
from sgdvi.diagnostics.findings import Status
from sgdvi.diagnostics.run import Run

# Chains of real numbers have hardly a value in common; where they repeat values themselves, nothing can be said.
_COPIED, _DISTINCT = 0.5, 0.5
_FEWEST = 50


def common(values: np.ndarray) -> np.ndarray:
    """Return the share of the draws of each chain whose values another chain has too, shape (chain,)."""
    unique, place = np.unique(values, return_inverse=True)
    place = place.reshape(values.shape)
    holders = np.zeros(unique.size, int)
    for chain in place:
        holders[np.unique(chain)] += 1
    return np.asarray((holders[place] > 1).mean(axis=1))


def copied(values: np.ndarray) -> np.ndarray:
    """Return the share of the draws of each chain that another chain has in the same order, shape (chain,).

    The order tells a copy, whose values lie one lag apart, from weighted draws that were drawn again with replacement.
    """
    share = common(values)
    for chain in np.flatnonzero(share > _COPIED):
        middle = values[chain, values.shape[1] // 2]
        others = np.flatnonzero((values == middle).any(axis=1))
        share[chain] = max((in_order(values[chain], values[k]) for k in others if k != chain), default=0.0)
    return share


def in_order(chain: np.ndarray, other: np.ndarray) -> float:
    """Return the largest share of the draws of a chain that another one has at one lag, around the end too."""
    ranks = np.argsort(other, kind="stable")
    place = ranks[np.searchsorted(other[ranks], chain).clip(max=other.size - 1)]
    lags = (place - np.arange(chain.size)) % other.size
    return float(np.bincount(lags[other[place] == chain], minlength=1).max() / chain.size)


@check(
    "chains.copies",
    "Copies of chains",
    "Two chains of real numbers share no value by chance; a shift in time leaves values and their order as they are.",
    question="arrive",
    kinds=("draws",),
    gate=True,
    first=True,
)
def copies(case: Case) -> Outcome:
    """No chain is a copy of another one."""
    run = case.draws
    if not run.keep.any():
        raise Skip(NO_DRAWS, Status.UNKNOWN)
    chains = int(run.keep.sum())
    for name in run.values:
        values = case.values(name)
        distinct = min(np.unique(chain).size / chain.size for chain in values)
        if chains < 2 or distinct < _DISTINCT or values.shape[1] < 2:
            continue
        share = copied(values)
        num_copies = int((share > _COPIED).sum())
        if not num_copies:
            return Outcome(Status.PASS, f"No chain of {name} is a copy of another.", float(share.max()), _COPIED)
        meaning = f"{num_copies} of {count(chains, 'chain')} of {name} hold the values of another one "
        meaning += f"({percent(float(share.max()))} of them): they count once."
        advice = "Give every chain a key and a start of its own."
        return Outcome(Status.FAIL, meaning, float(share.max()), _COPIED, advice, functional=name)
    raise Skip("Needs two chains of real numbers that seldom repeat.")


@check(
    "draws.reference",
    "Draws of the reference",
    "Two runs of real numbers share no value by chance: draws that are the reference's own agree with it whatever the "
    "law is.",
    question="arrive",
    first=True,
)
def of_reference(case: Case) -> Outcome:
    """The draws are not those of the reference, in whatever order."""
    run, other = case.run, case.reference
    if not (isinstance(run, Run) and isinstance(other, Run)):
        raise Skip("Needs a reference with draws.")
    if not (run.keep.any() and other.keep.any()):
        raise Skip(NO_DRAWS, Status.UNKNOWN)
    for name in run.values:
        if name not in other.values:
            continue
        mine, its = case.values(name), other.values[name][other.keep]
        unique, size = np.unique(its), mine.size
        # a run may repeat values, as weighted draws that were drawn again do; rounded ones fall on the reference's
        if unique.size < max(_DISTINCT * its.size, _FEWEST):
            continue
        share = float(np.isin(mine, unique).mean())
        if share <= _COPIED:
            return Outcome(Status.PASS, f"{run.name} and {other.name} share no draws.", share, _COPIED)
        meaning = f"{percent(share)} of the {count(size, 'draw')} of {name} under {run.name} are draws of {other.name} "
        meaning += "themselves, so that their agreement says nothing."
        advice = f"Run {run.name} and {other.name} apart, from keys of their own."
        return Outcome(Status.FAIL, meaning, share, _COPIED, advice, functional=name)
    raise Skip("Needs a functional of real numbers that seldom repeat.")

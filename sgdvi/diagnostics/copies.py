"""Are chains copies of each other, as they are or shifted? Copies agree perfectly and count for nothing."""

import numpy as np

from sgdvi._internal.text import count, percent
from sgdvi.diagnostics.case import Case
from sgdvi.diagnostics.declare import NO_DRAWS, Outcome, Skip, check
from sgdvi.diagnostics.findings import Status

# Chains of real numbers have hardly a value in common; where they repeat values themselves, nothing can be said.
_COPIED, _DISTINCT = 0.5, 0.5


def common(values: np.ndarray) -> np.ndarray:
    """Return the share of the draws of each chain whose values another chain has too, shape (chain,)."""
    unique, place = np.unique(values, return_inverse=True)
    place = place.reshape(values.shape)
    holders = np.zeros(unique.size, int)
    for chain in place:
        holders[np.unique(chain)] += 1
    return np.asarray((holders[place] > 1).mean(axis=1))


@check(
    "chains.copies",
    "Copies of chains",
    "Two chains of real numbers share no value by chance; a shift in time leaves the values what they are.",
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
        share = common(values)
        copied = int((share > _COPIED).sum())
        if not copied:
            return Outcome(Status.PASS, f"No chain of {name} is a copy of another.", float(share.max()), _COPIED)
        meaning = f"{copied} of {count(chains, 'chain')} of {name} hold the values of another one "
        meaning += f"({percent(float(share.max()))} of them): they count once."
        advice = "Give every chain a key and a start of its own."
        return Outcome(Status.FAIL, meaning, float(share.max()), _COPIED, advice, functional=name)
    raise Skip("Needs two chains of real numbers that seldom repeat.")

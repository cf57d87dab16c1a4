"""The law of balance in an experiment: read off the run of SGD at hand, which costs a few passes over the data."""

from collections.abc import Sequence
from typing import Any

from sgdvi._check import InputError
from sgdvi.diagnostics import charges
from sgdvi.diagnostics.findings import Finding
from sgdvi.noise_balance import balance
from sgdvi.problem import Problem

# Points of each chain; a pass over the data each.
_POINTS = 24
# Beyond this many parameters times rows the passes cost more than the run.
_MOST_NUMBERS = 20_000_000


def findings_of_balance(problem: Problem, draws: Any, key: Any) -> Sequence[Finding]:
    """Return what the law of balance says of a run of SGD: symmetries, drift, noise balance and norm ratios.

    Parameters
    ----------
    problem
        What was run.
    draws
        The draws of SGD.
    key
        JAX key of the search for symmetries.
    """
    group = draws["posterior"]
    numbers = sum(group[name][0, 0].size for name in group.data_vars) * len(problem.data[0])
    if numbers > _MOST_NUMBERS:
        reason = "The model is large: run `sgdvi balance` on it."
        return [charges.not_measured("SGD", reason)]
    try:
        return balance(problem, trajectory=draws, key=key, points=_POINTS).findings
    except InputError as error:
        return [charges.not_measured("SGD", f"The symmetries are not known: {error}")]

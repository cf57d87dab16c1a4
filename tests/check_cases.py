"""What a check is given, from plain numbers: draws by name, and facts that are set instead of derived."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sgdvi.diagnostics import Case
from sgdvi.diagnostics.facts import Facts
from sgdvi.diagnostics.run import Law, Run


def facts_of(**values: Any) -> Facts:
    """Return facts of which some are given: cached properties take what is in the instance first."""
    facts = Facts()
    vars(facts).update(values)
    return facts


def run_of(draws: Mapping[str, np.ndarray], name: str = "SGD", kind: str = "sgd", **fields: Any) -> Run:
    """Return a run of these draws; scalars among them are its functionals unless ``values`` says others."""
    sites = {site: np.asarray(array, dtype=np.float64) for site, array in draws.items()}
    fields.setdefault("values", {site: array for site, array in sites.items() if array.ndim == 2})
    return Run(name, kind, sites, **fields)


def case_of(
    draws: Mapping[str, np.ndarray], facts: Facts | None = None, reference: Run | Law | None = None, **fields: Any
) -> Case:
    """Return the case of a run of these draws."""
    return Case(run_of(draws, **fields), Facts() if facts is None else facts, reference=reference)

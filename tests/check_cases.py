"""What a check is given, from plain numbers: draws by name, and facts that are set instead of derived."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sgdvi import compare
from sgdvi.comparison import Comparison
from sgdvi.diagnostics import Case, Finding
from sgdvi.diagnostics.facts import Facts
from sgdvi.diagnostics.run import Law, Run
from sgdvi.draws import make_tree


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


def judge(sgd: Mapping[str, np.ndarray], nuts: Mapping[str, np.ndarray], **options: Any) -> Comparison:
    """Compare draws of SGD with those of NUTS."""
    return compare({"SGD": make_tree(sgd, kind="sgd"), "NUTS": make_tree(nuts, kind="nuts")}, **options)


def found(comparison: Comparison, run: str = "SGD") -> dict[str, Finding]:
    """Return the findings on a run by check."""
    return {finding.check: finding for finding in comparison.findings if finding.run == run}

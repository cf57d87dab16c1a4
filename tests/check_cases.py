"""What a check is given, from plain numbers: facts that are set instead of derived from a network."""

from typing import Any

from sgdvi.diagnostics.facts import Facts


def facts_of(**values: Any) -> Facts:
    """Return facts of which some are given: cached properties take what is in the instance first."""
    facts = Facts()
    vars(facts).update(values)
    return facts

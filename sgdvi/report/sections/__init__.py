"""A report section: one file each, a pure function from a record and its context to a fragment of HTML."""

from sgdvi.report.sections import (
    checks,
    foreseen,
    glossary,
    marginals,
    plane,
    predictions,
    provenance,
    reasons,
    remedies,
    traces,
    verdict,
)

# The order of the page.
SECTIONS = (
    verdict.section,
    reasons.section,
    foreseen.section,
    remedies.section,
    predictions.section,
    marginals.section,
    plane.section,
    traces.section,
    checks.section,
    provenance.setup,
    glossary.thresholds,
    glossary.section,
    provenance.section,
)

__all__ = ["SECTIONS"]

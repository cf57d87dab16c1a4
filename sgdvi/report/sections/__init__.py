"""A report section: one file each, a pure function from a comparison and its context to a fragment of HTML."""

from sgdvi.report.sections import (
    checks,
    glossary,
    instead,
    limits,
    marginals,
    plane,
    provenance,
    setup,
    traces,
    verdict,
)

# The order of the page.
SECTIONS = (
    verdict.section,
    instead.section,
    marginals.section,
    plane.section,
    traces.section,
    checks.section,
    setup.section,
    limits.section,
    glossary.section,
    provenance.section,
)

__all__ = ["SECTIONS"]

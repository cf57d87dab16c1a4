"""Checks on arrays: one family per file, each check one declared function of a `Case`. No labels, no printing."""

from sgdvi.diagnostics.calibration import sbc, vsbc
from sgdvi.diagnostics.case import Case
from sgdvi.diagnostics.declare import Check, Outcome, Skip, check, graded, usable
from sgdvi.diagnostics.findings import Finding, Status
from sgdvi.diagnostics.table import TABLE
from sgdvi.diagnostics.thresholds import Thresholds

__all__ = [
    "TABLE",
    "Case",
    "Check",
    "Finding",
    "Outcome",
    "Skip",
    "Status",
    "Thresholds",
    "check",
    "graded",
    "sbc",
    "usable",
    "vsbc",
]

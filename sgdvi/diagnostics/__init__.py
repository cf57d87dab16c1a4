"""Checks on arrays: one family per file, each returning `Finding` records. No labels, no printing."""

from sgdvi.diagnostics.calibration import sbc, vsbc
from sgdvi.diagnostics.findings import Finding, Status
from sgdvi.diagnostics.thresholds import Thresholds

__all__ = ["Finding", "Status", "Thresholds", "sbc", "vsbc"]

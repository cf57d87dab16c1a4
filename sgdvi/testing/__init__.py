"""Contract checks for parts of the package and for users' own."""

from sgdvi.testing._distribution import CHECKS, check_distribution
from sgdvi.testing._record import Check, ContractError, Report

__all__ = ["CHECKS", "Check", "ContractError", "Report", "check_distribution"]

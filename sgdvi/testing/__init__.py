"""Contract checks for parts of the package and for users' own."""

from sgdvi.testing._distribution import CHECKS, check_distribution
from sgdvi.testing._record import Check, ContractError, Report
from sgdvi.testing._sampler import CHECKS as SAMPLER_CHECKS
from sgdvi.testing._sampler import check_sampler

__all__ = ["CHECKS", "SAMPLER_CHECKS", "Check", "ContractError", "Report", "check_distribution", "check_sampler"]

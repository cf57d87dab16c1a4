"""How SGD moves along the scaling symmetries of a model: `balance`, its result, and what they rest on."""

from sgdvi.noise_balance.call import balance
from sgdvi.noise_balance.result import Balance

__all__ = ["Balance", "balance"]

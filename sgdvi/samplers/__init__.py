"""Samplers: SGD as a NumPyro kernel, the driver, and how long a warmup should be."""

from sgdvi.samplers.kernel import SGD
from sgdvi.samplers.run import sample
from sgdvi.samplers.warmup import suggest_warmup

__all__ = ["SGD", "sample", "suggest_warmup"]

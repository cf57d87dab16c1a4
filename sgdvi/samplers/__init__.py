"""Samplers: SGD as a NumPyro kernel, the driver, and how long a warmup should be."""

from sgdvi.samplers.kernel import SGD, Sampler
from sgdvi.samplers.protocol import Algorithm, Batch
from sgdvi.samplers.run import sample
from sgdvi.samplers.warmup import suggest_warmup

__all__ = ["SGD", "Algorithm", "Batch", "Sampler", "sample", "suggest_warmup"]

"""Samplers: SGD and others as NumPyro kernels, the driver, and how long a warmup should be."""

from sgdvi.samplers.averaging import IterateAverage
from sgdvi.samplers.cyclical import CyclicalSGMCMC
from sgdvi.samplers.flow import StochasticGradientFlow
from sgdvi.samplers.gauge import GaugeNoise
from sgdvi.samplers.kernel import SGD, Sampler
from sgdvi.samplers.protocol import Algorithm, Batch
from sgdvi.samplers.psgld import PreconditionedSGLD
from sgdvi.samplers.run import sample
from sgdvi.samplers.sghmc import SGHMC
from sgdvi.samplers.sgld import SGLD
from sgdvi.samplers.swag import SWAG
from sgdvi.samplers.warmup import suggest_warmup

__all__ = [
    "SGD",
    "SGHMC",
    "SGLD",
    "SWAG",
    "Algorithm",
    "Batch",
    "CyclicalSGMCMC",
    "GaugeNoise",
    "IterateAverage",
    "PreconditionedSGLD",
    "Sampler",
    "StochasticGradientFlow",
    "sample",
    "suggest_warmup",
]

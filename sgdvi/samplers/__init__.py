"""Samplers: SGD and others as NumPyro kernels, the driver, and how long a warmup should be."""

import lazy_loader

from sgdvi.samplers.algorithms.averaging import IterateAverage
from sgdvi.samplers.algorithms.cyclical import CyclicalSGMCMC
from sgdvi.samplers.algorithms.flow import StochasticGradientFlow
from sgdvi.samplers.algorithms.gauge import GaugeNoise
from sgdvi.samplers.algorithms.preconditioned import CompletedSGD, MandtSGD, ScaledSGD, TunedSGD, WhitenedSGD
from sgdvi.samplers.algorithms.psgld import PreconditionedSGLD
from sgdvi.samplers.algorithms.sghmc import SGHMC
from sgdvi.samplers.algorithms.sgld import SGLD
from sgdvi.samplers.algorithms.swag import SWAG
from sgdvi.samplers.driver.run import sample
from sgdvi.samplers.kernel import SGD, Sampler
from sgdvi.samplers.protocol import Algorithm, Batch
from sgdvi.samplers.warmup import suggest_warmup

# `sgdvi.samplers.references` is there without an import of its own, and costs its time only then.
__getattr__, _, _ = lazy_loader.attach(__name__, ["references"])

__all__ = [
    "SGD",
    "SGHMC",
    "SGLD",
    "SWAG",
    "Algorithm",
    "Batch",
    "CompletedSGD",
    "CyclicalSGMCMC",
    "GaugeNoise",
    "IterateAverage",
    "MandtSGD",
    "PreconditionedSGLD",
    "Sampler",
    "ScaledSGD",
    "StochasticGradientFlow",
    "TunedSGD",
    "WhitenedSGD",
    "sample",
    "suggest_warmup",
]

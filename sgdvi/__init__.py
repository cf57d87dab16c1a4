"""sgdvi: is what SGD gives me a posterior?

Exact stationary laws of stochastic gradient descent, SGD as a sampler for NumPyro models, references (NUTS,
variational inference, exact posteriors) and a verdict with reasons. This module is the table of contents;
names are imported on first use, so that ``import sgdvi`` and ``sgdvi --help`` stay quick.
"""

import importlib
import sys
from importlib.metadata import version as _version
from typing import TYPE_CHECKING, Any

__version__ = _version("sgdvi")

_CONTENTS = {
    # the exact laws
    "Moments": "sgdvi.moments",
    "SGDStationary": "sgdvi.laws",
    "StationaryLaw": "sgdvi.laws",
    "stationary_law": "sgdvi.laws",
    "memory": "sgdvi.laws.memory",
    "Memory": "sgdvi.laws.memory",
    "subnetworks": "sgdvi.laws.subnetworks",
    "Subnetworks": "sgdvi.laws.subnetworks",
    "MetastableLaw": "sgdvi.laws",
    "InfiniteDepthLaw": "sgdvi.laws",
    "SecondOrderLaw": "sgdvi.laws",
    "critical_temperature": "sgdvi.laws",
    "discrete_threshold": "sgdvi.laws",
    "discrete_law": "sgdvi.laws",
    "DiscreteLaw": "sgdvi.laws",
    "phase": "sgdvi.laws",
    "Phase": "sgdvi.laws",
    "phase_intervals": "sgdvi.laws",
    "PhaseInterval": "sgdvi.laws",
    "phase_diagram": "sgdvi.laws",
    "PhaseDiagram": "sgdvi.laws",
    "bias": "sgdvi.laws",
    "Bias": "sgdvi.laws",
    "fluctuations": "sgdvi.laws",
    "Fluctuations": "sgdvi.laws",
    "fluctuation_maxima": "sgdvi.laws",
    # models and data
    "Problem": "sgdvi.problem",
    "Loss": "sgdvi.loss",
    "LinearNetwork": "sgdvi.linear",
    "linear_problem": "sgdvi.linear",
    # SGD as a sampler
    "SGD": "sgdvi.samplers",
    "Sampler": "sgdvi.samplers",
    "local_quadratic": "sgdvi.samplers.quadratic",
    "LocalQuadratic": "sgdvi.samplers.quadratic",
    "SGLD": "sgdvi.samplers",
    "PreconditionedSGLD": "sgdvi.samplers",
    "SGHMC": "sgdvi.samplers",
    "CyclicalSGMCMC": "sgdvi.samplers",
    "IterateAverage": "sgdvi.samplers",
    "SWAG": "sgdvi.samplers",
    "StochasticGradientFlow": "sgdvi.samplers",
    "Algorithm": "sgdvi.samplers",
    "Batch": "sgdvi.samplers",
    "sample": "sgdvi.samplers",
    # the law of balance
    "find_symmetries": "sgdvi.symmetry",
    "Symmetries": "sgdvi.symmetry",
    "Symmetry": "sgdvi.symmetry",
    "MatrixFamily": "sgdvi.symmetry",
    "gradient_noise": "sgdvi.symmetry",
    "canonical_draws": "sgdvi.symmetry",
    "quotient_draws": "sgdvi.symmetry",
    "resample_orbits": "sgdvi.symmetry",
    "quotient_model": "sgdvi.quotient",
    "QuotientModel": "sgdvi.quotient",
    "model_symmetries": "sgdvi.quotient",
    "GaugeNoise": "sgdvi.samplers",
    "GradientNoise": "sgdvi.symmetry",
    "balance": "sgdvi.noise_balance",
    "Balance": "sgdvi.noise_balance",
    # SGD's own variational problem
    "SGDGuide": "sgdvi.variational",
    "NormalProduct": "sgdvi.laws.products",
    # comparison and verdict
    "with_predictions": "sgdvi.predictions",
    "compare": "sgdvi.comparison",
    "Comparison": "sgdvi.comparison",
    "Known": "sgdvi.comparison",
    "Verdict": "sgdvi.comparison",
    "Finding": "sgdvi.diagnostics",
    "Status": "sgdvi.diagnostics",
    "kl_to_posterior": "sgdvi.diagnostics.optimal",
    "optimal_temperature": "sgdvi.diagnostics.optimal",
    "OptimalTemperature": "sgdvi.diagnostics.optimal",
    # the whole way, as `sgdvi compare` does it
    "run": "sgdvi.experiment",
    "Result": "sgdvi.experiment",
    "sweep": "sgdvi.sweeping",
    "Sweep": "sgdvi.sweeping",
    "InputError": "sgdvi._check",
}
_MODULES = {
    "zoo",
    "laws",
    "samplers",
    "step_size",
    "variational",
    "diagnostics",
    "remedies",
    "plots",
    "report",
    "testing",
}

__all__ = sorted([*_CONTENTS, *_MODULES, "__version__"])

if TYPE_CHECKING:
    from sgdvi._check import InputError as InputError
    from sgdvi.comparison import Comparison as Comparison
    from sgdvi.comparison import Known as Known
    from sgdvi.comparison import Verdict as Verdict
    from sgdvi.comparison import compare as compare
    from sgdvi.diagnostics import Finding as Finding
    from sgdvi.diagnostics import Status as Status
    from sgdvi.diagnostics.optimal import OptimalTemperature as OptimalTemperature
    from sgdvi.diagnostics.optimal import kl_to_posterior as kl_to_posterior
    from sgdvi.diagnostics.optimal import optimal_temperature as optimal_temperature
    from sgdvi.experiment import Result as Result
    from sgdvi.experiment import run as run
    from sgdvi.laws import Bias as Bias
    from sgdvi.laws import DiscreteLaw as DiscreteLaw
    from sgdvi.laws import Fluctuations as Fluctuations
    from sgdvi.laws import InfiniteDepthLaw as InfiniteDepthLaw
    from sgdvi.laws import MetastableLaw as MetastableLaw
    from sgdvi.laws import Phase as Phase
    from sgdvi.laws import PhaseDiagram as PhaseDiagram
    from sgdvi.laws import PhaseInterval as PhaseInterval
    from sgdvi.laws import SecondOrderLaw as SecondOrderLaw
    from sgdvi.laws import SGDStationary as SGDStationary
    from sgdvi.laws import StationaryLaw as StationaryLaw
    from sgdvi.laws import bias as bias
    from sgdvi.laws import critical_temperature as critical_temperature
    from sgdvi.laws import discrete_law as discrete_law
    from sgdvi.laws import discrete_threshold as discrete_threshold
    from sgdvi.laws import fluctuation_maxima as fluctuation_maxima
    from sgdvi.laws import fluctuations as fluctuations
    from sgdvi.laws import phase as phase
    from sgdvi.laws import phase_diagram as phase_diagram
    from sgdvi.laws import phase_intervals as phase_intervals
    from sgdvi.laws import stationary_law as stationary_law
    from sgdvi.laws.memory import Memory as Memory
    from sgdvi.laws.memory import memory as memory
    from sgdvi.laws.products import NormalProduct as NormalProduct
    from sgdvi.laws.subnetworks import Subnetworks as Subnetworks
    from sgdvi.laws.subnetworks import subnetworks as subnetworks
    from sgdvi.linear import LinearNetwork as LinearNetwork
    from sgdvi.linear import linear_problem as linear_problem
    from sgdvi.loss import Loss as Loss
    from sgdvi.moments import Moments as Moments
    from sgdvi.noise_balance import Balance as Balance
    from sgdvi.noise_balance import balance as balance
    from sgdvi.predictions import with_predictions as with_predictions
    from sgdvi.problem import Problem as Problem
    from sgdvi.quotient import QuotientModel as QuotientModel
    from sgdvi.quotient import model_symmetries as model_symmetries
    from sgdvi.quotient import quotient_model as quotient_model
    from sgdvi.samplers import SGD as SGD
    from sgdvi.samplers import SGHMC as SGHMC
    from sgdvi.samplers import SGLD as SGLD
    from sgdvi.samplers import SWAG as SWAG
    from sgdvi.samplers import Algorithm as Algorithm
    from sgdvi.samplers import Batch as Batch
    from sgdvi.samplers import CyclicalSGMCMC as CyclicalSGMCMC
    from sgdvi.samplers import GaugeNoise as GaugeNoise
    from sgdvi.samplers import IterateAverage as IterateAverage
    from sgdvi.samplers import PreconditionedSGLD as PreconditionedSGLD
    from sgdvi.samplers import Sampler as Sampler
    from sgdvi.samplers import StochasticGradientFlow as StochasticGradientFlow
    from sgdvi.samplers import sample as sample
    from sgdvi.samplers.quadratic import LocalQuadratic as LocalQuadratic
    from sgdvi.samplers.quadratic import local_quadratic as local_quadratic
    from sgdvi.sweeping import Sweep as Sweep
    from sgdvi.sweeping import sweep as sweep
    from sgdvi.symmetry import GradientNoise as GradientNoise
    from sgdvi.symmetry import MatrixFamily as MatrixFamily
    from sgdvi.symmetry import Symmetries as Symmetries
    from sgdvi.symmetry import Symmetry as Symmetry
    from sgdvi.symmetry import canonical_draws as canonical_draws
    from sgdvi.symmetry import find_symmetries as find_symmetries
    from sgdvi.symmetry import gradient_noise as gradient_noise
    from sgdvi.symmetry import quotient_draws as quotient_draws
    from sgdvi.symmetry import resample_orbits as resample_orbits
    from sgdvi.variational import SGDGuide as SGDGuide


def _bind_numpyro() -> None:
    # `import arviz` leaves a lazy stand-in for NumPyro. `import numpyro.distributions` through it runs that package
    # twice, and the second copy lacks its submodules: numpyro.factor then fails. Bind them again.
    if "numpyro" in sys.modules:
        getattr(sys.modules["numpyro"], "__version__", None)  # loads what is still lazy
        for name in [name for name in sys.modules if name.startswith("numpyro.")]:
            parent, _, child = name.rpartition(".")
            vars(sys.modules[parent]).setdefault(child, sys.modules[name])


_bind_numpyro()


def __getattr__(name: str) -> Any:
    if name in _CONTENTS:
        value = getattr(importlib.import_module(_CONTENTS[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(f"sgdvi.{name}")
    else:
        raise AttributeError(f"module 'sgdvi' has no attribute {name!r}")
    _bind_numpyro()  # ArviZ and NumPyro may have come after `import sgdvi`
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__

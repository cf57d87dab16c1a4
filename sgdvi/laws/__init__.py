"""Exact stationary laws of SGD, one file each."""

from sgdvi.laws.bias_identity import Bias as Bias
from sgdvi.laws.bias_identity import bias as bias
from sgdvi.laws.diagram import PhaseDiagram as PhaseDiagram
from sgdvi.laws.diagram import phase_diagram as phase_diagram
from sgdvi.laws.discrete.law import DiscreteLaw as DiscreteLaw
from sgdvi.laws.discrete.law import discrete_law as discrete_law
from sgdvi.laws.discrete.threshold import DiscreteThreshold as DiscreteThreshold
from sgdvi.laws.discrete.threshold import discrete_threshold as discrete_threshold
from sgdvi.laws.discrete.threshold import lyapunov_exponent as lyapunov_exponent
from sgdvi.laws.fluctuation import Fluctuations as Fluctuations
from sgdvi.laws.fluctuation import fluctuation_maxima as fluctuation_maxima
from sgdvi.laws.fluctuation import fluctuations as fluctuations
from sgdvi.laws.infinite_depth import InfiniteDepthLaw as InfiniteDepthLaw
from sgdvi.laws.metastable import MetastableLaw as MetastableLaw
from sgdvi.laws.mode import mode_expansion as mode_expansion
from sgdvi.laws.phases import Phase as Phase
from sgdvi.laws.phases import PhaseInterval as PhaseInterval
from sgdvi.laws.phases import critical_temperature as critical_temperature
from sgdvi.laws.phases import nonzero_mode as nonzero_mode
from sgdvi.laws.phases import phase as phase
from sgdvi.laws.phases import phase_intervals as phase_intervals
from sgdvi.laws.second_order import SecondOrderLaw as SecondOrderLaw
from sgdvi.laws.stationary import SGDStationary as SGDStationary
from sgdvi.laws.with_atoms import StationaryLaw as StationaryLaw
from sgdvi.laws.with_atoms import stationary_law as stationary_law

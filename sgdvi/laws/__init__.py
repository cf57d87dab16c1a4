"""Exact stationary laws of SGD, one file each."""

from sgdvi.laws.diagram import PhaseDiagram as PhaseDiagram
from sgdvi.laws.diagram import phase_diagram as phase_diagram
from sgdvi.laws.discrete import DiscreteThreshold as DiscreteThreshold
from sgdvi.laws.discrete import discrete_threshold as discrete_threshold
from sgdvi.laws.discrete import lyapunov_exponent as lyapunov_exponent
from sgdvi.laws.discrete_time import DiscreteLaw as DiscreteLaw
from sgdvi.laws.discrete_time import discrete_law as discrete_law
from sgdvi.laws.identities import Bias as Bias
from sgdvi.laws.identities import bias as bias
from sgdvi.laws.infinite_depth import InfiniteDepthLaw as InfiniteDepthLaw
from sgdvi.laws.intervals import PhaseInterval as PhaseInterval
from sgdvi.laws.intervals import phase_intervals as phase_intervals
from sgdvi.laws.metastable import MetastableLaw as MetastableLaw
from sgdvi.laws.mixture import StationaryLaw as StationaryLaw
from sgdvi.laws.mixture import stationary_law as stationary_law
from sgdvi.laws.phases import Phase as Phase
from sgdvi.laws.phases import critical_temperature as critical_temperature
from sgdvi.laws.phases import nonzero_mode as nonzero_mode
from sgdvi.laws.phases import phase as phase
from sgdvi.laws.second_order import SecondOrderLaw as SecondOrderLaw
from sgdvi.laws.spread import Fluctuations as Fluctuations
from sgdvi.laws.spread import fluctuation_maxima as fluctuation_maxima
from sgdvi.laws.spread import fluctuations as fluctuations
from sgdvi.laws.stationary import SGDStationary as SGDStationary

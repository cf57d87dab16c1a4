"""SGD's own variational problem: its exact law on v as a family, its nearest member, and what stays wrong."""

from sgdvi.variational.guide import SGDGuide as SGDGuide
from sgdvi.variational.guide import reduced_model as reduced_model
from sgdvi.variational.objective import divergence as divergence
from sgdvi.variational.objective import matching_temperature as matching_temperature
from sgdvi.variational.parameters import ParameterDivergence as ParameterDivergence
from sgdvi.variational.parameters import parameter_divergence as parameter_divergence
from sgdvi.variational.tuning import DivergenceParts as DivergenceParts
from sgdvi.variational.tuning import Tuned as Tuned
from sgdvi.variational.tuning import split as split
from sgdvi.variational.tuning import tune as tune

"""References that SGD is compared with: NUTS, variational inference, Pathfinder, the exact posterior on the line."""

from sgdvi.laws.posterior import LinePosterior as LinePosterior
from sgdvi.problem.network import line_posterior as line_posterior
from sgdvi.samplers.references._nuts import Stopped as Stopped
from sgdvi.samplers.references._nuts import nuts as nuts
from sgdvi.samplers.references._pathfinder import pathfinder as pathfinder
from sgdvi.samplers.references.vi import variational as variational

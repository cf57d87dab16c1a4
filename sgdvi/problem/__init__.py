"""A problem: a model with its data and what is known of it; linear networks, of which everything is; losses."""

from sgdvi.problem.base import Problem as Problem
from sgdvi.problem.linear import LinearNetwork as LinearNetwork
from sgdvi.problem.linear import linear_problem as linear_problem
from sgdvi.problem.loss import Loss as Loss

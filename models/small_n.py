"""The first dozen diabetes patients: a fifth of the posterior has the sign that SGD never visits.

The problem ``diabetes`` with only the first twelve patients of the file, chosen by that rule and no other; body mass
index and progression are standardised within the twelve. The least-squares slope is 0.32 and the standard deviation of
the noise is fixed at 0.95, that of the residuals.

What it teaches. Twelve patients do not settle the sign of the slope: the posterior gives v < 0 a fifth of its mass at
depth 1 (an eighth at depth 0). SGD at depth 1 ends on v > 0 from every start that is not exactly balanced on the wrong
side, so that fifth is lost whatever the learning rate and however long the run; its draws look perfectly mixed all the
same.
"""

from sgdvi.models._data import columns, standardised
from sgdvi.problem import Problem
from sgdvi.problem.linear import linear_problem

NOISE_SD = 0.95
NUM_PATIENTS = 12


def problem(depth: int = 1, width: int = 1, prior_sd: float = 1.0) -> Problem:
    """Make the problem.

    Parameters
    ----------
    depth, width
        Depth D (0 is linear regression) and width d of the linear network.
    prior_sd
        Standard deviation of the normal prior on every factor.
    """
    data = columns("diabetes.csv")
    return linear_problem(
        "small-n",
        standardised(data["bmi"][:NUM_PATIENTS]),
        standardised(data["progression"][:NUM_PATIENTS]),
        depth=depth,
        width=width,
        noise_sd=NOISE_SD,
        prior_sd=prior_sd,
        description="The first twelve diabetes patients: progression against body mass index, both standardised.",
        source=(
            "The first twelve rows of Efron, Hastie, Johnstone and Tibshirani (2004), Least Angle Regression, "
            "Annals of Statistics 32, 407-499; the source states no licence, see models/data/README.md."
        ),
    )

"""Progression of diabetes against body mass index: 442 real patients, a strong signal.

Ten variables of 442 patients were measured, and the progression of their disease one year later (Efron, Hastie,
Johnstone and Tibshirani 2004). Here one of them, the body mass index, explains the progression; both are standardised,
so the least-squares slope is their correlation, 0.586. The standard deviation of the noise is fixed at 0.81, that of
the residuals.

What it teaches. With 442 rows the posterior of the slope v is narrow and lies far from zero, so the sign that SGD locks
is the right one and the posterior mass that it leaves out is nil. What is still wrong with SGD as a posterior shows all
the better: at depth 1 it ends on the two balanced lines u = w and u = -w of the (u, w) plane, where the posterior has
no mass at all, and the width of its law on v is set by learning rate and batch size, not by the number of rows.
"""

from sgdvi.models._data import columns, standardised
from sgdvi.problem import Problem
from sgdvi.problem.linear import linear_problem

NOISE_SD = 0.81


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
        "diabetes",
        standardised(data["bmi"]),
        standardised(data["progression"]),
        depth=depth,
        width=width,
        noise_sd=NOISE_SD,
        prior_sd=prior_sd,
        description="Progression of diabetes against body mass index, both standardised, 442 patients.",
        source=(
            "Efron, Hastie, Johnstone and Tibshirani (2004), Least Angle Regression, Annals of Statistics 32, 407-499; "
            "the source states no licence, see models/data/README.md."
        ),
    )

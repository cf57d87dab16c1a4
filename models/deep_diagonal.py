"""A diagonal network of depth 2 on the diabetes data: three factors each, and a width that the start decides.

The problem ``diabetes`` (442 patients, body mass index against progression) with v a sum of three products of three
factors, v = sum_i a_i b_i c_i.

What it teaches. Every subnetwork has two scalings, (a, b) and (b, c): six charges for nine parameters, so the noise of
SGD acts in three directions. ``sgdvi balance deep-diagonal`` finds them without being told. At depth 2 all survivors
become equal in the long run and the others vanish: ``sgdvi.subnetworks`` says which, and how far a run has got. The
exact law is that of the effective width, without the prior's weight decay, which at this depth makes zero attract in
the very long run.
"""

from sgdvi.models._data import columns, standardised
from sgdvi.problem import Problem
from sgdvi.problem.linear import linear_problem

NOISE_SD = 0.81


def problem(depth: int = 2, width: int = 3, prior_sd: float = 1.0) -> Problem:
    """Make the problem.

    Parameters
    ----------
    depth, width
        Depth D and width d of the linear network.
    prior_sd
        Standard deviation of the normal prior on every factor.
    """
    data = columns("diabetes.csv")
    return linear_problem(
        "deep-diagonal",
        standardised(data["bmi"]),
        standardised(data["progression"]),
        depth=depth,
        width=width,
        noise_sd=NOISE_SD,
        prior_sd=prior_sd,
        description="Progression of diabetes against body mass index as a sum of products of three factors.",
        source=(
            "Efron, Hastie, Johnstone and Tibshirani (2004), Least Angle Regression, Annals of Statistics 32, 407-499; "
            "the source states no licence, see models/data/README.md."
        ),
    )

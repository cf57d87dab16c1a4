"""From strong Democrat to strong Republican: an ordinal regression of 944 voters in raw units, no exact law.

The place between left and right that voters give themselves, their age in years, their level of education and their
band of income explain which of seven steps from strong Democrat to strong Republican they name (American National
Election Study 1996). Six ordered cut points divide the steps.

What it teaches. Constrained sites and units. Cut points are ordered, so what SGD moves are the first of them and the
logarithms of the gaps; age is counted in years, income in bands; the condition number is a hundred thousand for no
reason but that. Plain SGD has a right answer for one coefficient of four, which one being an accident of the units.
The model is well specified, so whitening alone is enough: no noise needs to be added.
"""

from typing import Any

import numpy as np
import numpyro
import numpyro.distributions as dist

from sgdvi.models._data import columns
from sgdvi.problem import Problem

STEPS = 7
EXPLAINING = ("left_right", "age", "education", "income")


def problem() -> Problem:
    """Make the problem: four explaining columns as they were coded, and the step."""
    data = columns("party.csv")
    explaining = np.column_stack([data[name] for name in EXPLAINING])
    return Problem(
        name="party",
        model=ordinal_regression,
        data=(explaining, data["party"].astype(np.int32)),
        functionals={
            "left to right": lambda draws: draws["coefficients"].isel(column=0),
            "ten years of age": lambda draws: 10.0 * draws["coefficients"].isel(column=1),
            "education": lambda draws: draws["coefficients"].isel(column=2),
            "income": lambda draws: draws["coefficients"].isel(column=3),
            "middle cut": lambda draws: draws["cuts"].isel(cut=3),
        },
        dims={"coefficients": ["column"], "cuts": ["cut"]},
        description="From strong Democrat to strong Republican: ordinal regression in raw units, 944 voters.",
        source="American National Election Study 1996, https://electionstudies.org; public domain.",
        factory=problem,
    )


def ordinal_regression(explaining: Any, party: Any = None) -> None:
    """Ordered logistic regression with six cut points."""
    coefficients = numpyro.sample("coefficients", dist.Normal(0.0, 1.0).expand([len(EXPLAINING)]).to_event(1))
    free = dist.Normal(0.0, 3.0).expand([STEPS - 1]).to_event(1)
    cuts = numpyro.sample("cuts", dist.TransformedDistribution(free, dist.transforms.OrderedTransform()))
    with numpyro.plate("data", len(explaining)):
        numpyro.sample("party", dist.OrderedLogistic(explaining @ coefficients, cuts), obs=party)

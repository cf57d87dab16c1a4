"""Malignant or benign: logistic regression of 569 breast masses, ten parameters, no exact law.

Nine features of the cell nuclei in an image of a breast mass, standardised, and an intercept explain whether the mass
was malignant (Breast Cancer Wisconsin, diagnostic). All ten parameters have N(0, 1) priors.

What it teaches. Nothing is known in closed form here, so SGD is held against NUTS alone and what needs the exact law is
said to be not applicable. There is no rescaling symmetry either: the law of SGD has a density on all ten dimensions and
Kullback-Leibler divergences are finite. The features are strongly correlated (radius with area 0.99), so the posterior
is long and thin: one learning rate for all directions cannot give it the right shape.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from sgdvi._internal.check import positive
from sgdvi.models._data import columns, standardised
from sgdvi.problem import Problem

FEATURES = (
    "radius",
    "texture",
    "area",
    "smoothness",
    "compactness",
    "concavity",
    "concave_points",
    "symmetry",
    "fractal_dimension",
)
REPORTED = ("radius", "texture", "concave_points")


def problem(prior_sd: float = 1.0) -> Problem:
    """Make the problem.

    Parameters
    ----------
    prior_sd
        Standard deviation of the normal priors on the intercept and the nine coefficients.
    """
    prior_sd = positive("prior_sd", prior_sd)
    data = columns("breast_cancer.csv")
    features = standardised(np.column_stack([data[name] for name in FEATURES]))

    def logistic_regression(features: Any, malignant: Any = None) -> None:
        intercept = numpyro.sample("intercept", dist.Normal(0.0, prior_sd))
        prior = dist.Normal(0.0, prior_sd).expand([len(FEATURES)]).to_event(1)
        coefficients = numpyro.sample("coefficients", prior)
        with numpyro.plate("data", len(features)):
            logits = intercept + jnp.dot(features, coefficients)
            numpyro.sample("malignant", dist.Bernoulli(logits=logits), obs=malignant)

    return Problem(
        name="logistic",
        model=logistic_regression,
        data=(features, data["malignant"].astype(np.int32)),
        functionals={"average patient": lambda draws: draws["intercept"]}
        | {name: _coefficient(name) for name in REPORTED},
        dims={"coefficients": ["feature"]},
        description="Malignant or benign: logistic regression with nine standardised features, 569 breast masses.",
        source=(
            "Wolberg, Mangasarian, Street and Street (1993), Breast Cancer Wisconsin (Diagnostic), UCI Machine "
            "Learning Repository, https://doi.org/10.24432/C5DW2B; CC BY 4.0."
        ),
        options={"prior_sd": prior_sd},
        factory=problem,
    )


def _intercept(draws: Any) -> Any:
    return draws["intercept"]


def _coefficient(name: str) -> Callable[[Any], Any]:
    column = FEATURES.index(name)
    return lambda draws: draws["coefficients"].isel(feature=column)

"""Household income and expenditure on food in francs: a regression in raw units, 235 families, no exact law.

What 235 Belgian working-class families of 1857 spent on food in a year is explained by their income, both in francs as
Engel wrote them down: intercept, slope and the standard deviation of the noise have weak priors on that scale.

What it teaches. Units are a choice of coordinates, and plain SGD is another one in each of them: along the slope, in
francs per franc, the loss is five million times as curved as along the intercept, so a rate that is stable for the one
takes ten billion steps for the other. With both columns centred and standardised the condition number is 3. A step that
is multiplied by the inverse curvature does not see units at all. Families with more income differ more, which the model
does not say: the noise of the gradients is then not the curvature, SGD by the inverse curvature alone is a third too
wide, and completed SGD, which adds the noise that is missing, is as wide as the posterior.
"""

from typing import Any

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist

from sgdvi.models._data import columns
from sgdvi.problem import Problem


def problem() -> Problem:
    """Make the problem: two columns in francs, priors in francs."""
    data = columns("food.csv")
    return Problem(
        name="food",
        model=food_on_income,
        data=(data["income"], data["food"]),
        functionals={
            "slope": lambda draws: draws["slope"],
            "food at 1000 francs": lambda draws: draws["intercept"] + 1000.0 * draws["slope"],
            "noise": lambda draws: draws["noise"],
        },
        description="Expenditure on food against income, in francs: regression in raw units, 235 families.",
        source=(
            "Engel (1857), as in Koenker and Bassett (1982), Robust Tests for Heteroscedasticity Based on Regression "
            "Quantiles, Econometrica 50, 43-61; public domain."
        ),
        factory=problem,
    )


def food_on_income(income: Any, food: Any = None) -> None:
    """Regress on income, all in francs."""
    intercept = numpyro.sample("intercept", dist.Normal(0.0, 500.0))
    slope = numpyro.sample("slope", dist.Normal(0.0, 1.0))
    noise = numpyro.sample("noise", dist.HalfNormal(200.0))
    with numpyro.plate("data", jnp.shape(income)[0]):
        numpyro.sample("food", dist.Normal(intercept + slope * income, noise), obs=food)

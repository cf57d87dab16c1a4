"""Investment of eleven firms over twenty years: a hierarchical regression with latent scales, no exact law.

What a firm invests in a year is explained by its market value and its stock of capital at the year's beginning
(Grunfeld's data, millions of dollars), all of them through their logarithms, with a level of its own for each firm. How
far firms differ, and how far years of a firm differ, are latent.

What it teaches. A hierarchy has more than one form, and SGD lives at the mode of the one that was written. With twenty
years to a firm the levels are well determined, so the centred form, which is the default, is nearly normal and its mode
lies where the mass is: SGD completed by the noise that it lacks is the posterior. In the non-centred form
(``centred=False``), the one to take where groups have few rows, the same posterior is a curved ridge whose mode is four
standard deviations off. The scale between firms has no row: no gradient noise reaches it, and no flavour of SGD that
lives on that noise alone gives it a posterior.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from sgdvi.models._data import columns
from sgdvi.problem import Problem

FIRMS = 11


def problem(centred: bool = True) -> Problem:
    """Make the problem.

    Parameters
    ----------
    centred
        Whether the firms' levels are the sites, with their mean and scale as parents; otherwise the sites are standard
        normal, and levels are mean plus scale times them.
    """
    data = columns("investment.csv")

    def hierarchy(firm: Any, value: Any, capital: Any, investment: Any = None) -> None:
        overall = numpyro.sample("overall", dist.Normal(0.0, 5.0))
        between = numpyro.sample("between", dist.HalfNormal(1.0))
        within = numpyro.sample("within", dist.HalfNormal(1.0))
        on_value = numpyro.sample("on_value", dist.Normal(0.0, 1.0))
        on_capital = numpyro.sample("on_capital", dist.Normal(0.0, 1.0))
        with numpyro.plate("firms", FIRMS):
            if centred:
                level = numpyro.sample("level", dist.Normal(overall, between))
            else:
                level = overall + between * numpyro.sample("standardised", dist.Normal(0.0, 1.0))
        with numpyro.plate("data", len(firm)):
            mean = level[firm] + on_value * jnp.log(value) + on_capital * jnp.log(capital)
            numpyro.sample("investment", dist.LogNormal(mean, within), obs=investment)

    return Problem(
        name="investment",
        model=hierarchy,
        data=(data["firm"].astype(np.int32), data["value"], data["capital"], data["investment"]),
        functionals={
            "value": lambda draws: draws["on_value"],
            "capital": lambda draws: draws["on_capital"],
            "between firms": lambda draws: draws["between"],
            "within firms": lambda draws: draws["within"],
        },
        description="Investment of 11 firms in 20 years: a hierarchical regression on logarithms of raw amounts.",
        source=(
            "Grunfeld (1958), The Determinants of Corporate Investment, as in Kleiber and Zeileis (2010), German "
            "Economic Review 11, 404-417; public domain."
        ),
        options={"centred": centred},
        factory=problem,
    )

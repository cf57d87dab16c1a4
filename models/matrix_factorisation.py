"""A matrix of rank 2 from three quarters of its entries: a GL(2) of symmetries, three charges.

90 of the 120 entries of a simulated 12 x 10 matrix, y_ij = <u_i, w_j> + N(0, 0.3^2), with N(0, 1) priors on all 44
factors.

What it teaches. U M and M^-1 W give the same matrix for every invertible 2 x 2 matrix M. Three of its four dimensions
have charges, the matrix Q = U^T U - W^T W; the noise of SGD acts on none of them. The prior leaves the rotations alone:
the posterior goes round in circles that no finite run of NUTS on the factors closes evenly, while the entries of the
matrix, on which SGD is compared, are identified.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from sgdvi._internal.check import positive, whole
from sgdvi.models._data import columns
from sgdvi.problem import Problem

NOISE_SD = 0.3
ROWS, COLUMNS = 12, 10


def problem(rank: int = 2, prior_sd: float = 1.0) -> Problem:
    """Make the problem.

    Parameters
    ----------
    rank
        Number of columns of both factors.
    prior_sd
        Standard deviation of the normal prior on every factor.
    """
    rank, prior_sd = whole("rank", rank, least=1), positive("prior_sd", prior_sd)
    data = columns("low_rank.csv")

    def low_rank(row: Any, column: Any, value: Any = None) -> None:
        prior = dist.Normal(0.0, prior_sd)
        u = numpyro.sample("u", prior.expand([ROWS, rank]).to_event(2))
        w = numpyro.sample("w", prior.expand([COLUMNS, rank]).to_event(2))
        mean = jnp.sum(u[row] * w[column], axis=-1)
        with numpyro.plate("data", len(row)):
            numpyro.sample("value", dist.Normal(mean, NOISE_SD), obs=value)

    def entry(row: int, column: int) -> Any:
        return lambda draws: (draws["u"].isel(row=row) * draws["w"].isel(column=column)).sum("rank")

    return Problem(
        name="matrix-factorisation",
        model=low_rank,
        data=(data["row"].astype(np.int32), data["column"].astype(np.int32), data["value"]),
        functionals={"entry [0, 0]": entry(0, 0), "entry [5, 5]": entry(5, 5)},
        dims={"u": ["row", "rank"], "w": ["column", "rank"]},
        description="90 entries of a simulated 12 x 10 matrix of rank 2 with noise.",
        source="Simulated for this package (seed and code in models/data/README.md); CC0 1.0.",
        options={"rank": rank, "prior_sd": prior_sd},
        factory=problem,
    )

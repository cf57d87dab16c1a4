"""A model whose loss is quadratic with constant gradient noise: the mean of normal rows, in two directions."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

N, S = 40, 4
RNG = np.random.default_rng(3)
ROWS = RNG.normal(size=(N, 2)) @ [[1.0, 0.4], [0.0, 0.7]] + [1.0, -0.5]
SD = np.array([1.0, 0.6])
PRIOR = 3.0
CURVATURE = 1 / SD**2 + 1 / (N * PRIOR**2)  # of L, in each direction
COVARIANCE = np.cov(ROWS.T, bias=True) / np.outer(SD, SD) ** 2  # of a row's gradient
NOISE = COVARIANCE / S
BEST = ROWS.mean(0) / SD**2 / CURVATURE


def model(rows: Any) -> None:
    theta = numpyro.sample("theta", dist.Normal(jnp.zeros(2), PRIOR).to_event(1))
    with numpyro.plate("data", len(rows)):
        numpyro.sample("rows", dist.Normal(theta, SD).to_event(1), obs=rows)

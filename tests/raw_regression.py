"""A regression in raw units with flat priors and a latent scale: 200 rows, a Hessian of condition 1e5."""

from typing import Any

import numpy as np
import numpyro
import numpyro.distributions as dist

import sgdvi

_RNG = np.random.default_rng(7)
N = 200
X = _RNG.normal(100, 15, N)
Y = 25 + 0.6 * X + 18 * _RNG.normal(size=N)


def regression(x: Any, y: Any = None) -> None:
    beta = numpyro.sample("beta", dist.Normal(0.0, 1.0).expand([2]).to_event(1).mask(False))
    sigma = numpyro.sample("sigma", dist.HalfCauchy(2.5))
    with numpyro.plate("data", len(x)):
        numpyro.sample("y", dist.Normal(beta[0] + beta[1] * x, sigma), obs=y)


def problem(x: Any = X, y: Any = Y, model: Any = regression, **functionals: Any) -> sgdvi.Problem:
    names = functionals or {"slope": lambda ds: ds.beta[..., 1], "sigma": lambda ds: ds.sigma}
    return sgdvi.Problem(name="regression", model=model, data=(x, y), functionals=names)

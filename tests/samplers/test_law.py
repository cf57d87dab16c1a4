"""SGD against its exact stationary law on data with a weak signal, at 0.2 of the critical temperature."""

from functools import cache
from typing import Any

import arviz as az
import jax
import numpy as np
import pytest

import sgdvi
from sgdvi.draws import functional
from sgdvi.samplers import suggest_warmup

N = 2000
RNG = np.random.default_rng(20)
X = RNG.normal(size=N)
Y = 0.1 * X + RNG.normal(size=N)
TEMPERATURE = 0.2 * sgdvi.LinearNetwork(X, Y, depth=1, prior_sd=10.0).critical_temperature
FUNCTIONALS = {0: lambda ds: ds.u, 1: lambda ds: ds.u * ds.w}


@cache
def draws_of(depth: int) -> tuple[np.ndarray, sgdvi.LinearNetwork]:
    network = sgdvi.LinearNetwork(X, Y, depth=depth, prior_sd=10.0)
    rate = network.learning_rate(TEMPERATURE, 1)
    warmup = suggest_warmup(
        network.moments,
        learning_rate=network.flow_learning_rate(rate),
        temperature=TEMPERATURE,
        depth=depth,
        weight_decay=network.weight_decay,
    )
    kernel = sgdvi.SGD(network.model, learning_rate=rate, batch_size=1)
    tree = sgdvi.sample(
        kernel,
        (X, Y),
        key=jax.random.key(1),
        num_steps=40_000 if depth else 10_000,
        num_warmup=warmup,
        num_chains=600,
        thinning=250,
        progress=False,
    )
    assert (tree["chain_status"]["status"] == "ok").all()
    return functional(tree, FUNCTIONALS[depth]), network


def kolmogorov(draws: np.ndarray, law: Any) -> float:
    ordered = np.sort(draws.ravel())
    cdf, count = np.asarray(law.cdf(ordered)), len(ordered)
    return float(max(np.max(np.arange(1, count + 1) / count - cdf), np.max(cdf - np.arange(count) / count)))


@pytest.mark.parametrize("depth", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_sgd_has_the_exact_law(x64: None, depth: int) -> None:
    draws, network = draws_of(depth)
    assert az.ess(draws) > 20_000
    assert kolmogorov(draws, network.law(TEMPERATURE)) < 0.025


def test_a_doubled_learning_rate_would_be_seen(x64: None) -> None:
    """The draws beside the law at half of their temperature, as those of twice the rate would stand beside theirs."""
    draws, network = draws_of(1)
    assert kolmogorov(draws, network.law(TEMPERATURE / 2)) > 0.05


def test_chains_balance_and_keep_one_sign(x64: None) -> None:
    network = sgdvi.LinearNetwork(X, Y, depth=1, prior_sd=10.0)
    rate = network.learning_rate(TEMPERATURE, 1)
    kernel = sgdvi.SGD(network.model, learning_rate=rate, batch_size=1)
    starts = {"wrong side": {"u": 1.0, "w": -0.8}, "right side": {"u": -0.2, "w": -1.0}}
    tree = sgdvi.sample(
        kernel, (X, Y), key=jax.random.key(2), num_steps=30_000, num_chains=20, thinning=10_000, init=starts,
        progress=False,
    )  # fmt: skip
    u, w = (functional(tree, lambda ds, site=site: ds[site])[:, -1] for site in "uw")
    assert (np.abs(u**2 - w**2) < 1e-6 * (u**2 + w**2)).all()
    assert (u * w > 0).all()
    # u + w never changes sign, so it decides which of the two orbits a chain ends in
    np.testing.assert_array_equal(np.sign(u), np.tile([1, -1], 10))

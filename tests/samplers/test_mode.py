"""The mode: found where there is one, whatever the units; said not to exist where there is none."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from raw_regression import X, Y, regression

import sgdvi
from sgdvi.samplers import mode as module

RNG = np.random.default_rng(7)
# eight schools, Rubin (1981)
EFFECTS = np.array([28.0, 8, -3, 7, -1, 1, 18, 12])
ERRORS = np.array([15.0, 10, 16, 11, 9, 11, 10, 18])


def centred(school: Any, y: Any, error: Any) -> None:
    """Density without bound as tau goes to 0."""
    mu, tau = numpyro.sample("mu", dist.Normal(0, 5)), numpyro.sample("tau", dist.HalfCauchy(5))
    theta = numpyro.sample("theta", dist.Normal(mu, tau).expand([8]).to_event(1))
    with numpyro.plate("data", len(y)):
        numpyro.sample("y", dist.Normal(theta[school], error), obs=y)


def test_a_regression_in_raw_units_has_the_mode_of_least_squares() -> None:
    mode = sgdvi.find_mode(regression, (X, Y))
    slope, intercept = np.polyfit(X, Y, 1)
    assert mode.exists
    assert mode.decrement < 1e-3
    assert not mode.others
    np.testing.assert_allclose(mode.point["beta"], [intercept, slope], rtol=1e-6)
    assert mode.names == ("beta[0]", "beta[1]", "sigma")
    assert mode.hessian is not None
    assert np.linalg.cond(mode.hessian) > 1e5
    assert jax.tree.leaves(mode.point)[0].dtype == np.float64
    assert "decrement" in str(mode)


@pytest.mark.slow
def test_a_centred_hierarchy_has_no_mode_and_says_along_what() -> None:
    mode = sgdvi.find_mode(centred, (np.arange(8), EFFECTS, ERRORS))
    assert not mode.exists
    assert "tau" in mode.sites
    assert "non-centred" in mode.reason
    assert "integrate" in mode.reason
    with pytest.raises(sgdvi.InputError, match="must have a joint mode; got none. no joint mode was found"):
        sgdvi.local_quadratic(centred, (np.arange(8), EFFECTS, ERRORS))


def test_other_modes_are_reported_and_the_lowest_is_taken() -> None:
    def model(y: Any) -> None:
        mu = numpyro.sample("mu", dist.Normal(0, 1))
        with numpyro.plate("data", len(y)):
            numpyro.sample("y", dist.Normal(mu**2 - 0.1 * mu, 1), obs=y)

    y = 1.0 + 0.1 * RNG.normal(size=50)
    modes = [sgdvi.find_mode(model, y, key=jax.random.key(k), num_starts=8) for k in range(3)]
    assert all(len(mode.others) == 1 and mode.others[0] > 0 for mode in modes)
    assert np.ptp([float(mode.point["mu"]) for mode in modes]) < 1e-6


@pytest.mark.parametrize(
    ("decrement", "least", "words"),
    [(1e-4, 0.1, ""), (2e-3, 0.1, "posterior sd"), (np.nan, 0.1, "posterior sd"), (0, -0.1, "not positive"),
     (0, 0, "not positive"), (0, np.nan, "not positive")],
)  # fmt: skip
def test_what_counts_as_a_mode(decrement: float, least: float, words: str) -> None:
    reason = module.judged(decrement, least)
    assert words in reason if words else not reason


def test_a_search_that_is_cut_short_is_no_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_STEPS", 3)
    mode = sgdvi.find_mode(regression, (X, Y))
    assert not mode.exists
    assert mode.decrement > 1e-3


def test_more_parameters_than_a_hessian_is_made_for(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = sgdvi.find_mode(regression, (X, Y), num_starts=1)
    monkeypatch.setattr(module, "LARGEST", 2)
    free = sgdvi.find_mode(regression, ((X - 100) / 15, Y), num_starts=1)
    assert free.exists
    assert free.hessian is None
    line = free.point["beta"]
    np.testing.assert_allclose(line[1] / 15, whole.point["beta"][1], rtol=1e-4)


def test_counts_on_a_covariate_in_hundreds_have_a_mode() -> None:
    """exp(beta x) of starts of order 1 is 0 or infinite nearly everywhere: the mode is looked for nearer to 0."""
    x = RNG.gamma(0.3, 140, 262)
    y = RNG.negative_binomial(0.5, 0.5 / (0.5 + np.exp(2.8 + 0.006 * x)))

    def model(x: Any, y: Any) -> None:
        alpha, beta = numpyro.sample("alpha", dist.Normal(0, 5)), numpyro.sample("beta", dist.Normal(0, 2.5))
        phi = numpyro.sample("phi", dist.Exponential(1))
        with numpyro.plate("data", len(x)):
            numpyro.sample("y", dist.NegativeBinomial2(jnp.exp(alpha + beta * x), phi), obs=y)

    mode = sgdvi.find_mode(model, (x, y))
    assert mode.exists, mode.reason
    assert mode.point["beta"] == pytest.approx(0.006, abs=0.005)


@pytest.mark.parametrize("unit", [1.0, 1e-6, 1e6])
def test_units_do_not_matter_where_no_hessian_is_made(unit: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of condition 1e5 to 1e17: judged by the largest curvature alone, the flattest direction would be none."""
    monkeypatch.setattr(module, "LARGEST", 2)
    mode = sgdvi.find_mode(regression, (unit * X, Y), num_starts=2)
    slope, intercept = np.polyfit(X, Y, 1)
    assert mode.exists, mode.reason
    np.testing.assert_allclose(mode.point["beta"] * [1, unit], [intercept, slope], rtol=1e-3)
    assert 1e-4 < mode.least_curvature < 0.1


@pytest.mark.slow
def test_a_network_of_many_parameters() -> None:
    x = RNG.normal(size=(60, 25))
    target = jnp.tanh(x[:, 0]) + 0.1 * RNG.normal(size=60)

    def network(x: Any, y: Any) -> None:
        w = numpyro.sample("w", dist.Normal(0, 1).expand([25, 14]).to_event(2))
        v = numpyro.sample("v", dist.Normal(0, 1).expand([14]).to_event(1))
        with numpyro.plate("data", len(x)):
            numpyro.sample("y", dist.Normal(jnp.tanh(x @ w) @ v, 1.0), obs=y)

    mode = sgdvi.find_mode(network, (x, target))
    assert mode.vector.size == 364
    assert mode.hessian is None
    assert mode.exists, mode.reason

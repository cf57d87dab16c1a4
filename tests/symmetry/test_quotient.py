"""Symmetries removed: canonical draws, and orbits filled again, against quadrature and the exact posterior."""

from typing import Any

import jax
import numpy as np
import pytest
from architectures import CASES
from scipy.integrate import quad
from scipy.special import k0, k1
from scipy.stats import kstest

import sgdvi
from sgdvi import InputError, canonical_draws, resample_orbits
from sgdvi.symmetry import find_symmetries

rng = np.random.default_rng(4)
X = rng.normal(size=40)
Y = 0.8 * X + rng.normal(size=40)


def line(p: Any, batch: Any) -> Any:
    return (p["u"] * p["w"] * batch[0] - batch[1]) ** 2


@pytest.fixture(scope="module")
def scaling() -> Any:
    return find_symmetries(line, {"u": 1.0, "w": 0.5}, (X, Y), key=jax.random.key(0))


def draws_of(case: Any, shape: tuple[int, ...] = (2, 3)) -> dict[str, np.ndarray]:
    return {name: np.random.default_rng(1).normal(size=(*shape, *size)) for name, size in case.shapes.items()}


@pytest.mark.parametrize("name", ["ReLU", "deep ReLU", "squared ReLU"])
def test_canonical_draws_are_one_for_each_orbit(name: str) -> None:
    case = CASES[name]
    found = find_symmetries(case.loss, case.params(), case.data(), key=jax.random.key(0))
    draws = draws_of(case)
    moved = {k: v.copy() for k, v in draws.items()}
    for place in np.ndindex(2, 3):
        one, draw = {k: v[place] for k, v in draws.items()}, np.random.default_rng(sum(place))
        for symmetry in found:
            one = symmetry.transform(one, float(np.exp(draw.normal())))
        for k in moved:
            moved[k][place] = one[k]
    canonical, other = canonical_draws(found, draws), canonical_draws(found, moved)
    for k, leaf in canonical.items():
        np.testing.assert_allclose(leaf, other[k], rtol=1e-8)
        assert not np.allclose(draws[k], moved[k])
    loss = jax.jit(case.loss)
    with jax.enable_x64(True):
        for place in np.ndindex(2, 3):
            at = {k: v[place] for k, v in canonical.items()}
            np.testing.assert_allclose([symmetry.charge(at) for symmetry in found], 0, atol=1e-9)
            before = loss({k: v[place] for k, v in draws.items()}, case.data())
            np.testing.assert_allclose(loss(at, case.data()), before, rtol=1e-9)
    # deep networks: scalings that share a matrix are made canonical together
    single = found[0].canonicalize({k: v[0, 0] for k, v in draws.items()})
    if name == "ReLU":
        again = canonical_draws(found[:1], draws)
        np.testing.assert_allclose(again["a"][0, 0], single["a"], rtol=1e-10)


def test_scale_invariances_end_at_norm_one() -> None:
    case = CASES["layer normalisation and tanh, with bias"]
    found = find_symmetries(case.loss, case.params(), case.data(), key=jax.random.key(0))
    got = canonical_draws(found, draws_of(case))
    np.testing.assert_allclose((got["a"] ** 2).sum((-1, -2)) + (got["b"] ** 2).sum(-1), 1, rtol=1e-10)


@pytest.mark.parametrize(("v", "sd"), [(0.02, 1.0), pytest.param(0.8, 0.3, marks=pytest.mark.slow)])
def test_the_law_on_the_orbit_is_that_of_the_prior(v: float, sd: float, scaling: Any) -> None:
    """Given v = u w the density of t = log(u/w)/2 is exp(-|v| cosh(2t)/tau^2), up to its normaliser."""
    count = 20_000
    draws = {"u": np.full(count, 4.0), "w": np.full(count, v / 4.0)}
    got = resample_orbits(scaling, draws, sd, key=jax.random.key(3))
    np.testing.assert_allclose(got["u"] * got["w"], v, rtol=1e-12)
    t = np.log(got["u"] / got["w"]) / 2
    at = np.linspace(-8, 8, 4001)
    heights = np.exp(-v * (np.cosh(2 * at) - 1) / sd**2)
    cdf = np.concatenate([[0], np.cumsum(heights[1:] + heights[:-1])])
    assert kstest(t, lambda x: np.interp(x, at, cdf / cdf[-1])).pvalue > 1e-3
    # E[u^2 | v] = |v| K1(|v|/tau^2)/K0(|v|/tau^2)
    exact = v * k1(v / sd**2) / k0(v / sd**2)
    assert abs((got["u"] ** 2).mean() - exact) < 5 * (got["u"] ** 2).std() / np.sqrt(count)


def test_groups_of_several_parameters_count_their_volume() -> None:
    """Draws of the prior itself, moved along their orbits, still have the law of the prior."""
    case = CASES["ReLU"]
    found = find_symmetries(case.loss, case.params(), case.data(), key=jax.random.key(0))
    count, sd = 4000, 0.7
    draws = {k: sd * np.random.default_rng(2).normal(size=(count, *size)) for k, size in case.shapes.items()}
    got = resample_orbits(found, draws, sd, key=jax.random.key(1))
    for name in ("a", "b", "c"):
        assert kstest(got[name][:, ..., 0].reshape(count, -1)[:, 0] / sd, "norm").pvalue > 1e-3
    incoming = (got["a"][:, :, 1] ** 2).sum(1) + got["b"][:, 1] ** 2
    assert kstest(incoming / sd**2, "chi2", args=(4,)).pvalue > 1e-3
    assert np.corrcoef(incoming, (draws["a"][:, :, 1] ** 2).sum(1) + draws["b"][:, 1] ** 2)[0, 1] < 0.9


@pytest.mark.slow
def test_what_is_left_different_from_the_posterior_is_the_law_on_v(scaling: Any) -> None:
    """Depth 1: SGD's draws on refilled orbits, weighted by the ratio of the laws on v, are the posterior's."""
    rows, sigma, tau, chains = len(X), 1.0, 1.0, 8_000
    network = sgdvi.LinearNetwork(X, Y, depth=1, noise_sd=sigma, prior_sd=tau)
    rate, draw = 0.01, np.random.default_rng(0)
    u, w = np.full(chains, 0.9), np.full(chains, 0.9)
    for _ in range(3000):
        row = draw.integers(rows, size=chains)
        slope = X[row] * (u * w * X[row] - Y[row]) / sigma**2
        decay = 1 / (rows * tau**2)
        u, w = u - rate * (slope * w + decay * u), w - rate * (slope * u + decay * w)
    np.testing.assert_allclose(u, w, rtol=1e-3)  # SGD itself stands at one point of every orbit
    got = resample_orbits(scaling, {"u": u, "w": w}, tau, key=jax.random.key(5))
    v = got["u"] * got["w"]
    np.testing.assert_allclose(v, u * w, rtol=1e-12)  # its law on v is untouched
    # the posterior of v on v > 0, and SGD's exact law
    b1, b2 = float(network.moments.beta1), float(network.moments.beta2)

    def posterior(at: Any) -> Any:
        return np.exp(-rows * (b1 * at**2 - 2 * b2 * at + b2**2 / b1) / (2 * sigma**2)) * k0(at / tau**2)

    law = network.law(network.temperature(rate, 1))
    weights = posterior(v) / np.exp(np.asarray(law.log_prob(v)))
    weights /= weights.sum()
    size = 1 / (weights**2).sum()
    assert size > 2000
    norm = quad(posterior, 0, 5, epsabs=1e-12)[0]
    # functions of (u, w) that are not functions of v, under the posterior: E[u^2 | v] = v K1/K0
    exact = quad(lambda at: posterior(at) * at * k1(at) / k0(at), 0, 5, epsabs=1e-12)[0] / norm
    second = (weights * got["u"] ** 2).sum()
    error = np.sqrt((weights**2 * (got["u"] ** 2 - second) ** 2).sum())
    # the law is that of the flow: 1 % for its gap to discrete steps
    assert abs(second - exact) < 5 * error + 0.01 * exact
    # the same weights on SGD's own draws do not give it
    assert abs((weights * u**2).sum() - exact) > 20 * error


def test_bad_input(scaling: Any) -> None:
    good = {"u": np.ones(3), "w": np.ones(3)}
    key = jax.random.key(0)
    with pytest.raises(InputError, match="draws must have the structure"):
        canonical_draws(scaling, {"u": np.ones(3)})
    with pytest.raises(InputError, match="leading axes of the others"):
        canonical_draws(scaling, {"u": np.ones(3), "w": np.ones(2)})
    with pytest.raises(InputError, match="1 draws where one is zero"):
        canonical_draws(scaling, {"u": np.array([1.0, 0.0, 1.0]), "w": np.ones(3)})
    with pytest.raises(InputError, match="draws must be finite"):
        canonical_draws(scaling, {"u": np.array([1.0, np.nan, 1.0]), "w": np.ones(3)})
    with pytest.raises(InputError, match="at least one symmetry"):
        canonical_draws([], good)
    with pytest.raises(InputError, match="prior_sd must be .* a flat prior has no law"):
        resample_orbits(scaling, good, float("inf"), key=key)
    assert canonical_draws(scaling, {k: np.float32(v) for k, v in good.items()})["u"].dtype == np.float32

"""Noise along the orbits inside the chain: the posterior's law given the orbit, and a known law on the quotient."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import cumulative_trapezoid
from scipy.interpolate import RegularGridInterpolator
from scipy.special import kve
from scipy.stats import kstest

import sgdvi
from sgdvi import InputError
from sgdvi.symmetry.orbits import OrbitLaw

pytestmark = pytest.mark.usefixtures("optimised")

rng = np.random.default_rng(4)
X = rng.normal(size=40)
Y = 0.3 * X + rng.normal(size=40)
RATE, SIZE, CHAINS = 0.05, 4, 32


@pytest.fixture(scope="module")
def problem() -> sgdvi.Problem:
    return sgdvi.linear_problem("line", X, Y, depth=1, noise_sd=1.0, prior_sd=1.0)


@pytest.fixture(scope="module")
def symmetries(problem: sgdvi.Problem) -> sgdvi.Symmetries:
    return sgdvi.model_symmetries(problem.model, problem.data)


def sampler_of(problem: sgdvi.Problem, symmetries: Any, **options: Any) -> sgdvi.GaugeNoise:
    return sgdvi.GaugeNoise(sgdvi.SGD(problem.model, learning_rate=RATE, batch_size=SIZE), symmetries, 1.0, **options)


@pytest.fixture(scope="module")
def draws(problem: sgdvi.Problem, symmetries: sgdvi.Symmetries) -> tuple[np.ndarray, np.ndarray]:
    with jax.enable_x64(True):
        tree = sgdvi.sample(
            sampler_of(problem, symmetries), problem.data, key=jax.random.key(1), num_steps=4000, num_warmup=600,
            num_chains=CHAINS, thinning=100, progress=False,
        )  # fmt: skip
    return np.asarray(tree["posterior"]["u"]), np.asarray(tree["posterior"]["w"])


def orbit_ranks(u: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Cdf of t = log|u/w|/2 given v, whose density is exp(-|v| cosh 2t), at the draws."""
    v, grid = np.abs(u * w), np.linspace(-12, 12, 4001)
    heights = np.exp(-v[:, None] * (np.cosh(2 * grid) - 1))
    cdf = cumulative_trapezoid(heights, grid, axis=1, initial=0)
    return np.array([np.interp(t, grid, c / c[-1]) for t, c in zip(np.log(np.abs(u / w)) / 2, cdf, strict=True)])


def test_given_the_orbit_the_draws_are_the_posteriors(draws: Any) -> None:
    u, w = (leaf.ravel() for leaf in draws)
    # moved afresh at every step: independent given the orbit
    assert kstest(orbit_ranks(u, w), "uniform").pvalue > 1e-3


def law_of_the_flow(problem: sgdvi.Problem) -> tuple[np.ndarray, np.ndarray]:
    """Values of v and the cdf there: drift and diffusion of v, averaged over the orbit, have this law on both signs."""
    network, m = problem.exact, problem.exact.moments
    a1, a2, a3, b1, b2 = (float(getattr(m, n)) for n in ("alpha1", "alpha2", "alpha3", "beta1", "beta2"))
    heat, gamma = network.temperature(RATE, SIZE), network.weight_decay
    side = np.geomspace(1e-9, 6, 6000)
    v = np.concatenate([-side[::-1], side])
    z = np.abs(v)
    first, second = 2 * z * kve(1, z) / kve(0, z), 2 * v**2 * (1 + kve(2, z) / kve(0, z))
    g = a1 * v**2 - 2 * a2 * v + a3
    drift, diffusion = -2 * first * (b1 * v - b2) + 4 * heat * g * v - 4 * gamma * v, 4 * heat * g * second
    log_p = cumulative_trapezoid(2 * drift / diffusion, v, initial=0) - np.log(diffusion)
    cdf = cumulative_trapezoid(np.exp(log_p - log_p.max()), v, initial=0)
    return v, cdf / cdf[-1]


def test_what_is_left_different_is_the_law_on_v_that_is_known(problem: sgdvi.Problem, draws: Any) -> None:
    v, cdf = law_of_the_flow(problem)
    values = draws[0] * draws[1]
    ranks = np.interp(values, v, cdf)
    ess = len(values) * values.shape[1] / 3  # correlation time: under three thinned draws
    # 2 % for the gap of the flow to steps of this size
    assert kstest(ranks.ravel(), "uniform").statistic < 1.9 / np.sqrt(ess) + 0.02
    # SGD itself has no mass on v < 0; the posterior and this law do
    assert 0 < (values < 0).mean() < 0.05


def test_weighted_by_the_law_on_v_the_draws_are_the_posterior(problem: sgdvi.Problem, draws: Any) -> None:
    """E[u^2 | v] = |v| K1/K0 is the posterior's, in bins of v, while SGD's own draws have |v|."""
    u, w = (leaf.ravel() for leaf in draws)
    v = np.abs(u * w)
    wanted = v * kve(1, v) / kve(0, v)
    for low, high in ((0.0, 0.3), (0.3, 0.5), (0.5, 2.0)):
        here = (v > low) & (v <= high)
        apart = (u**2 - wanted)[here]
        assert abs(apart.mean()) < 5 * apart.std() / np.sqrt(here.sum())
        assert abs((u**2 - v)[here].mean()) > 5 * apart.std() / np.sqrt(here.sum())


def quantiles() -> Any:
    """Quantiles of t >= 0 given |v|, with R = u^2 + w^2 = 2|v| cosh 2t, over log|v| and -log of the survival."""
    log_size, level = np.linspace(np.log(1e-9), np.log(8), 300), np.linspace(0, 24, 1201)
    table = np.empty((300, 1201))
    for row, z in zip(table, np.exp(log_size), strict=True):
        t = np.linspace(0, np.arccosh(1 + 45 / z) / 2, 3001)
        survival = cumulative_trapezoid(np.exp(-z * (np.cosh(2 * t[::-1]) - 1)), -t[::-1], initial=0)[::-1]
        row[:] = np.interp(level, -np.log(np.maximum(survival / survival[0], 1e-300)), t)
    return RegularGridInterpolator((log_size, level), table)


def shares_below_zero(
    rate: float, size: float, *, normal: bool = False, times: tuple[float, float] = (20.0, 40.0), chains: int = 8000
) -> np.ndarray:
    """P(v < 0) in blocks of time of the chain v' = (a^2 + eta^2 s^2) v - eta s a R; `normal`: s with normal noise."""
    find, draw, v = quantiles(), np.random.default_rng(0), np.full(chains, 0.3)
    shrink, share, warmup = 1 - rate / len(X), [], round(times[0] / rate)
    for step in range(warmup + round(times[1] / rate)):
        if normal:
            each = v[:, None] * X**2 - X * Y
            slope = each.mean(1) + each.std(1) * draw.standard_normal(chains) / np.sqrt(size)
        else:
            rows = draw.integers(len(X), size=(chains, round(size)))
            slope = (X[rows] * (v[:, None] * X[rows] - Y[rows])).mean(1)
        z = np.maximum(np.abs(v), 1e-9)
        t = find(np.column_stack([np.log(z), np.minimum(draw.exponential(size=chains), 24)]))
        v = (shrink**2 + (rate * slope) ** 2) * v - rate * slope * shrink * 2 * z * np.cosh(2 * t)
        share += [(v < 0).mean()] if step >= warmup else []
    return np.array([block.mean() for block in np.array_split(share, 8)])


@pytest.mark.slow
def test_v_changes_sign_as_often_as_its_own_markov_chain(draws: Any) -> None:
    """For P(v < 0), several times that of the flow, the size of steps matters."""
    share = shares_below_zero(RATE, SIZE).mean()
    assert share == pytest.approx(0.0044, abs=0.0006)
    seen = (draws[0] * draws[1] < 0).mean(axis=1)
    assert abs(seen.mean() - share) < 4 * seen.std() / np.sqrt(len(seen))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("powers", "squares", "volume"), [([-1.0, 1.0], [0.04, 9.0], 0.0), ([-2.0, 1.0], [3.0, 0.2], 4.0)]
)
def test_steps_have_their_density(powers: list[float], squares: list[float], volume: float) -> None:
    with jax.enable_x64(True):
        law = OrbitLaw.of(jnp.array(powers), jnp.array(squares), volume)
        drawn = jax.vmap(law.quantile)(jax.random.uniform(jax.random.key(0), 20_000))
    grid = np.linspace(-15, 15, 30_001)
    with np.errstate(over="ignore"):
        log_p = volume * grid - (np.exp(2 * np.array(powers) * grid[:, None]) * squares).sum(1) / 2
    cdf = cumulative_trapezoid(np.exp(log_p - log_p.max()), grid, initial=0)
    assert kstest(np.asarray(drawn), lambda at: np.interp(at, grid, cdf / cdf[-1])).pvalue > 1e-3


@pytest.mark.slow
def test_moves_keep_the_orbit_and_come_when_they_are_due(problem: sgdvi.Problem, symmetries: Any) -> None:
    options = {"key": jax.random.key(3), "num_steps": 6, "num_chains": 2, "progress": False}
    with jax.enable_x64(True):
        plain = sgdvi.sample(sgdvi.SGD(problem.model, learning_rate=RATE, batch_size=SIZE), problem.data, **options)
        moved = sgdvi.sample(sampler_of(problem, symmetries, every=3), problem.data, **options)
    a, b = (np.asarray(tree["posterior"]["u"]) for tree in (plain, moved))
    np.testing.assert_array_equal(a[:, :2], b[:, :2])
    assert not np.allclose(a[:, 2], b[:, 2])
    products = [np.asarray(tree["posterior"]["u"] * tree["posterior"]["w"]) for tree in (plain, moved)]
    np.testing.assert_allclose(products[0][:, 2], products[1][:, 2], rtol=1e-12)


def test_bad_input(problem: sgdvi.Problem, symmetries: Any) -> None:
    sgd = sgdvi.SGD(problem.model, learning_rate=RATE)
    with pytest.raises(InputError, match="at least one symmetry"):
        sgdvi.GaugeNoise(sgd, [], 1.0)
    with pytest.raises(InputError, match="a flat prior has no law"):
        sgdvi.GaugeNoise(sgd, symmetries, float("inf"))
    with pytest.raises(InputError, match="prior_sd must hold all that the symmetries move; got no w"):
        sgdvi.GaugeNoise(sgd, symmetries, {"u": 1.0})
    with pytest.raises(InputError, match="must be the sampler"):
        sgdvi.GaugeNoise(problem.model, symmetries, 1.0)
    other = sgdvi.zoo.load("logistic")
    sampler = sgdvi.GaugeNoise(sgdvi.SGD(other.model, learning_rate=RATE), symmetries, 1.0)
    with pytest.raises(InputError, match="must have the parameter u, shape"):
        sgdvi.sample(sampler, other.data, key=jax.random.key(0), num_steps=2, progress=False)

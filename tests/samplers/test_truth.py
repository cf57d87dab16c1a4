"""Discrete SGD beside the exact laws of its flow: orders in the learning rate, floors, covariances, finite batches."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from balanced_operator import moments

import sgdvi
from sgdvi import step_size

# the residuals of the first data are symmetric at every x, those of the second skewed: two down, one up twice as far
SYMMETRIC = np.array([1.0, 1.0, 0.7, 0.7]), np.array([1.4, 0.6, 0.98, 0.42])
SKEWED = np.repeat([1.0, 0.7], 3), np.array([1.5, 0.75, 0.75, 1.05, 0.525, 0.525])
SLOPE = 0.745  # beta1 of both
NETWORKS = [(0, 1), (0, 3), (1, 1), (1, 3), (2, 1), (2, 3), (3, 1), (3, 3)]
RATES = np.array([0.02, 0.01, 0.005, 0.0025])


def law(data: Any, temperature: float, depth: int, width: int = 1) -> sgdvi.SGDStationary:
    return sgdvi.SGDStationary(sgdvi.Moments.from_data(*data), temperature, depth=depth, width=width)


def errors(data: Any, depth: int, width: int, *, rates: Any = RATES, sizes: Any = 1, **wrong: float) -> np.ndarray:
    """Relative errors of Var[v], SGD against the law at the temperature eta/S; `wrong` breaks the law's settings."""
    found = []
    for rate, size in np.broadcast(rates, sizes):
        heat = wrong.get("heat", 1.0) * rate / size
        exact = float(law(data, heat, depth + int(wrong.get("deeper", 0)), width).variance)
        found.append(moments(*data, wrong.get("rate", 1.0) * rate, int(size), depth, width)[1] / exact - 1)
    return np.array(found)


def order(errors: np.ndarray) -> np.ndarray:
    return np.log2(np.abs(errors[:-1] / errors[1:]))


@pytest.mark.parametrize(("depth", "width"), NETWORKS)
@pytest.mark.parametrize("data", [SYMMETRIC, SKEWED], ids=["symmetric", "skewed"])
def test_variance_converges_at_order_one(x64: None, data: Any, depth: int, width: int) -> None:
    assert np.abs(order(errors(data, depth, width)) - 1).max() < 0.25
    for wrong in ({"rate": 1.05}, {"heat": 1.05}, {"deeper": 1}):
        # one more factor changes the variance at leading order, except where d^(1/n) hides it
        assert np.abs(order(errors(data, depth, width, rates=RATES[-2:], **wrong)) - 1).max() > 0.25


def test_variance_of_regression_converges_at_order_one(x64: None) -> None:
    """Var = T g / (beta1 - eta beta1^2 - T alpha1) for the steps, without the eta for the flow."""
    found = errors(SKEWED, 0, 1)
    alpha1 = np.var(SKEWED[0] ** 2)
    np.testing.assert_allclose(found, RATES * SLOPE**2 / (SLOPE - RATES * (SLOPE**2 + alpha1)), rtol=1e-6)
    assert np.abs(order(found) - 1).max() < 0.25


def floor(data: Any, depth: int, temperature: float, **wrong: float) -> tuple[float, float]:
    """The fit a + b eta of the relative errors at fixed temperature, eta and S in proportion: a and b."""
    sizes = np.array([1, 2, 4])
    rates = temperature * sizes
    slope, start = np.polyfit(rates, errors(data, depth, 1, rates=rates, sizes=sizes, **wrong), 1)
    return start, slope


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_floor_at_fixed_temperature(x64: None, depth: int) -> None:
    """What is left as eta and S fall together: nothing to order T where the noise is symmetric, 0.15 D T where not."""
    heat = 0.001
    straight, skewed = floor(SYMMETRIC, depth, heat), floor(SKEWED, depth, heat)
    # eta/2 times the curvature 2 n beta1 along the balanced factors at v = 1: that of an autoregression
    for _, slope in (straight, skewed):
        assert slope == pytest.approx((depth + 1) * SLOPE, rel=0.02)
    # the curvature of the error in eta moves the fitted floor by some eta^2
    curvature = ((depth + 1) * heat * 4) ** 2
    assert abs(straight[0]) < curvature
    assert skewed[0] == pytest.approx(-0.15 * depth * heat, abs=curvature)
    assert abs(floor(SYMMETRIC, depth, heat, heat=1.05)[0]) > 0.04


CHAINS = 40_000


def network_loss(data: Any, depth: int, width: int) -> tuple[sgdvi.Loss, Any]:
    """The network as a per-sample loss, at equal factors with v = 1."""
    factors = np.full((depth + 1, width), width ** (-1 / (depth + 1)))
    return sgdvi.Loss(lambda u, row: (jnp.sum(jnp.prod(u, 0)) * row[0] - row[1]) ** 2, factors), data


def run(loss: sgdvi.Loss, data: Any, rate: float, size: int, *, chains: int, key: int = 0, **options: Any) -> Any:
    """Draws of SGD by the package's driver, axes (chain, draw, ...)."""
    sampler = sgdvi.SGD(loss, learning_rate=rate, batch_size=size, batching=options.pop("batching", "replacement"))
    tree = sgdvi.sample(sampler, data, key=jax.random.key(key), num_chains=chains, progress=False, **options)
    assert (tree["chain_status"]["status"] == "ok").all()
    return tree["posterior"]["params"].values.astype(float)


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "width"), NETWORKS)
def test_sgd_has_the_variance_of_the_operator(depth: int, width: int) -> None:
    loss, data = network_loss(SKEWED, depth, width)
    rate = 0.02
    factors = run(loss, data, rate, 1, chains=20_000, num_steps=1, num_warmup=300)[:, 0]
    v = factors.prod(axis=1).sum(axis=1)
    mean, variance = moments(*data, rate, 1, depth, width)
    squares = (v - mean) ** 2
    error = squares.std() / np.sqrt(len(v))
    assert abs(squares.mean() - variance) < 5 * error
    assert abs(v.mean() - mean) < 5 * np.sqrt(variance / len(v))
    # a rate wrong by a tenth would be seen, a batch wrong by half, another depth (at width 3 depths hardly differ)
    wrong = [moments(*data, 1.1 * rate, 1, depth, width), moments(*data, rate, 2, depth, width)]
    deeper = [moments(*data, rate, 1, depth + 1, width)] if width == 1 else []
    for _, other in wrong + deeper:
        assert abs(squares.mean() - other) > 5 * error


@pytest.mark.slow
def test_depth_one_follows_the_exact_discrete_law() -> None:
    loss, data = network_loss(SKEWED, 1, 1)
    rate, count = 0.02, 50_000
    v = np.sort(run(loss, data, rate, 1, chains=count, num_steps=1, num_warmup=300)[:, 0].prod(axis=(1, 2)))

    def distance(law: Any) -> float:
        cdf, ranks = np.asarray(law.cdf(v)), np.arange(count + 1) / count
        return float(max((cdf - ranks[:-1]).max(), (ranks[1:] - cdf).max()))

    # Dvoretzky-Kiefer-Wolfowitz: independent draws of the law are farther from it once in a thousand times
    null = np.sqrt(np.log(2 / 1e-3) / (2 * count))
    assert distance(sgdvi.discrete_law(*data, rate)) < null
    assert distance(sgdvi.discrete_law(*data, 1.2 * rate)) > 1.3 * null
    assert distance(law(SKEWED, rate, 1)) > 1.3 * null


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 10, 100])
def test_covariance_of_regression_to_one_per_cent(size: int) -> None:
    """Linear regression with two features: SGD against the Stein equation of its steps with the rows' own Hessians."""
    rng = np.random.default_rng(8)
    x = rng.uniform(-1, 1, size=(150, 2)) @ np.array([[1.5, 0.5], [0.0, 1.0]])
    y = x @ [0.7, -0.4] + rng.normal(size=150)
    best, rate = np.linalg.lstsq(x, y)[0], 0.4
    gradients, hessian = (x @ best - y)[:, None] * x, x.T @ x / len(x)
    rows = x[:, :, None] * x[:, None, :]
    noise = gradients.T @ gradients / len(x)
    arguments = {"num_data": len(x), "batch_size": size}
    exact = step_size.discrete_covariance(hessian, noise, rate, sample_hessians=rows, **arguments)
    loss = sgdvi.Loss(lambda theta, row: (row[0] @ theta - row[1]) ** 2 / 2, best)
    draws = run(
        loss, (x, y), rate, size, chains=8_000, num_steps=600 if size < 100 else 200, num_warmup=40, thinning=10
    )
    centred = draws.reshape(-1, 2) - best
    found = centred.T @ centred / len(centred)
    scale = np.sqrt(np.outer(np.diag(exact), np.diag(exact)))
    assert (np.abs(found - exact) / scale).max() < 0.01
    half = step_size.discrete_covariance(hessian, noise, 0.95 * rate, sample_hessians=rows, **arguments)
    assert (np.abs(found - half) / scale).max() > 0.02


@pytest.mark.slow
def test_drawing_without_replacement_takes_its_factor_from_the_variance() -> None:
    rows = np.random.default_rng(1).normal(size=22)
    loss = sgdvi.Loss(lambda z, row: (z - row) ** 2 / 2, float(rows.mean()))
    spread = [
        run(loss, rows, 0.3, 11, chains=CHAINS, key=way, num_steps=1, num_warmup=40, batching=batching).var()
        for way, batching in enumerate(("replacement", "without-replacement"))
    ]
    # five standard errors of the ratio are 5 %
    assert spread[1] / spread[0] == pytest.approx((22 - 11) / (22 - 1), rel=5 * np.sqrt(4 / CHAINS))

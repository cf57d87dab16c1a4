"""The best temperature against brute force: closed forms on a grid of v, a grid of temperatures, and SGD itself."""

import math
from typing import Any

import jax
import numpy as np
import pytest
from scipy import special

import sgdvi
from sgdvi.draws import functional

N = 200
RNG = np.random.default_rng(0)
X = RNG.normal(size=N)
Y = 0.5 * X + RNG.normal(size=N)
# far out: the density falls like v^-7/2 and is weighed with v^2
GRID = np.geomspace(1e-5, 1e16, 40_001)


def log_law(network: sgdvi.LinearNetwork, temperature: float, v: np.ndarray) -> np.ndarray:
    """Density of SGD at depth 1, up to a constant (its closed form)."""
    m = network.moments
    a1, a2, a3, b1 = (float(value) for value in (m.alpha1, m.alpha2, m.alpha3, m.beta1))
    b, root = float(m.beta2) - network.weight_decay, math.sqrt(a1 * a3 - a2**2)
    return (
        (b / (2 * a3 * temperature) - 1.5) * np.log(v)
        - (1 + b / (4 * temperature * a3)) * np.log(a1 * v**2 - 2 * a2 * v + a3)
        - (a3 * b1 - a2 * b) / (2 * temperature * a3 * root) * np.arctan((a1 * v - a2) / root)
    )


def log_posterior(network: sgdvi.LinearNetwork, v: np.ndarray) -> np.ndarray:
    scale, nu = network.prior_sd**2, (network.width - 1) / 2
    z = np.abs(v) / scale
    likelihood = -N * (float(network.moments.beta1) * v**2 - 2 * float(network.moments.beta2) * v)
    bessel = np.where(z < 1e6, special.kve(nu, np.minimum(z, 1e6)), np.sqrt(np.pi / (2 * z)))
    return network.kappa * likelihood + nu * np.log(z) + np.log(bessel) - z


def brute_force(network: sgdvi.LinearNetwork, temperature: float) -> float:
    """KL on v by the trapezoidal rule in log v, of two densities that are normalised there."""

    def normalised(log_density: np.ndarray, both_signs: float = 0.0) -> np.ndarray:
        peak = log_density.max()
        return log_density - peak - np.log(np.trapezoid(np.exp(log_density - peak) * GRID, np.log(GRID)) + both_signs)

    p, q = normalised(log_law(network, temperature, GRID)), log_posterior(network, GRID)
    peak, negative = q.max(), log_posterior(network, -GRID)
    q = normalised(q, np.trapezoid(np.exp(negative - peak) * GRID, np.log(GRID)))
    return float(np.trapezoid(np.exp(p) * (p - q) * GRID, np.log(GRID)))


@pytest.fixture(scope="module")
def network() -> sgdvi.LinearNetwork:
    return sgdvi.LinearNetwork(X, Y, depth=1)


@pytest.fixture(scope="module")
def best(network: sgdvi.LinearNetwork) -> sgdvi.OptimalTemperature:
    return sgdvi.optimal_temperature(network)


@pytest.mark.slow
def test_temperature_is_the_best_of_a_fine_grid(network: sgdvi.LinearNetwork, best: Any) -> None:
    factors = np.geomspace(0.5, 2, 41)
    values = [brute_force(network, best.value * factor) for factor in factors]
    assert abs(np.argmin(values) - 20) <= 1
    assert best.divergences.forward == pytest.approx(min(values), rel=1e-5)
    assert best.divergences.forward <= min(values) * (1 + 1e-7)
    assert best.divergences.backward == math.inf
    assert len(best.assumptions) == 3


@pytest.mark.parametrize("temperature", [0.002, 0.006, 0.024])
def test_divergence_by_brute_force(network: sgdvi.LinearNetwork, temperature: float) -> None:
    found = sgdvi.kl_to_posterior(network, temperature)
    assert found.forward == pytest.approx(brute_force(network, temperature), rel=1e-6)
    assert found.forward > found.forward_covered > 0


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "width", "sign"), [(0, 1, 1), (1, 3, -1), (0, 2, 1)])
def test_other_depths_and_widths(depth: int, width: int, sign: int) -> None:
    other = sgdvi.LinearNetwork(X, sign * Y, depth=depth, width=width)
    found = sgdvi.optimal_temperature(other)
    near = [sgdvi.kl_to_posterior(other, found.value * factor).forward for factor in (0.97, 1.0, 1.03)]
    assert near[1] == found.divergences.forward == min(near)
    if depth:
        mirrored = sgdvi.LinearNetwork(X, Y, depth=depth, width=width)
        assert found.divergences.forward == pytest.approx(brute_force(mirrored, found.value), rel=1e-6)
    else:
        # a law of small noise is nearly Gaussian: the variance of the posterior, by Var = d T g / (d b1 + gamma)
        moments = other.moments
        noise = float(moments.noise(moments.minimizer))
        assert found.value == pytest.approx(1 / (2 * other.kappa * N * noise * width), rel=0.05)


@pytest.mark.slow
def test_sgd_is_closest_there(network: sgdvi.LinearNetwork, best: Any) -> None:
    """KL of the draws of SGD, from a histogram, at the best temperature and at others; the rate is a real one."""
    edges = np.linspace(0.05, 0.95, 46)
    v = (edges[1:] + edges[:-1]) / 2
    q = np.exp(log_posterior(network, v))
    q /= q.sum()
    measured = []
    for factor in (0.5, 1.0, 2.0):
        rate = network.learning_rate(best.value * factor, 1)
        tree = sgdvi.sample(
            sgdvi.SGD(network.model, learning_rate=rate, batch_size=1), (X, Y), key=jax.random.key(3),
            num_steps=20_000, num_warmup=5_000, num_chains=512, thinning=200, progress=False,
            init={"u": 0.7, "w": 0.7},
        )  # fmt: skip
        counts = np.histogram(functional(tree, lambda ds: ds.u * ds.w), edges)[0]
        p = counts / counts.sum()
        measured.append(float(np.sum(special.xlogy(p, p / q))))
    assert measured[1] < 0.5 * min(measured[0], measured[2])
    # batches of one row have a skewed noise that the flow does not know
    assert best.divergences.forward < measured[1] < 2 * best.divergences.forward


def test_what_is_refused(network: sgdvi.LinearNetwork) -> None:
    with pytest.raises(sgdvi.InputError, match="temperature must be a finite number above 0"):
        sgdvi.kl_to_posterior(network, -1.0)
    with pytest.raises(sgdvi.InputError, match="the prior must be proper"):
        sgdvi.optimal_temperature(sgdvi.LinearNetwork(X, Y, prior_sd=np.inf))
    with pytest.raises(sgdvi.InputError, match="network must be sgdvi.LinearNetwork"):
        sgdvi.optimal_temperature(network.model)  # type: ignore[arg-type]

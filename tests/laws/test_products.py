"""The law of a product of normal factors, against Meijer's G, quadrature and its own draws."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy import stats

from sgdvi import InputError, NormalProduct
from sgdvi.laws.prior import log_density

mpmath.mp.dps = 25
VALUES = (1e-200, 1e-30, 1e-11, 1e-8, 1e-3, 0.3, 1.0, 5.0, 300.0)


def exact(v: float, num_factors: int) -> float:
    """Log density of a product of standard normals, Springer and Thompson 1970."""
    z = mpmath.mpf(v) ** 2 / mpmath.mpf(2) ** num_factors
    g = mpmath.meijerg([[], []], [[0] * num_factors, []], z)
    return float(mpmath.log(g / (2 * mpmath.pi) ** (mpmath.mpf(num_factors) / 2)))


@pytest.mark.parametrize("num_factors", [2, 3, pytest.param(4, marks=pytest.mark.slow)])
def test_density_is_meijers_g(num_factors: int, x64: None) -> None:
    truth = np.array([exact(v, num_factors) for v in VALUES])
    scale = 0.7
    v = np.array(VALUES) * scale**num_factors
    truth = truth - num_factors * np.log(scale)
    np.testing.assert_allclose(log_density(v, num_factors, scale), truth, rtol=1e-13, atol=1e-13)
    law = NormalProduct(num_factors, scale)
    np.testing.assert_allclose(law.log_prob(-v), truth, rtol=1e-11, atol=1e-11)
    assert np.isposinf(law.log_prob(0.0))


@pytest.mark.parametrize(("num_factors", "width"), [(1, 1), (1, 3), (2, 2), (2, 3)])
def test_sums_over_units(num_factors: int, width: int, x64: None) -> None:
    law = NormalProduct(num_factors, 0.7, width=width)
    v = np.array([0.0, 1e-30, 1e-3, 0.4, 2.0])
    np.testing.assert_allclose(law.log_prob(v), log_density(v, num_factors, 0.7, width), rtol=1e-10, atol=1e-10)
    if num_factors == 1:
        np.testing.assert_allclose(law.log_prob(v), stats.norm(0, 0.7 * width**0.5).logpdf(v), rtol=1e-12)


@pytest.mark.parametrize(("num_factors", "width"), [(1, 2), (2, 3), (3, 1), pytest.param(6, 1, marks=pytest.mark.slow)])
def test_draws_follow_the_density(num_factors: int, width: int, key: jax.Array, x64: None) -> None:
    law = NormalProduct(num_factors, 0.7, width=width)
    draws = np.abs(law.sample(key, (20_000,)))
    y = np.linspace(-60, 12, 20_000)
    mass = np.exp(np.asarray(law.log_prob(np.exp(y))) + y) * (y[1] - y[0]) * 2
    assert mass.sum() == pytest.approx(1, abs=1e-9)
    cdf = np.interp(np.log(draws), y, np.cumsum(mass) - mass / 2)
    assert stats.kstest(cdf, "uniform").pvalue > 1e-3


def test_gradients_are_those_of_differences(x64: None) -> None:
    for v, scale in ((0.4, 0.7), (1e-12, 0.7), (50.0, 1.1)):

        def value(v: jax.Array, scale: jax.Array) -> jax.Array:
            return NormalProduct(3, scale).log_prob(v)

        found = jax.grad(value, (0, 1))(jnp.asarray(v), jnp.asarray(scale))
        steps = (1e-6 * v, 1e-6 * scale)
        by_v = (value(v + steps[0], scale) - value(v - steps[0], scale)) / (2 * steps[0])
        by_scale = (value(v, scale + steps[1]) - value(v, scale - steps[1])) / (2 * steps[1])
        np.testing.assert_allclose(found, (by_v, by_scale), rtol=1e-5)


def test_deep_and_wide_has_no_density() -> None:
    with pytest.raises(InputError, match="two factors or fewer, or for one unit; got 3 factors, width 2"):
        NormalProduct(3, width=2)


def test_a_program_of_the_other_precision_leaves_it_as_it_is() -> None:
    """JAX 0.12 keeps the precision of a NumPy constant in all programs as long as one that holds it lives."""
    law, at = NormalProduct(3, 0.8), jnp.array([1e-12, 0.5])
    before = law.log_prob(at)
    with jax.enable_x64(True):
        program = jax.jit(law.log_prob)
        program(jnp.array([1e-12, 0.5]))
    np.testing.assert_array_equal(law.log_prob(at), before)

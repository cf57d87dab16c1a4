"""The exact posterior on the line, against 20-digit arithmetic and the theory's formulas."""

from typing import Any

import jax
import mpmath
import numpy as np
import pytest
from scipy import stats

from sgdvi import InputError, LinearNetwork, zoo
from sgdvi.laws.posterior import ProductPosterior
from sgdvi.laws.prior import log_bessel_density
from sgdvi.samplers.references import line_posterior

mpmath.mp.dps = 20
# likelihood mean and sd, prior sd, width; mpmath is quick at orders 0 and n + 1/2
CASES = [(0.32, 0.27, 1.0, 1), (0.1, 0.05, 0.05, 40), (-0.5, 0.2, 2.0, 2)]


def log_prior(v: Any, prior_sd: float, width: int) -> Any:
    scale, order = mpmath.mpf(prior_sd) ** 2, mpmath.mpf(width - 1) / 2
    z = abs(v) / scale
    constant = mpmath.sqrt(mpmath.pi) * mpmath.gamma(order + 0.5) * scale
    return mpmath.log((z / 2) ** order * mpmath.besselk(order, z) / constant)


@pytest.mark.parametrize(("centre", "sd", "prior_sd", "width"), CASES)
def test_bessel_posterior_against_mpmath(centre: float, sd: float, prior_sd: float, width: int) -> None:
    law = ProductPosterior(centre, sd, prior_sd, width)

    def log_density(v: Any) -> Any:
        return log_prior(v, prior_sd, width) - (v - centre) ** 2 / (2 * mpmath.mpf(sd) ** 2)

    def integral(weight: Any, points: list[Any]) -> Any:
        return mpmath.quad(lambda v: weight(v) * mpmath.exp(log_density(v)), points)

    below = [min(0, centre) - 15 * sd, min(0, centre) - 4 * sd, 0] if centre > 0 else [centre - 15 * sd, centre, 0]
    above = [0, centre, centre + 15 * sd] if centre > 0 else [0, 4 * sd, 15 * sd]
    negative, positive = integral(lambda v: 1, below), integral(lambda v: 1, above)
    total = negative + positive
    for v in (-0.2, -1e-8, 1e-6, 0.1, centre, centre + sd):
        exact = float(log_density(mpmath.mpf(v)) - mpmath.log(total))
        assert law.log_prob(v) == pytest.approx(exact, rel=1e-12, abs=1e-12)
    assert law.negative_mass == pytest.approx(float(negative / total), rel=1e-10)
    assert law.cdf(0.0) == pytest.approx(float(negative / total), rel=1e-10)
    part = integral(lambda v: 1, [0, 0.5 * sd])
    assert law.cdf(0.5 * sd) == pytest.approx(float((negative + part) / total), rel=1e-10)
    mean = (integral(lambda v: v, below) + integral(lambda v: v, above)) / total
    assert law.mean == pytest.approx(float(mean), rel=1e-10)


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 101])
def test_bessel_prior_against_mpmath(width: int) -> None:
    v = np.array([1e-200, 1e-9, 0.01, 0.7, 30.0, 500.0])
    exact = [float(log_prior(mpmath.mpf(value), 0.8, width)) for value in v]
    np.testing.assert_allclose(log_bessel_density(v, 0.8**2, width), exact, rtol=1e-13, atol=1e-13)
    np.testing.assert_array_equal(log_bessel_density(-v, 0.8**2, width), log_bessel_density(v, 0.8**2, width))
    at_zero = log_bessel_density(np.array(0.0), 0.8**2, width)
    assert at_zero == np.inf if width == 1 else at_zero == pytest.approx(exact[0], rel=1e-13)


@pytest.mark.parametrize("width", [1, 2, 3, 10])
def test_prior_is_the_law_of_a_sum_of_products_of_normals(width: int) -> None:
    # A likelihood that says nothing leaves the prior.
    law = ProductPosterior(0.0, 1e4, 1.3, width)
    factors = np.random.default_rng(1).normal(scale=1.3, size=(2, 20_000, width))
    assert stats.kstest((factors[0] * factors[1]).sum(axis=-1), law.cdf).pvalue > 1e-3
    assert law.variance == pytest.approx(width * 1.3**4, rel=1e-6)


@pytest.mark.parametrize("name", ["diabetes", "small-n", "weak-signal"])
def test_the_network_gives_likelihood_and_prior(name: str) -> None:
    network = zoo.load(name).exact
    assert network is not None
    law = line_posterior(network)
    v = np.array([0.03, 0.1, 0.4])
    likelihood = stats.norm.logpdf(network.y, v[:, None] * network.x, network.noise_sd).sum(axis=1)
    prior = [float(mpmath.log(mpmath.besselk(0, a) / mpmath.pi)) for a in v]
    np.testing.assert_allclose(np.diff(law.log_prob(v)), np.diff(likelihood + prior), rtol=1e-9)


@pytest.mark.parametrize("width", [1, 4])
def test_depth_0_is_gaussian(width: int) -> None:
    network = LinearNetwork([1.0, 2.0, 4.0], [1.0, -1.0, 3.0], depth=0, width=width, noise_sd=0.7, prior_sd=1.5)
    law = line_posterior(network)
    precision = 21 / 0.7**2 + 1 / (width * 1.5**2)
    oracle = stats.norm((1 - 2 + 12) / 0.7**2 / precision, precision**-0.5)
    v = np.array([-1.0, 0.3, 0.9])
    np.testing.assert_allclose(law.log_prob(v), oracle.logpdf(v), rtol=1e-12)
    np.testing.assert_allclose(law.cdf(v), oracle.cdf(v), rtol=1e-12)
    np.testing.assert_allclose(law.icdf([0.1, 0.9]), oracle.ppf([0.1, 0.9]), rtol=1e-12)
    np.testing.assert_allclose(
        [law.mean, law.variance, law.negative_mass], [*oracle.stats(), oracle.cdf(0)], rtol=1e-12
    )


def test_depth_0_takes_a_flat_prior() -> None:
    network = LinearNetwork([1.0, 2.0, 4.0], [1.0, -1.0, 3.0], depth=0, prior_sd=np.inf)
    assert line_posterior(network).mean == pytest.approx(11 / 21)


@pytest.mark.parametrize(("depth", "width"), [(1, 1), (0, 2), (1, 3)])
def test_an_improper_posterior_is_refused(depth: int, width: int) -> None:
    network = LinearNetwork([1.0, 2.0, 4.0], [1.0, 2.0, 3.0], depth=depth, width=width, prior_sd=np.inf)
    with pytest.raises(InputError, match="prior must be proper.*prior_sd inf"):
        line_posterior(network)


def test_deep_and_wide_is_refused() -> None:
    with pytest.raises(InputError, match="for one unit; got 3 factors, width 2. Take width 1, or use NUTS"):
        line_posterior(LinearNetwork([1.0, 2.0, 4.0], [1.0, 2.0, 3.0], depth=2, width=2))


@pytest.mark.parametrize(("centre", "sd", "prior_sd", "width"), CASES)
def test_quantiles_invert_the_cdf(centre: float, sd: float, prior_sd: float, width: int) -> None:
    law = ProductPosterior(centre, sd, prior_sd, width)
    q = np.array([[1e-12, 1e-6, 0.03], [0.5, 0.97, 1 - 1e-6]])
    v = law.icdf(q)
    assert v.shape == q.shape
    np.testing.assert_allclose(law.cdf(v), q, rtol=1e-9)
    assert np.all(np.diff(v.ravel()) > 0)


def test_ends_and_nonsense() -> None:
    law = ProductPosterior(0.32, 0.27, 1.0, 1)
    np.testing.assert_array_equal(law.icdf([0.0, 1.0, -0.1, 1.1, np.nan]), [-np.inf, np.inf, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(law.cdf([-np.inf, np.inf, np.nan]), [0.0, 1.0, np.nan])
    np.testing.assert_array_equal(law.log_prob([0.0, np.inf, -np.inf, np.nan]), [np.inf, -np.inf, -np.inf, np.nan])
    assert law.cdf(0.0) == pytest.approx(law.negative_mass, rel=1e-14)
    assert law.cdf(5e-324) == pytest.approx(law.negative_mass, rel=1e-14)


def test_draws_have_the_law_and_follow_the_key(key: jax.Array) -> None:
    law = ProductPosterior(0.32, 0.27, 1.0, 1)
    draws = law.sample(key, (2, 2000))
    assert draws.shape == (2, 2000)
    assert draws.dtype == np.float64
    np.testing.assert_array_equal(draws, law.sample(key, (2, 2000)))
    assert stats.kstest(draws.ravel(), law.cdf).pvalue > 1e-3
    assert np.shape(law.sample(key)) == ()

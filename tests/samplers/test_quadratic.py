"""Hessian and gradient noise of a model, against closed forms and against SGD itself."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

import sgdvi
from sgdvi.laws.near_minimum import NearMinimum
from sgdvi.samplers.predicted import well_specified, which_is_right

N = 60
RNG = np.random.default_rng(4)
X = RNG.normal(size=(N, 2)) * [1.0, 0.6]
Y = X @ [0.7, -0.4] + RNG.normal(size=N) * 0.8
SD, PRIOR = 0.9, 2.0


def model(x: Any, y: Any) -> None:
    theta = numpyro.sample("theta", dist.Normal(jnp.zeros(2), PRIOR).to_event(1))
    with numpyro.plate("data", len(x)):
        numpyro.sample("y", dist.Normal(x @ theta, SD), obs=y)


@pytest.fixture(scope="module")
def near() -> sgdvi.LocalQuadratic:
    return sgdvi.local_quadratic(model, (X, Y))


def test_linear_regression_in_closed_form(near: sgdvi.LocalQuadratic) -> None:
    hessian = X.T @ X / N / SD**2 + np.eye(2) / (N * PRIOR**2)
    mode = np.linalg.solve(hessian, X.T @ Y / N / SD**2)
    gradients = (X @ mode - Y)[:, None] * X / SD**2
    np.testing.assert_allclose(near.mode["theta"], mode, rtol=1e-10)
    np.testing.assert_allclose(near.hessian, hessian, rtol=1e-10)
    np.testing.assert_allclose(near.noise, np.cov(gradients.T, bias=True), rtol=1e-9)
    assert near.sample_hessians is not None
    np.testing.assert_allclose(near.sample_hessians.mean(0), hessian, rtol=1e-10)
    rule = near.discrete_time(6, batching="without-replacement", kind="diagonal")
    assert rule.kl < near.discrete_time(6, batching="without-replacement").kl
    assert near.continuous_time(6).value == pytest.approx(4 * 6 / N / np.trace(near.noise))


@pytest.mark.slow
def test_sgd_at_the_rate_has_the_covariance_of_the_rule(near: sgdvi.LocalQuadratic) -> None:
    rule = near.discrete_time(6)
    tree = sgdvi.sample(
        sgdvi.SGD(model, learning_rate=rule.value, batch_size=6), (X, Y), key=jax.random.key(0), num_steps=1,
        num_warmup=200, num_chains=8000, init=near.mode, progress=False,
    )  # fmt: skip
    centred = tree["posterior"]["theta"].values[:, 0] - near.mode["theta"]
    products = centred[:, :, None] * centred[:, None, :]
    error = products.std(0) / np.sqrt(len(products))
    assert (np.abs(products.mean(0) - rule.covariance) < 5 * error).all()
    assert (np.abs(products.mean(0) - 1.2 * rule.covariance) > 5 * error).any()


@pytest.mark.slow
def test_a_loss_and_a_model_that_is_not_quadratic() -> None:
    """One parameter on (0, inf): the exponential model in z = log rate, L = rate mean(y) - z, less its prior."""
    y = np.abs(RNG.normal(size=N)) + 0.1

    def exponential(y: Any) -> None:
        rate = numpyro.sample("rate", dist.Exponential(1.0))
        with numpyro.plate("data", len(y)):
            numpyro.sample("y", dist.Exponential(rate), obs=y)

    near = sgdvi.local_quadratic(exponential, y)
    rate = (N + 1) / (y.sum() + 1)
    assert float(near.mode["rate"]) == pytest.approx(np.log(rate), rel=1e-7)
    np.testing.assert_allclose(near.hessian, [[rate * (y.sum() + 1) / N]], rtol=1e-7)
    np.testing.assert_allclose(near.noise, [[rate**2 * y.var()]], rtol=1e-7)

    loss = sgdvi.Loss(lambda params, y: (y - params["m"]) ** 2 / 2, {"m": 0.0})
    flat = sgdvi.local_quadratic(loss, y)
    np.testing.assert_allclose(
        [flat.mode["m"], flat.hessian[0, 0], flat.noise[0, 0]], [y.mean(), 1, y.var()], rtol=1e-9
    )


def test_what_is_refused(near: sgdvi.LocalQuadratic) -> None:
    with pytest.raises(sgdvi.InputError, match='batching must be "replacement" or'):
        near.discrete_time(6, batching="epochs")
    with pytest.raises(sgdvi.InputError, match="batch_size must be at most N = 60"):
        near.continuous_time(61, batching="without-replacement")


def test_every_law_stands_beside_posterior_and_sandwich(near: sgdvi.LocalQuadratic) -> None:
    laws = near.predicted(batch_size=4)
    posterior, sandwich = laws["Laplace posterior"], laws["sandwich"]
    inverse = np.linalg.inv(near.hessian)
    np.testing.assert_allclose(posterior.covariance, inverse / N, rtol=1e-9)
    np.testing.assert_allclose(sandwich.covariance, inverse @ near.noise @ inverse / N, rtol=1e-9)
    sgd, rate = laws["SGD"], laws["SGD"].learning_rate
    rule = near.discrete_time(4, learning_rate=rate)
    np.testing.assert_allclose(sgd.covariance, rule.covariance, rtol=1e-9)
    heavy = near.discrete_time(4, learning_rate=0.1 * rate, momentum=0.9)
    np.testing.assert_allclose(laws["momentum 0.9, same temperature"].covariance, heavy.covariance, rtol=1e-9)
    assert heavy.temperature == pytest.approx(rule.temperature)
    np.testing.assert_allclose(laws["completed SGD"].covariance, posterior.covariance, rtol=1e-6)
    epochs = near.epochs(rate, 4)
    np.testing.assert_allclose(laws["SGD, reshuffled, ends of epochs"].covariance, epochs.ends, rtol=1e-12)
    assert (epochs.ratios[0] < epochs.ratios[1]).all()
    assert laws.plot().get_xscale() == "log"
    text = str(laws)
    # rows of 0.8 where the model says 0.9: less noise than curvature
    assert "errs on the wide side" in text
    assert "completed SGD" in text
    with pytest.raises(sgdvi.InputError, match="the name of a law is one of Laplace"):
        laws["Adam"]


def test_one_parameter_has_all_laws() -> None:
    loss = sgdvi.Loss(lambda params, y: (y - params["m"]) ** 2 / 2, {"m": 0.0})
    y = RNG.normal(size=50)
    laws = sgdvi.local_quadratic(loss, y).predicted(learning_rate=0.2, batch_size=5)
    # constant Hessian: eta C / (S (2 - eta)), and the average's sandwich
    assert laws["SGD"].covariance[0, 0] == pytest.approx(0.2 * y.var() / 5 / 1.8, rel=1e-6)
    assert laws["sandwich"].covariance[0, 0] == pytest.approx(y.var() / 50, rel=1e-6)


def test_which_law_is_right_under_misspecification() -> None:
    assert "one law, and the right one" in which_is_right((0.95, 1.1))
    wrong = which_is_right((0.9, 3.0))
    assert "vary 0.9 to 3 times as much" in wrong
    assert "the model is misspecified" in wrong
    assert "misspecified" not in which_is_right((0.1, 1.1))
    assert "the sandwich H^-1 C H^-1/N is how far the mode moves" in wrong


def test_few_rows_scatter_the_information_of_a_right_model() -> None:
    assert well_specified((0.8, 1.25))
    assert not well_specified((0.75, 1.2))
    # gradients of a right model, ten of them on 400 rows: what was called wrong in 39 of 40 data sets
    rng = np.random.default_rng(1)
    ends = [np.linalg.eigvalsh(np.cov(rng.normal(size=(400, 10)).T))[[0, -1]] for _ in range(200)]
    assert all(well_specified((low, high), 10 / 400) for low, high in ends)
    assert np.mean([well_specified((low, high)) for low, high in ends]) < 0.1
    assert not well_specified((0.5, 2.0), 5 / 300)
    assert not well_specified((0.01, 0.3), 10 / 8)


def test_averages_over_many_epochs_are_the_sandwich() -> None:
    """Small steps and a long average: the law of the mean of an epoch is H^-1 C H^-1 / N."""
    x = RNG.normal(size=(4000, 2))
    rows = x[:, :, None] * x[:, None, :]
    near = NearMinimum(rows.mean(0), 1.7 * rows.mean(0) + np.diag([0.5, 0]), 4000, rows)
    average = near.average(0.05 * np.eye(2), 1.0, 4000)
    np.testing.assert_allclose(np.diag(average), np.diag(near.sandwich), rtol=0.12)


@pytest.mark.slow
def test_a_symmetry_is_refused() -> None:
    x = X[:, 0]
    network = sgdvi.LinearNetwork(x, Y, depth=1, width=2, prior_sd=1e6)
    with pytest.raises(sgdvi.InputError, match="Hessian is not positive definite"):
        sgdvi.local_quadratic(network.model, (x, Y))

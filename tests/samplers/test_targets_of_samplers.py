"""Every sampler against what it is said to converge to: the posterior, not the covariance of its own chain."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quadratic_model import BEST, COVARIANCE, CURVATURE, ROWS, N, S, model

import sgdvi
from sgdvi.samplers.algorithms.swag import _draw

POSTERIOR = 1 / (N * CURVATURE)  # variances; the directions are independent


def ratios(sampler: sgdvi.Sampler, chains: int, **options: Any) -> tuple[np.ndarray, np.ndarray, float]:
    """Variances over those of the posterior with their standard errors, and the correlation of the directions."""
    tree = sgdvi.sample(
        sampler, ROWS, key=jax.random.key(4), num_chains=chains, init={"theta": BEST}, progress=False, **options
    )
    centred = tree["posterior"]["theta"].values.astype(float) - BEST
    per_chain = (centred**2).mean(1) / POSTERIOR
    correlation = float(np.corrcoef(centred.reshape(-1, 2).T)[0, 1])
    return per_chain.mean(0), per_chain.std(0) / np.sqrt(chains), correlation


def check(found: tuple[np.ndarray, np.ndarray, float], bias: float = 0.0) -> None:
    """The posterior, up to a known order of the bias and five standard errors."""
    ratio, error, correlation = found
    assert error.max() < 0.03
    assert np.all(np.abs(ratio - 1) < bias + 5 * error)
    assert abs(correlation) < 0.06


@pytest.mark.parametrize(
    ("moves", "friction", "rate"),
    [
        # in default runs the test of the temperature sees what this one does
        pytest.param(1, 0.5, 0.3, marks=pytest.mark.slow),
        pytest.param(3, 0.2, 0.3, marks=pytest.mark.slow),
        pytest.param(10, 0.1, 0.1, marks=pytest.mark.slow),
    ],
)
def test_sghmc_on_full_batches_has_the_posterior_at_any_rate(moves: int, friction: float, rate: float) -> None:
    sampler = sgdvi.SGHMC(model, rate, None, friction=friction, num_integration_steps=moves)
    check(ratios(sampler, 2_000, num_warmup=150, num_steps=150, thinning=15))


@pytest.mark.parametrize(
    ("moves", "friction", "rate", "size"),
    [
        (1, 0.5, 0.015, S),
        pytest.param(5, 0.3, 0.002, S, marks=pytest.mark.slow),
        pytest.param(1, 1.0, 0.008, 1, marks=pytest.mark.slow),
    ],
)
def test_sghmc_takes_the_noise_of_minibatches_out(moves: int, friction: float, rate: float, size: int) -> None:
    """Most of the noise is that of the gradients: without the correction variances are some 1.7 times as large."""
    sampler = sgdvi.SGHMC(model, rate, size, friction=friction, num_integration_steps=moves)
    check(ratios(sampler, 500, num_warmup=1_000, num_steps=2_000, thinning=100), bias=0.02)


def test_sghmc_samples_at_its_temperature() -> None:
    sampler = sgdvi.SGHMC(model, 0.3, None, friction=0.5, num_integration_steps=2, temperature=0.3)
    ratio, error, _ = ratios(sampler, 2_000, num_warmup=60, num_steps=100, thinning=10)
    assert np.all(np.abs(ratio / 0.3 - 1) < 5 * error / 0.3)


def test_sgld_at_small_rates() -> None:
    """The bias is h rate / 2 of the variance on full batches."""
    rate = 0.02
    check(
        ratios(sgdvi.SGLD(model, rate, None), 500, num_warmup=300, num_steps=2_000, thinning=100),
        rate * CURVATURE.max(),
    )


def test_preconditioned_sgld_at_small_rates() -> None:
    """With decay 1 the preconditioner settles; each direction has a bias of half its own rate times h."""
    sampler = sgdvi.PreconditionedSGLD(model, 0.05, None, decay=1.0, damping=1.0)
    check(ratios(sampler, 500, num_warmup=1_000, num_steps=3_000, thinning=100), bias=0.05 * CURVATURE.max())


@pytest.mark.slow
def test_cyclical_with_a_long_sampling_part() -> None:
    """The draws of the second half of the sampling part, on full batches."""
    length = 1_600
    sampler = sgdvi.CyclicalSGMCMC(model, 0.3, None, cycle_length=length, exploration=0.5)
    check(ratios(sampler, 1_000, num_warmup=1_200, num_steps=400, thinning=20), bias=0.02)


def test_swag_draws_half_of_the_diagonal_and_half_of_the_snapshots() -> None:
    """Covariance diag(s - m^2)/2 + D D'/(2 (K - 1)) of Maddox and others 2019, eq. 1, for given snapshots."""
    rank, rng = 12, np.random.default_rng(0)
    columns = rng.normal(size=(rank, 3)) @ [[1.0, 0.6, 0.0], [0.0, 0.8, 0.3], [0.0, 0.0, 0.5]]
    mean, spread = np.array([1.0, -2.0, 0.5]), np.array([1.0, 1.5, 0.3])
    keys = jax.random.split(jax.random.key(0), 40_000)
    given = [jnp.asarray(each, jnp.float32) for each in (mean, spread + mean**2, columns)]
    draws = jax.jit(jax.vmap(lambda key: _draw(key, *given, rank)))(keys)
    want = np.diag(spread) / 2 + columns.T @ columns / (2 * (rank - 1))
    scale = np.sqrt(np.outer(np.diag(want), np.diag(want)))
    assert (np.abs(np.cov(np.asarray(draws, float).T) - want) < 5 * np.sqrt(2 / 40_000) * scale).all()


@pytest.mark.slow
def test_swag_has_the_moments_of_sgd_and_half_of_its_correlation() -> None:
    rate = 0.5
    sgd = sgdvi.SGD(model, learning_rate=rate, batch_size=S)
    snapshots, rank, chains = 200, 100, 1_000
    sampler = sgdvi.SWAG(sgd, burn_in=50, period=15, snapshots=snapshots, rank=rank)
    tree = sgdvi.sample(
        sampler, ROWS, key=jax.random.key(5), num_chains=chains, num_warmup=3_050, num_steps=100, thinning=2,
        init={"theta": BEST}, progress=False,
    )  # fmt: skip
    centred = tree["posterior"]["theta"].values.astype(float) - BEST
    shrink = 1 - rate * CURVATURE
    own = rate**2 * COVARIANCE / S / (1 - np.outer(shrink, shrink))
    last = np.arange(snapshots - rank + 1, snapshots + 1)
    columns = own * (1 - 1 / last).sum() / (rank - 1)
    want = own / snapshots + np.diag(np.diag(own)) * (1 - 1 / snapshots) / 2 + columns / 2
    np.testing.assert_allclose(np.diag(want), np.diag(own), rtol=0.01)
    assert want[0, 1] / own[0, 1] == pytest.approx(0.5, abs=0.01)
    products = (centred[..., None] * centred[..., None, :]).mean(1)
    error = 5 * products.std(0) / np.sqrt(chains)
    # 5 % of each variance, and a fifth of the covariance: all of it, and none, would be seen
    assert (np.diag(error) < 0.05 * np.diag(own)).all()
    assert error[0, 1] < 0.2 * want[0, 1]
    assert (np.abs(products.mean(0) - want) < error).all(), (products.mean(0), want, error)

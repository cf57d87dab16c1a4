"""Diagonal plus low rank: the covariance that completed SGD keeps in a quadratic, in every direction."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg

from sgdvi import InputError
from sgdvi.samplers.low_rank import Completed, complete

RNG = np.random.default_rng(2)
D, N, S = 100, 600, 12
# features that share three strong factors, in units of their own: the Hessian has outliers and correlations
FACTORS = RNG.normal(size=(N, 3)) @ RNG.normal(size=(3, D)) * 1.5
X = (FACTORS + RNG.normal(size=(N, D))) * np.exp(RNG.normal(size=D))
HESSIAN = X.T @ X / N + 0.01 * np.diag((X**2).mean(0))
GRADIENTS = X * RNG.normal(size=(N, 1))
GRADIENTS -= GRADIENTS.mean(0)


def made(learning_rate: float | None = None) -> Completed:
    return complete(lambda v: HESSIAN @ v, np.diag(HESSIAN), GRADIENTS, 1 / S, learning_rate)


def stationary(run: Completed) -> np.ndarray:
    """Eigenvalues of the covariance that solves the recursion, over the posterior's H^-1 / N."""
    eye = np.eye(D)
    root = np.stack([run.root.times(e) for e in eye], axis=1)
    inside = np.stack([run.noise.times(e) for e in eye], axis=1)
    step, injected = run.rate * root @ root.T, root @ inside
    left = eye - step @ HESSIAN
    own = step @ (GRADIENTS.T @ GRADIENTS / N) @ step / S
    covariance = scipy.linalg.solve_discrete_lyapunov(left, own + injected @ injected.T)
    half = np.linalg.cholesky(HESSIAN)
    return np.linalg.eigvalsh(N * half.T @ covariance @ half)


def test_every_direction_has_the_variance_of_the_posterior() -> None:
    run = made()
    assert run.error <= 0.1 + 1e-12
    values = stationary(run)
    assert 1 - run.error - 0.02 < values[0] < values[-1] < 1 + run.error + 0.02
    # an error that is known is an error that shrinks with the rate
    assert np.abs(stationary(made(run.rate / 10)) - 1).max() < 0.02


def test_with_diagonals_alone_some_direction_is_far_too_wide() -> None:
    run = made()
    noise = replace(run.noise, factors=np.full_like(run.noise.factors, run.noise.base))
    assert stationary(replace(run, noise=noise))[-1] > 1.3


def test_roots_and_transposes_are_those_of_one_matrix() -> None:
    run = made()
    a, b = RNG.normal(size=(2, D))
    assert a @ run.root.times(b) == pytest.approx(run.root.transposed(a) @ b)
    # steepest directions are brought down to the next
    root = np.stack([run.root.times(e) for e in np.eye(D)], axis=1)
    scale = np.sqrt(np.diag(HESSIAN))
    before = np.linalg.eigvalsh(HESSIAN / np.outer(scale, scale))
    after = np.linalg.eigvalsh(root.T @ HESSIAN @ root)
    assert after[-1] == pytest.approx(before[-1 - D // 4], rel=1e-2)
    assert after[0] == pytest.approx(before[0], rel=1e-2)


def test_a_rate_with_too_much_noise_of_its_own_is_refused() -> None:
    with pytest.raises(InputError, match="less noise than it should have.*Take at most"):
        made(1.0)

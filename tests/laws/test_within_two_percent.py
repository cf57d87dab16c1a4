"""Predicted covariances of momentum and of reshuffled epochs against so many draws of SGD that 2 % show.

The figures: ``pytest -m slow -o log_cli=true --log-cli-level=INFO tests/laws/test_within_two_percent.py``.
"""

import logging
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sgdvi.laws.epochs import epoch_law
from sgdvi.laws.momentum import Momentum
from sgdvi.laws.near_minimum import NearMinimum

RNG = np.random.default_rng(11)
COUNT, BATCH = 48, 4
X = RNG.normal(size=(COUNT, 3)) * [1.0, 0.6, 0.4]
RESIDUAL = RNG.normal(size=COUNT)
RESIDUAL -= X @ np.linalg.lstsq(X, RESIDUAL, rcond=None)[0]
ROWS, GRADIENTS = X[:, :, None] * X[:, None, :], -X * RESIDUAL[:, None]
NEAR = NearMinimum(ROWS.mean(0), GRADIENTS.T @ GRADIENTS / COUNT, COUNT, ROWS)
CHAINS, BLOCKS = 8_000, 60
LOG = logging.getLogger(__name__)


def require_two_percent(name: str, parts: np.ndarray, want: np.ndarray) -> None:
    """Hold the mean of estimates of a covariance, (K, 3, 3), against the prediction, in units of its diagonal."""
    unit = np.sqrt(np.outer(np.diag(want), np.diag(want)))
    off, error = np.abs(parts.mean(0) - want) / unit, parts.std(0, ddof=1) / np.sqrt(len(parts)) / unit
    LOG.info("%s: off by %.2f %%, standard error %.2f %%", name, 100 * off.max(), 100 * error.max())
    # what is left to chance is far below the bound
    assert error.max() < 0.005
    assert off.max() < 0.02


def estimates(step: Callable, state: tuple, block: int) -> np.ndarray:
    """Second moments over the chains after every block of steps, the first ten left out."""

    def some(carry: tuple, keys: jax.Array) -> tuple:
        carry = jax.lax.scan(step, carry, keys)[0]
        return carry, jnp.einsum("ci,cj->ij", carry[0], carry[0]) / CHAINS

    keys = jax.random.split(jax.random.key(3), BLOCKS * block).reshape(BLOCKS, block)
    return np.asarray(jax.jit(lambda state: jax.lax.scan(some, state, keys)[1])(state))[10:]


@pytest.mark.slow
@pytest.mark.parametrize("memory", [Momentum(0.5), Momentum(0.9), Momentum(0.9, nesterov=True)])
def test_momentum(memory: Momentum, x64: None) -> None:
    rate = 0.15
    optimizer = optax.sgd(rate, momentum=memory.mu, nesterov=memory.nesterov)
    x, residual = jnp.asarray(X), jnp.asarray(RESIDUAL)

    def step(carry: tuple, key: jax.Array) -> tuple:
        theta, state = carry
        rows = jax.random.randint(key, (CHAINS, BATCH), 0, COUNT)
        error = jnp.einsum("cbd,cd->cb", x[rows], theta) - residual[rows]
        updates, state = optimizer.update(jnp.einsum("cb,cbd->cd", error, x[rows]) / BATCH, state)
        return (theta + updates, state), None

    start = jnp.zeros((CHAINS, 3))
    parts = estimates(step, (start, optimizer.init(start)), int(1 / NEAR.slowest(rate * np.eye(3), memory)))
    want = NEAR.covariance(rate * np.eye(3), 1 / BATCH, memory=memory)
    assert want is not None
    require_two_percent(f"momentum {memory}", parts, want)


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.05, 0.2])
def test_epochs(rate: float, x64: None) -> None:
    x, residual, length = jnp.asarray(X), jnp.asarray(RESIDUAL), COUNT // BATCH
    law = epoch_law(NEAR, rate * np.eye(3), BATCH, GRADIENTS, ROWS)
    assert law is not None

    @partial(jax.jit, static_argnames="count")
    def epochs(theta: jax.Array, key: jax.Array, count: int) -> tuple:
        def one(theta: jax.Array, key: jax.Array) -> tuple:
            order = jax.vmap(lambda key: jax.random.permutation(key, COUNT))(jax.random.split(key, CHAINS))

            def step(theta: jax.Array, rows: jax.Array) -> tuple:
                error = jnp.einsum("cbd,cd->cb", x[rows], theta) - residual[rows]
                theta = theta - rate * jnp.einsum("cb,cbd->cd", error, x[rows]) / BATCH
                return theta, (theta.mean(0), jnp.einsum("ci,cj->ij", theta, theta) / CHAINS)

            theta, (means, seconds) = jax.lax.scan(step, theta, order.T.reshape(length, BATCH, CHAINS).swapaxes(1, 2))
            return theta, (means, seconds)

        return jax.lax.scan(one, theta, jax.random.split(key, count))

    # starting from the law itself leaves little to forget
    start = jax.random.multivariate_normal(jax.random.key(1), jnp.asarray(law.bias), jnp.asarray(law.ends), (CHAINS,))
    theta = epochs(start, jax.random.key(2), 20)[0]
    _, (means, seconds) = jax.tree.map(np.asarray, epochs(theta, jax.random.key(4), BLOCKS))
    middle = means[:, -1].mean(0)
    require_two_percent(f"ends of epochs, {rate}", seconds[:, -1] - np.outer(middle, middle), law.ends)
    middle = means.mean((0, 1))
    require_two_percent(f"all steps, {rate}", seconds.mean(1) - np.outer(middle, middle), law.steps)

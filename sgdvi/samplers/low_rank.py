r"""Completed SGD of large models: a step that is a diagonal plus low rank, and the noise that it lacks likewise.

In coordinates in which the diagonal of the Hessian is 1, its leading eigenvectors u_k, with eigenvalues
:math:`\lambda_k`, are shrunk to the next one, rho, by

.. math:: R = I + \sum_k (\sqrt{\rho/\lambda_k} - 1) u_k u_k',

and SGD steps by :math:`\eta R R'`. The noise that makes its covariance the posterior's,

.. math:: Q = \frac{\eta}{N} R (2 - \eta A) R', \qquad A = R' (H + N C / S) R,

is exact for every step in a quadratic. A is known by its leading eigenvectors and, for the rest, by its trace.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse.linalg
from jax.flatten_util import ravel_pytree

from sgdvi._internal.check import require
from sgdvi.samplers.algorithms._steps import StepInfo, Steps
from sgdvi.samplers.protocol import Algorithm, Batch
from sgdvi.samplers.targets.base import Params

_MOST_DIRECTIONS = 64
# By the rest of A variances may be off.
_LARGEST_ERROR = 0.1
# Rate times the largest curvature that is left: beyond it noise that grows with the distance takes over.
_FASTEST = 0.1
_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class Spiked:
    """A matrix diag(scale) (base I + V diag(factors - base) V') with orthonormal columns V.

    Attributes
    ----------
    scale, vectors, factors, base
        (D,), V (D, K), (K,), and a number.
    """

    scale: np.ndarray
    vectors: np.ndarray
    factors: np.ndarray
    base: float

    def times(self, v: Any) -> Any:
        """Return the matrix times a vector."""
        return self.scale * self._inner(v)

    def transposed(self, v: Any) -> Any:
        """Return its transpose times a vector."""
        return self._inner(self.scale * v)

    def _inner(self, v: Any) -> Any:
        return self.base * v + self.vectors @ ((self.factors - self.base) * (self.vectors.T @ v))


@dataclass(frozen=True, eq=False)
class Completed:
    """A rate, the root of the step at rate 1, and the root of the noise in the coordinates of that root.

    ``error`` is the largest share by which variances may be off in a quadratic.
    """

    rate: float
    root: Spiked
    noise: Spiked
    error: float

    def algorithm(self) -> Algorithm:
        """Return what a chain does."""

        def init(z: Params) -> Steps:
            return Steps(z, (), jnp.int32(0))

        def step(key: jax.Array, state: Steps, batch: Batch) -> tuple[Steps, StepInfo]:
            loss, gradient = batch.value_and_grad(state.z)
            flat, back = ravel_pytree(gradient)
            inside = self.noise.times(jax.random.normal(key, flat.shape, flat.dtype))
            by = back(self.root.times(inside - self.rate * self.root.transposed(flat)).astype(flat.dtype))
            z = jax.tree.map(lambda at, other: (at + other).astype(at.dtype), state.z, by)
            return Steps(z, (), state.step + 1), StepInfo(loss, jnp.asarray(self.rate, loss.dtype))

        return Algorithm(init, step)


def complete(
    product: Callable[[np.ndarray], np.ndarray],
    curvature: np.ndarray,
    gradients: np.ndarray,
    share: float,
    learning_rate: float | None,
) -> Completed:
    """Return step and noise.

    Parameters
    ----------
    product
        Hessian of L times a vector.
    curvature
        Its diagonal, (D,).
    gradients
        Gradients of the rows less their mean, (N, D).
    share
        Variance of a minibatch mean over that of one row.
    learning_rate
        The rate; None takes the largest at which what is not known of the noise is a tenth of it.

    Raises
    ------
    InputError
        For a rate at which minibatches have more noise than is wanted.
    """
    size, rows = len(curvature), len(gradients)
    scale, count = 1 / np.sqrt(curvature), min(_MOST_DIRECTIONS, len(curvature) // 4)
    values, vectors = _leading(lambda v: scale * product(scale * v), size, count + 1)
    rest, values, vectors = float(values[count]), values[:count], vectors[:, :count]
    root = Spiked(scale, vectors, np.sqrt(rest / values), 1.0)

    def both(v: np.ndarray) -> np.ndarray:
        moved = root.times(v)
        return root.transposed(product(moved) + share * (gradients.T @ (gradients @ moved)))

    noise, along = _leading(both, size, max(count, 1))
    white = gradients * scale
    inside = white @ vectors
    total = size - values.sum() + count * rest
    total += share * float((white**2).sum() - (inside**2 * (1 - rest / values)).sum())
    mean = max(total - noise.sum(), 0.0) / (size - len(noise))
    unknown = max(mean, float(noise[-1]) - mean)
    best = min(2 * _LARGEST_ERROR / unknown, 1 / float(noise[0]), _FASTEST / rest)
    rate = best if learning_rate is None else learning_rate
    rule = "learning_rate must leave every direction less noise than it should have"
    require(rate * noise[0] <= 2, rule, rate, f"Take at most {2 / noise[0]:.3g}, or larger batches.")
    factors = np.sqrt(2 - rate * noise)
    injected = Spiked(np.full(size, np.sqrt(rate / rows)), along, factors, float(np.sqrt(2 - rate * mean)))
    return Completed(float(rate), root, injected, rate * unknown / 2)


def _leading(product: Callable[[np.ndarray], np.ndarray], size: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest eigenvalues of a symmetric matrix, descending, and their eigenvectors, by Lanczos."""
    operator = scipy.sparse.linalg.LinearOperator((size, size), product, dtype=float)
    # from a fixed vector: the same model is tuned in the same way in every process
    first = np.random.default_rng(0).normal(size=size)
    values, vectors = scipy.sparse.linalg.eigsh(operator, count, which="LA", v0=first, tol=_TOLERANCE)
    return values[::-1], vectors[:, ::-1]

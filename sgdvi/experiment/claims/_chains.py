"""Chains of SGD side by side, in one compiled loop: the experiments that need no sampler of the package."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Step = Callable[[Any, Any, Any], Any]


def run_chains(
    step: Step,
    state: Any,
    data: tuple[np.ndarray, np.ndarray],
    rng: np.random.Generator,
    steps: int,
    *,
    chains: int,
    batch_size: int = 1,
    every: int = 500,
) -> Any:
    """Return the states after every `every` steps, each leaf with a leading axis of ``steps // every``.

    Parameters
    ----------
    step
        step(state, x, y) -> state, on minibatches of shape (batch_size, chains, ...); all axes but that of the chains
        are the step's own, so several networks may see the same rows.
    state
        Pytree of arrays.
    data
        x and y, of N rows.
    rng
        Draws the rows, with replacement.
    steps, chains, batch_size, every
        Sizes.
    """
    x, y = (np.asarray(part) for part in data)

    @jax.jit
    def block(state: Any, xs: Any, ys: Any) -> Any:
        return jax.lax.scan(lambda now, rows: (step(now, *rows), None), state, (xs, ys))[0]

    state, kept = jax.tree.map(jnp.asarray, state), []
    for _ in range(steps // every):
        rows = rng.integers(len(x), size=(every, batch_size, chains))
        state = block(state, x[rows], y[rows])
        kept.append(state)
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *kept)


def diagonal(rate: Any, decay: float = 0.0) -> Step:
    """Return the step of diagonal linear networks: factors (depth + 1, ..., width, chains), rate (..., 1, 1)."""

    def step(factors: Any, x: Any, y: Any) -> Any:
        v = factors.prod(0).sum(-2, keepdims=True)
        slope = (2 * x * (v * x - y)).mean(-2, keepdims=True)
        others = jnp.stack([jnp.delete(factors, k, axis=0).prod(0) for k in range(len(factors))])
        return (1 - 2 * rate * decay) * factors - rate * slope * others

    return step


def balanced(v: float, depth: int, width: int, chains: int) -> np.ndarray:
    """Return factors (depth + 1, width, chains), all of one size, with the product sum v."""
    size = (abs(v) / width) ** (1 / (depth + 1))
    factors = np.full((depth + 1, width, chains), size)
    factors[0] *= np.sign(v)
    return factors


def over_chains(values: np.ndarray) -> tuple[float, float]:
    """Return mean and standard error of one value per chain."""
    values = np.asarray(values, np.float64)
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(values.size))

"""How far the law of a scheme is from that of its equation: the same noise in steps of one length and of half of it."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

Move = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]

# Estimates up to 0.03 are chance with so many chains.
_CHAINS = 512
_FEWEST_CHAINS = 256
# Numbers per step, rows times parameters times chains: some seconds.
_MOST_NUMBERS = 1 << 24
_STEPS = 256
_BLOCKS, _COMPARED = 32, 8


def step_error(
    move: Move, functionals: Callable[[jax.Array], jax.Array], start: jax.Array, num_rows: int
) -> float | None:
    """Estimate the Kolmogorov distance of the law after many steps from that of infinitely short ones.

    Twice the distance between whole and halved steps, as of a scheme of weak order one. Chains run from one start, 256
    steps each; points of the last quarter are compared.

    Parameters
    ----------
    move
        ``move(z, normal, share)`` takes a share of the step at z, (D,), with standard normal noise, (num_rows,).
    functionals
        Maps z to the numbers whose laws are compared, (K,).
    start
        Where chains begin, (D,).
    num_rows
        Normal variables of a step.

    Returns
    -------
    float or None
        The largest over the functionals; None where the model is too large for it. Chains that overflow count.
    """
    chains = min(_CHAINS, _MOST_NUMBERS // (num_rows * max(start.size, 1)))
    if chains < _FEWEST_CHAINS:
        return None

    def step(at: jax.Array, key: jax.Array) -> tuple[jax.Array, None]:
        noise = jax.random.normal(key, (2, num_rows), start.dtype)
        whole, halved = jax.vmap(move)(at, jnp.stack([noise.sum(0) / 2**0.5, noise[0]]), jnp.array([1.0, 0.5]))
        return jnp.stack([whole, move(halved, noise[1], jnp.array(0.5))]), None

    def block(at: jax.Array, keys: jax.Array) -> tuple[jax.Array, jax.Array]:
        at = jax.lax.scan(step, at, keys)[0]
        return at, jax.vmap(functionals)(at)

    def chain(key: jax.Array) -> jax.Array:
        keys = jax.random.split(key, (_BLOCKS, _STEPS // _BLOCKS))
        return jax.lax.scan(block, jnp.stack([start, start]), keys)[1][-_COMPARED:]

    values = np.asarray(jax.jit(jax.vmap(chain))(jax.random.split(jax.random.key(0), chains)), float)
    flat = np.where(np.isfinite(values), values, np.inf).reshape(-1, *values.shape[2:])  # (draws, 2, K)
    return max(2 * _distance(*flat[:, :, k].T) for k in range(flat.shape[2]))


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    """Kolmogorov distance of two samples of one size."""
    places = np.concatenate([one, other])
    ranks = [np.searchsorted(np.sort(each), places, side="right") for each in (one, other)]
    return float(np.abs(ranks[0] - ranks[1]).max() / len(one))

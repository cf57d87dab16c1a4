"""Balanced depth-1 SGD itself, many chains at once: v -> v (1 - 2 eta gamma - 2 eta (A v - B))^2."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

CHAINS = 20_000  # of one block: they fit the cache


def simulate(x, y, rate, size=1, decay=0.0, *, chains, steps, every=0, draws=1, seed=0, start=None, limit=np.inf):
    """Return |v| of `chains` independent chains after `steps` steps, and `draws` - 1 times `every` steps later.

    Shape (draws, chains); nan from where a chain has passed `limit`.
    """
    with jax.enable_x64(True):
        side = np.sign(np.mean(x * y))
        rows = jnp.asarray(x * x), jnp.asarray(side * x * y)
        setting = tuple(float(value) for value in (rate, decay, limit))
        start = float(np.mean(side * x * y) / np.mean(x * x)) if start is None else start
        begin = np.broadcast_to(np.asarray(start, dtype=np.float64), chains)
        keys = jax.random.split(jax.random.key(seed), -(-chains // CHAINS))
        result = np.empty((draws, chains))
        for block, key in enumerate(keys):
            part = slice(block * CHAINS, min((block + 1) * CHAINS, chains))
            values = jnp.asarray(begin[part])
            state = jax.random.bits(key, values.shape, dtype=jnp.uint64)
            for draw in range(draws):
                values, state = _run(values, state, *rows, *setting, size, every if draw else steps)
                result[draw, part] = values
    return result


@partial(jax.jit, static_argnames=("size",))
def _run(values, state, squares, products, rate, decay, limit, size, steps):
    count = jnp.uint64(len(squares))

    def step(_, carry):
        v, state = carry
        square = product = 0.0
        for _ in range(size):
            # Knuth's linear congruential generator modulo 2^64, a stream per chain; its upper bits choose the row
            state = state * jnp.uint64(6364136223846793005) + jnp.uint64(1442695040888963407)
            row = (((state >> jnp.uint64(33)) * count) >> jnp.uint64(31)).astype(jnp.int32)
            square, product = square + squares[row], product + products[row]
        factor = 1 - 2 * rate * decay - 2 * rate * (square / size * v - product / size)
        v = v * factor**2
        return jnp.where(v <= limit, v, jnp.nan), state

    return jax.lax.fori_loop(0, steps, step, (values, state))


def kolmogorov(law, values):
    """Kolmogorov distance of a law to draws, and how many draws there are; nan are left out."""
    values = np.sort(values[np.isfinite(values)])
    cdf, ranks = law.cdf(values), np.arange(len(values) + 1) / len(values)
    return max((cdf - ranks[:-1]).max(), (ranks[1:] - cdf).max()), len(values)

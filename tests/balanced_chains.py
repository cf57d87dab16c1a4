"""Balanced SGD itself at any depth and width, many chains at once, signs and all: the iteration of theory's v."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np


def simulate(x, y, rate, size=1, decay=0.0, *, depth=1, width=1, chains, steps, seed=0, start=None):
    """Return v of `chains` independent chains after `steps` steps from `start`; None is the least-squares slope."""
    with jax.enable_x64(True):
        rows = jnp.asarray(x) ** 2, jnp.asarray(x) * jnp.asarray(y)
        start = jnp.full(chains, jnp.mean(rows[1]) / jnp.mean(rows[0])) if start is None else jnp.asarray(start)
        key = jax.random.key(seed)
        return np.asarray(_run(key, start, *rows, rate, decay, size=size, depth=depth, width=width, steps=steps))


@partial(jax.jit, static_argnames=("size", "depth", "width"))
def _run(key, start, squares, products, rate, decay, *, size, depth, width, steps):
    power = (depth - 1) / (depth + 1)

    def step(number, v):
        row = jax.random.randint(jax.random.fold_in(key, number), (size, len(v)), 0, len(squares))
        pull = 2 * (squares[row].mean(0) * v - products[row].mean(0))
        if depth == 0:
            return (1 - 2 * rate * decay) * v - width * rate * pull
        factor = 1 - 2 * rate * decay - rate * jnp.sign(v) * pull * (jnp.abs(v) / width) ** power
        return v * factor ** (depth + 1)

    return jax.lax.fori_loop(0, steps, step, start)


def rows_on_a_grid(slope=1.0, noise=0.5, rows=16):
    """The rows of the reference laws: x_i = -1.5 + 3 (i + 1/2)/rows, noise sqrt(2) cos(5 i)."""
    i = np.arange(rows)
    x = -1.5 + 3 * (i + 0.5) / rows
    return x, slope * x + noise * np.sqrt(2) * np.cos(5 * i)


def kolmogorov(cdf, values):
    """Kolmogorov distance of a cdf to draws."""
    values = np.sort(values)
    level, ranks = np.asarray(cdf(values)), np.arange(len(values) + 1) / len(values)
    return max((level - ranks[:-1]).max(), (ranks[1:] - level).max())

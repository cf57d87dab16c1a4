"""SGD on tanh(v x), on w tanh(u x) and on u w x with the same minibatches: the runs behind figures 3 and 5."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from sgdvi.experiment.claims._chains import run_chains
from sgdvi.experiment.claims._claim import Run

EVERY = 50


class Runs(NamedTuple):
    """v of the three models after warmup: (kept, rates, chains); nan from where a chain has overflowed."""

    shallow: np.ndarray
    deep: np.ndarray
    linear: np.ndarray
    weights: np.ndarray  # w of the deep one


def descend(
    run: Run, data: tuple[np.ndarray, np.ndarray], rates: Any, *, chains: int, steps: int, start_sd: float = 0.5
) -> Runs:
    """Run all three from u, w ~ N(0, start_sd^2), v = u w at depth 0; the last half of the steps is kept.

    float32: an exact zero does not occur, and 1e-6 is far above its rounding.
    """
    rng = run.rng(1)
    rate = jnp.asarray(rates, jnp.float32)[:, None]
    start = start_sd * rng.standard_normal((2, len(rates), chains)).astype(np.float32)
    u, w = start

    def step(state: Any, x: Any, y: Any) -> Any:
        (x,), (y,) = x, y
        v, (u, w), (lu, lw) = state
        hidden = jnp.tanh(v * x)
        v = v - rate * 2 * (hidden - y) * (1 - hidden**2) * x
        hidden = jnp.tanh(u * x)
        residual = 2 * (w * hidden - y)
        u, w = u - rate * residual * w * (1 - hidden**2) * x, w - rate * residual * hidden
        slope = 2 * x * (lu * lw * x - y)
        return v, (u, w), (lu - rate * slope * lw, lw - rate * slope * lu)

    rows = data[0].astype(np.float32), data[1].astype(np.float32)
    every = min(EVERY, steps // 2)
    v, (u, w), (lu, lw) = run_chains(step, (u * w, (u, w), (u, w)), rows, rng, steps, chains=chains, every=every)
    late = slice(len(v) // 2, None)
    with np.errstate(over="ignore", invalid="ignore"):
        return Runs(v[late], u[late] * w[late], lu[late] * lw[late], w[late])

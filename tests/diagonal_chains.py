"""Discrete SGD on diagonal linear networks of any depth and width, from any start, many chains at once."""

import numpy as np


def descend(start, x, y, steps, rate=0.02, decay=0.0, seed=0):
    """SGD with batch size 1 on (v x - y)^2 + decay |theta|^2 from factors (depth + 1, width, ...)."""
    draw = np.random.default_rng(seed)
    theta = np.array(start, dtype=np.float64)
    rest = [[j for j in range(len(theta)) if j != k] for k in range(len(theta))]
    for _ in range(steps):
        row = draw.integers(len(x), size=theta.shape[2:])
        others = np.multiply.reduce(theta[rest], axis=1)
        slope = 2 * ((theta[0] * others[0]).sum(0) * x[row] - y[row]) * x[row]
        theta = theta - rate * (slope * others + 2 * decay * theta)
    return theta


def copies(starts, chains=40):
    """Starts (S, depth + 1, width) as one array (depth + 1, width, S, chains)."""
    return np.repeat(np.moveaxis(np.array(starts, dtype=float), 0, -1)[..., None], chains, -1)


def column(*factors):
    return [[factor] for factor in factors]


def balanced(*v, depth):
    return np.array(
        [[abs(value) ** (1 / (depth + 1)) for value in v]] * depth
        + [[np.sign(value) * abs(value) ** (1 / (depth + 1)) for value in v]]
    )

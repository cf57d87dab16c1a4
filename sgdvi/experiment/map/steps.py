"""Short real runs of discrete SGD on a linear network, balanced from the least-squares slope: do they overflow?"""

import numpy as np

from sgdvi._internal.batches import Batching
from sgdvi.problem.network import LinearNetwork

CHAINS, STEPS = 64, 3000
# From here no chain comes back: the cubic term makes the next step larger still.
_LOST = 1e12


def overflowed(
    network: LinearNetwork, learning_rates: np.ndarray, batch_size: int, batching: Batching, seed: int
) -> np.ndarray:
    """Return the share of 64 chains that overflow within 3000 steps, for each learning rate of the optimizer.

    Equal factors stay equal under SGD, so that one number per chain is the exact iteration,
    u -> u (1 - 2 eta gamma) - 2 eta (A d u^n - B) u^(n-1) with A and B the minibatch means of x^2 and x y; all learning
    rates see the same minibatches.
    """
    factors, width = network.depth + 1, network.width
    center = float(network.moments.minimizer)
    side = -1.0 if center < 0 and factors > 1 else 1.0
    squares, products = network.x**2, side * network.x * network.y
    rate = np.array([[network.flow_learning_rate(rate)] for rate in learning_rates])
    factor = np.full((len(rate), CHAINS), np.sign(side * center) * (abs(center) / width) ** (1 / factors))
    lost = np.zeros(factor.shape, bool)
    random = np.random.default_rng(seed)
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(STEPS):
            rows = _rows(random, network.num_data, batch_size, batching)
            slope, pull = squares[rows].mean(axis=1), products[rows].mean(axis=1)
            push = (slope * width * factor**factors - pull) * factor ** (factors - 1)
            factor = factor - 2 * rate * (push + network.weight_decay * factor)
            lost |= ~(np.abs(factor) < _LOST)
            factor[lost] = 0.0
    return lost.mean(axis=1)


def _rows(random: np.random.Generator, num_data: int, batch_size: int, batching: Batching) -> np.ndarray:
    if batching is Batching.REPLACEMENT:
        return random.integers(num_data, size=(CHAINS, batch_size))
    return np.argpartition(random.random((CHAINS, num_data)), batch_size - 1, axis=1)[:, :batch_size]

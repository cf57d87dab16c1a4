"""A learning rate at which SGD stays finite, found by short runs: minibatches and starts are steeper than the mode."""

from typing import Any

import jax
import numpy as np

from sgdvi._batches import Batching
from sgdvi.problem import Problem
from sgdvi.samplers import SGD, sample

_CHAINS, _STEPS = 32, 512
_MOST_HALVINGS = 12


def stable_rate(problem: Problem, rate: float, batch_size: int, batching: Batching, key: Any) -> float:
    """Return a rate at which no chain of a short run from the problem's own starts overflows.

    The given one if it is; otherwise half of the first of its halves that is, as what one short run in two loses, a
    long one loses too.

    Parameters
    ----------
    problem
        What is run.
    rate
        The rate to begin with.
    batch_size, batching
        Of SGD.
    key
        JAX key.
    """
    for halvings in range(_MOST_HALVINGS):
        if _stays_finite(problem, rate / 2**halvings, batch_size, batching, key):
            return rate / 2 ** (halvings + 1) if halvings else rate
    return rate / 2**_MOST_HALVINGS


def _stays_finite(problem: Problem, rate: float, batch_size: int, batching: Batching, key: Any) -> bool:
    sampler = SGD(problem.model, learning_rate=rate, batch_size=batch_size, batching=batching)
    tree = sample(
        sampler, problem.data, key=key, num_steps=_STEPS, num_chains=_CHAINS, thinning=_STEPS, progress=False
    )  # fmt: skip
    return all(bool(np.isfinite(values).all()) for values in jax.tree.leaves(dict(tree["posterior"].data_vars)))

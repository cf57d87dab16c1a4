"""One more step of SGD from the draws of a linear network, with minibatches that the run has not seen."""

import numpy as np

from sgdvi._internal.batches import Batching
from sgdvi.diagnostics.case import Case
from sgdvi.diagnostics.facts import Known
from sgdvi.diagnostics.stationarity import FreshStep

_DRAWS = 2_000
_BATCHES = 24
_MOST_ROWS = 2_000_000


def fresh_step(known: Known, case: Case, seed: int = 0) -> FreshStep | None:
    """Take one step of discrete SGD from up to 2000 draws, with 24 independent minibatches each.

    Parameters
    ----------
    known
        Network, learning rate and batches of the run.
    case
        The run.
    seed
        Seed of the minibatches.
    """
    network = known.network
    drawn = case.factors
    if known.learning_rate is None or drawn is None:
        return None
    rate, decay = network.flow_learning_rate(known.learning_rate), network.weight_decay
    chains, draws = drawn[0].shape[:2]
    rows = np.unique(np.linspace(0, draws - 1, max(1, _DRAWS // chains)).round().astype(int))
    factors = np.stack([np.asarray(each, np.float64).reshape(chains, draws, -1)[:, rows] for each in drawn])
    value = factors.prod(axis=0).sum(axis=-1)
    size = value.size * known.batch_size
    batches = max(2, min(_BATCHES, _MOST_ROWS // max(size, 1)))
    rng = np.random.default_rng(seed)
    after = np.empty((*value.shape, batches))
    others = np.stack([np.delete(factors, k, axis=0).prod(axis=0) for k in range(len(factors))])
    for batch in range(batches):
        x, y = _rows(rng, known, value.shape)
        push = 2 * (value[..., None] * x**2 - x * y).mean(axis=-1)
        with np.errstate(over="ignore"):
            moved = factors * (1 - 2 * rate * decay) - rate * push[..., None] * others
            after[..., batch] = (moved**2).sum(axis=(0, -1))
    before = (factors**2).sum(axis=(0, -1))
    return FreshStep(before, after)


def _rows(rng: np.random.Generator, known: Known, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    network, size = known.network, known.batch_size
    if known.batching is Batching.REPLACEMENT:
        chosen = rng.integers(network.num_data, size=(*shape, size))
    else:
        order = rng.random((*shape, network.num_data)).argpartition(min(size, network.num_data - 1), axis=-1)
        chosen = order[..., :size]
    return network.x[chosen], network.y[chosen]

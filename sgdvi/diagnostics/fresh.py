"""One more step of SGD from the draws of a linear network, with minibatches that the run has not seen."""

from collections.abc import Mapping

import numpy as np

from sgdvi._internal.batches import Batching
from sgdvi.diagnostics.facts import Known
from sgdvi.diagnostics.stationarity import FreshStep

_DRAWS = 2_000
_BATCHES = 24
_MOST_ROWS = 2_000_000
# Var(|g|^2) takes the fourth moment of v at depth 0; from depth 1 on it never exists.
_MOMENTS = 4.0


def fresh_step(known: Known, sites: Mapping[str, np.ndarray], tail: float, seed: int = 0) -> FreshStep | None:
    """Take one step of discrete SGD from up to 2000 draws, with 24 independent minibatches each.

    Parameters
    ----------
    known
        Network, learning rate and batches of the run.
    sites
        Factor -> draws, (chain, draw) or (chain, draw, unit).
    tail
        Tail index of the exact law of v; nan where unknown.
    seed
        Seed of the minibatches.
    """
    network = known.network
    if known.learning_rate is None:
        return None
    rate, decay = network.flow_learning_rate(known.learning_rate), network.weight_decay
    chains, draws = sites[network.sites[0]].shape[:2]
    rows = np.unique(np.linspace(0, draws - 1, max(1, _DRAWS // chains)).round().astype(int))
    factors = np.stack(
        [np.asarray(sites[name], np.float64).reshape(chains, draws, -1)[:, rows] for name in network.sites]
    )
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
    return FreshStep(before, after, network.depth == 0 and tail > _MOMENTS)


def _rows(rng: np.random.Generator, known: Known, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    network, size = known.network, known.batch_size
    if known.batching is Batching.REPLACEMENT:
        chosen = rng.integers(network.num_data, size=(*shape, size))
    else:
        order = rng.random((*shape, network.num_data)).argpartition(min(size, network.num_data - 1), axis=-1)
        chosen = order[..., :size]
    return network.x[chosen], network.y[chosen]

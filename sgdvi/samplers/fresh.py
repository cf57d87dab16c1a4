"""One more step from draws of a run, with minibatches that the run has not seen."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from sgdvi._internal.check import InputError, message, require
from sgdvi._internal.tree import label
from sgdvi.samplers.driver.feed import find_held
from sgdvi.samplers.driver.run import sample
from sgdvi.samplers.kernel import Sampler
from sgdvi.samplers.targets.base import Target
from sgdvi.samplers.targets.make import as_arguments

_CHAINS = 16_000
_BATCHES = 8
# Chains times rows times parameters: every start is tried on all rows.
_MOST_NUMBERS = 1e10
_FEWEST_CHAINS = 128


def fresh_norms(
    sampler: Sampler, data: Any, sites: Mapping[str, np.ndarray], key: jax.Array
) -> tuple[np.ndarray, np.ndarray]:
    """Take one step of the sampler from up to 2000 draws, with 8 independent minibatches each.

    Parameters
    ----------
    sampler, data
        What made the run, and of which rows.
    sites
        Draws of all its sites, each (chain, draw, ...).
    key
        JAX key of the minibatches.

    Returns
    -------
    tuple of np.ndarray
        Squared norms of the sites at the draws, shape (chain, draw), and after the step, shape (chain, draw, batch).

    Raises
    ------
    InputError
        If the sampler keeps more than the parameters from step to step, which the draws do not hold, or a draw cannot
        be started from.
    """
    arguments = as_arguments(sampler.model, data)
    held = find_held(arguments, sampler.batch_size)
    arguments = held.trial if held else arguments
    target = sampler.prepare(arguments, held.num_data if held else None)
    own = target.shapes_of(target.rows(arguments))
    shapes = {label(name): shape for name, shape in own.items()}
    missing = [name for name in shapes if name not in sites]
    require(not missing, "the draws must hold every parameter", f"none of {', '.join(missing[:5])}")
    if _remembers(sampler, target, own):
        rule = "the step must depend on the parameters alone"
        raise InputError(message(rule, "a sampler that keeps momenta, averages or a count of its steps"))
    sites = {name: sites[name] for name in shapes}
    chains, draws = next(iter(sites.values())).shape[:2]
    numbers = target.num_data * sum(math.prod(shape) for shape in shapes.values())
    total = int(np.clip(_MOST_NUMBERS / numbers, _FEWEST_CHAINS, _CHAINS))
    chosen = np.unique(np.linspace(0, draws - 1, max(1, total // _BATCHES // chains)).round().astype(int))
    before = {name: values[:, chosen] for name, values in sites.items()}
    starts = {
        name: np.repeat(values.reshape(-1, *values.shape[2:]), _BATCHES, axis=0) for name, values in before.items()
    }
    count = chains * len(chosen) * _BATCHES
    tree = sample(sampler, data, key=key, num_steps=1, num_chains=count, init=starts, progress=False)
    drawn = tree["posterior"].to_dataset()
    after = {name: np.asarray(drawn[name].values[:, 0], np.float64) for name in sites}
    return _norms(before, 2), _norms(after, 1).reshape(chains, len(chosen), _BATCHES)


def _remembers(sampler: Sampler, target: Target, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether the state of a chain is more than its parameters."""
    z = target.from_names({name: jax.ShapeDtypeStruct(shape, np.float32) for name, shape in shapes.items()})
    return len(jax.tree.leaves(jax.eval_shape(sampler.algorithm.init, z))) > len(shapes)


def _norms(sites: Mapping[str, np.ndarray], axes: int) -> np.ndarray:
    """Sum of squares over all but the first axes."""
    flat = [np.asarray(values, np.float64).reshape(*values.shape[:axes], -1) for values in sites.values()]
    return np.asarray(sum((each**2).sum(axis=-1) for each in flat))

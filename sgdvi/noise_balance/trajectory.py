"""A trajectory of SGD as arrays: read from draws or a pytree of arrays, thinned to the points that are looked at."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from sgdvi._internal.batches import Batching
from sgdvi._internal.check import InputError, message, positive, require, whole
from sgdvi.laws.momentum import PLAIN, Momentum
from sgdvi.problem.loss import split_module
from sgdvi.symmetry._loss import SampleLoss


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Points of one or several chains of SGD.

    Attributes
    ----------
    leaves
        The leaves of the parameters, each of shape (chain, point, ...), float64.
    steps
        Number of steps taken at each point, shape (K,).
    learning_rate, temperature
        eta, and T = eta/S (with the factor of batches without replacement); nan where not known.
    batch_size
        S; None where it is not known.
    note
        What a reader must know of the rate; "" for plain SGD.
    lost
        Number of chains that were left out because they overflowed.
    momentum
        Of the optimizer; the rate is then eta/(1 - mu).
    """

    leaves: list[np.ndarray]
    steps: np.ndarray
    learning_rate: float
    temperature: float
    batch_size: int | None = None
    note: str = ""
    lost: int = 0
    momentum: Momentum = PLAIN

    @property
    def num_chains(self) -> int:
        """Number of chains."""
        return self.leaves[0].shape[0]

    @property
    def num_points(self) -> int:
        """Number of points of each chain."""
        return self.leaves[0].shape[1]

    @property
    def lags(self) -> np.ndarray:
        """Steps from each point to the next, shape (K - 1,)."""
        return np.diff(self.steps)

    @property
    def spans(self) -> np.ndarray:
        """Time from each point to the next, shape (K - 1,): learning rate times steps."""
        return self.learning_rate * self.lags

    @property
    def late(self) -> np.ndarray:
        """Which points lie in the second half of the run, shape (K,)."""
        return self.steps >= (self.steps[0] + self.steps[-1]) / 2

    def thinned(self, most: int) -> "Trajectory":
        """Return at most `most` points of every chain, evenly spaced, the last one among them."""
        stride = -(-(self.num_points - 1) // (most - 1))
        keep = slice((self.num_points - 1) % stride, None, stride)
        leaves = [leaf[:, keep] for leaf in self.leaves]
        return replace(self, leaves=leaves, steps=self.steps[keep])


def read_tree(
    tree: Any,
    loss: SampleLoss,
    settings: Mapping[str, Any],
    free: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]] | None = None,
) -> Trajectory:
    """Read a trajectory from the draws of `sgdvi.sample`, a DataTree with a group ``posterior``.

    Parameters
    ----------
    tree
        The draws.
    loss
        The loss whose leaves they are.
    settings
        learning_rate, batch_size, thinning, batching: where given they take the place of those in the tree.
    free
        Maps the draws to the coordinates of the loss; None where they are the same.
    """
    group = tree["posterior"]
    config = json.loads(group.attrs.get("config_json", "{}"))
    missing = [label for label in loss.labels if label not in group.data_vars]
    rule = f"the draws must hold the parameters {', '.join(loss.labels)}"
    require(not missing, rule, f"{', '.join(map(str, group.data_vars)) or 'none'}", "Draw with keep=None.")
    draws = {label: np.asarray(group[label]) for label in loss.labels}
    draws = draws if free is None else free(draws)
    merged = {**config, **{name: value for name, value in settings.items() if value is not None}}
    thinning = whole("thinning", merged.get("thinning", 1), least=1)
    arrays = [draws[label] for label in loss.labels]
    return make_trajectory(arrays, loss, merged, config.get("num_warmup", 0) + thinning)


def read_arrays(params: Any, loss: SampleLoss, settings: Mapping[str, Any]) -> Trajectory:
    """Read a trajectory from a pytree like the parameters, whose leaves have leading axes (chain, draw)."""
    leaves, structure = jax.tree.flatten(split_module(params)[0])
    require(structure == loss.structure, f"the trajectory must have the structure {loss.structure}", structure)
    return make_trajectory([np.asarray(leaf) for leaf in leaves], loss, settings, 0)


def make_trajectory(
    arrays: list[np.ndarray],
    loss: SampleLoss,
    settings: Mapping[str, Any],
    first: int,
    steps: np.ndarray | None = None,
) -> Trajectory:
    """Check arrays (chain, draw, ...) and settings; chains with values that are not finite are left out and counted.

    Parameters
    ----------
    arrays, loss
        Values of the leaves of the loss.
    settings
        learning_rate, batch_size, thinning, batching, rate_note, momentum, nesterov; all may be missing.
    first
        Steps taken at the first draw.
    steps
        Steps taken at each draw, in place of `first` and the thinning.
    """
    shape = arrays[0].shape[:2]
    for label, array, like in zip(loss.labels, arrays, loss.leaves, strict=True):
        expected = (*shape, *like.shape)
        rule = f"the trajectory of {label} must have shape ({', '.join(('chain', 'draw', *map(str, like.shape)))})"
        require(array.shape == expected and len(shape) == 2, rule, array.shape, "A single chain is array[None].")
    require(shape[1] >= 2, "a trajectory must have at least 2 draws", shape[1])
    finite = np.all([np.isfinite(array).reshape(shape[0], -1).all(1) for array in arrays], axis=0)
    advice = "They overflowed: take a smaller learning rate."
    require(finite.any(), "at least one chain of the trajectory must be finite", "none", advice)
    rate, size, temperature = settings.get("learning_rate"), settings.get("batch_size"), np.nan
    if rate is not None:
        rate = positive("learning_rate", rate)
        if size is None:
            raise InputError(message("batch_size goes with learning_rate", None))
        share = Batching.of(settings.get("batching") or "replacement").noise_share(loss.num_rows, size)
        temperature = np.nan if share is None else rate * share
    if steps is None:
        steps = first + whole("thinning", settings.get("thinning") or 1, least=1) * np.arange(shape[1])
    leaves = [np.asarray(array[finite], np.float64) for array in arrays]
    note, lost = settings.get("rate_note") or "", int((~finite).sum())
    memory = Momentum(settings.get("momentum", 0.0), settings.get("nesterov", False))
    return Trajectory(leaves, steps, np.nan if rate is None else rate, temperature, size, note, lost, memory)

"""A ReLU network 5-6-3 with its rescaling symmetries: what the rows of section 3 measure on."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import numpy as np

from sgdvi.experiment.claims._claim import Run
from sgdvi.symmetry import find_symmetries
from sgdvi.symmetry.scaling import Symmetry

ROWS, INPUTS, NEURONS, OUTPUTS = 400, 5, 6, 3


@dataclass(frozen=True, eq=False)
class Network:
    """Data, parameters, and one rescaling for each neuron."""

    x: np.ndarray
    y: np.ndarray
    params: dict[str, np.ndarray]
    symmetries: tuple[Symmetry, ...]

    def neuron(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the per-sample gradients of the incoming and the outgoing weights of neuron i, written out."""
        before = self.x @ self.params["w"]
        residuals = 2 * (np.maximum(before, 0) @ self.params["u"] - self.y)
        incoming = (residuals @ self.params["u"][i] * (before[:, i] > 0))[:, None] * self.x
        return incoming, residuals * np.maximum(before[:, i], 0)[:, None]


def loss(params: Any, batch: Any) -> Any:
    """Return the squared error of a ReLU network, one value per row."""
    x, y = batch
    return ((jax.nn.relu(x @ params["w"]) @ params["u"] - y) ** 2).sum(-1)


@cache
def network(seed: int) -> Network:
    """Return the network of a seed: x ~ N(0, I), y = the first three of x + N(0, I), weights N(0, 1)."""
    rng = Run(seed=seed).rng()
    x = rng.standard_normal((ROWS, INPUTS))
    y = x[:, :OUTPUTS] + rng.standard_normal((ROWS, OUTPUTS))
    params = {"w": rng.standard_normal((INPUTS, NEURONS)), "u": rng.standard_normal((NEURONS, OUTPUTS))}
    symmetries = find_symmetries(loss, params, (x, y), key=jax.random.key(seed))
    # in the order of the neurons, whatever the order of the leaves
    ordered = sorted(
        symmetries, key=lambda symmetry: min(str(name) for name in symmetry.exponents if name.startswith("w"))
    )
    return Network(x, y, params, tuple(ordered))

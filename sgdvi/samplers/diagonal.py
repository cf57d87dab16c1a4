"""What large models are tuned by: diagonals of Hessian and gradient noise at the mode, low ranks, and their recipes."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import numpy as np

from sgdvi._internal.batches import Batching
from sgdvi._internal.check import positive, require, whole
from sgdvi.samplers.flat import FlatLoss
from sgdvi.samplers.low_rank import complete
from sgdvi.samplers.mode import Mode
from sgdvi.samplers.recipes import LEAST_NOISE, GaussianLaw, Recipe, batch_size_for

# A Hessian-vector product for each parameter.
LARGEST_DIAGONAL = 20_000
_PRODUCTS = 30


@dataclass(frozen=True, eq=False)
class LocalDiagonal:
    """A loss near its minimum as far as its diagonals go, in float64.

    Attributes
    ----------
    mode
        Parameters at the minimum, a pytree of NumPy arrays.
    curvature, noise
        Diagonals of the Hessian of L and of the covariance of the rows' gradients, (D,).
    stretch
        Largest eigenvalue of the Hessian in coordinates in which its diagonal is 1.
    gradients
        Gradients of the rows less their mean, (N, D).
    num_data
        Rows, N.
    flat
        The loss itself.
    """

    mode: Any
    curvature: np.ndarray
    noise: np.ndarray
    stretch: float
    gradients: np.ndarray = field(repr=False)
    num_data: int
    flat: FlatLoss = field(repr=False)

    @cached_property
    def vector(self) -> np.ndarray:
        """The mode raveled, (D,)."""
        return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(self.mode)])

    def recipe(self, flavour: str, *, batch_size: int | None, learning_rate: float | None, batching: str) -> Recipe:
        """Return rate and diagonal matrix of a flavour, vectors (D,); of "completed" also what `complete` returns."""
        way = Batching.of(batching)
        size = batch_size_for(flavour, self.num_data) if batch_size is None else whole("batch_size", batch_size, 1)
        share = way.noise_share(self.num_data, size) or 0.0
        given = None if learning_rate is None else positive("learning_rate", learning_rate)
        if flavour == "completed":
            made = complete(self._product, self.curvature, self.gradients, share, given)
            step = made.rate / self.curvature
            return Recipe(flavour, size, way, made.rate, step, low_rank=made)
        h, c = self.curvature, np.maximum(self.noise, LEAST_NOISE * self.curvature)
        want = self.num_data * share
        unit = {"scaled": 1 / c, "mandt": 2 / (want * c + h)}.get(flavour, 1 / h)
        most = 1 / (self.stretch * float((unit * h).max()))
        best = {
            "scaled": 2 / want,
            "mandt": 1.0,
            "whitened": 2 / (want * float((self.noise / h).mean())),
        }[flavour]
        rate = min(best, most) if given is None else given
        advice = f"Stay below {2 * most:.3g}."
        require(rate < 2 * most, "learning_rate must keep the steepest direction stable", rate, advice)
        return Recipe(flavour, size, way, float(rate), rate * unit)

    def _product(self, v: np.ndarray) -> np.ndarray:
        return self.flat.product(self.vector, v)

    def law(self, recipe: Recipe) -> GaussianLaw:
        """Return where chains start, and the steps of the slowest relaxation were parameters uncorrelated."""
        return self._around(1 / float((recipe.step * self.curvature).min()))

    @cached_property
    def laplace(self) -> GaussianLaw:
        """A Gaussian with the posterior's curvature along each parameter."""
        return self._around(1.0)

    def _around(self, relaxation: float) -> GaussianLaw:
        root = 1 / np.sqrt(self.num_data * self.curvature)
        return GaussianLaw(self.vector, np.zeros_like(self.vector), root, relaxation)

    def factor(self, matrix: np.ndarray) -> np.ndarray:
        """Return the root of a diagonal matrix, (D,)."""
        return np.sqrt(matrix)


def diagonal_at_mode(flat: FlatLoss, mode: Mode) -> LocalDiagonal:
    """Return the diagonals at a mode.

    Raises
    ------
    InputError
        Where it is none, and for more than 20,000 parameters.
    """
    require(mode.exists, "the model must have a joint mode", "none", mode.reason)
    size = mode.vector.size
    require(size <= LARGEST_DIAGONAL, f"the model must have at most {LARGEST_DIAGONAL} parameters", size)
    curvature = flat.diagonal(mode.vector)
    gradients = flat.row_gradients(mode.vector)
    gradients = gradients - gradients.mean(axis=0)
    noise = (gradients**2).mean(axis=0)
    scale, v = np.sqrt(curvature), np.random.default_rng(0).normal(size=size)
    stretch = 1.0
    for _ in range(_PRODUCTS):
        v = flat.product(mode.vector, v / scale) / scale
        stretch = float(np.linalg.norm(v))
        v = v / stretch
    return LocalDiagonal(mode.point, curvature, noise, stretch, gradients, flat.num_data, flat)

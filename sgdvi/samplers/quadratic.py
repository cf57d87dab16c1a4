"""A model near its mode, as the step-size rules see it: Hessian of the loss, gradient noise, Hessians of the rows."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from sgdvi import step_size
from sgdvi._internal.arguments import checked
from sgdvi._internal.batches import Batching
from sgdvi._internal.check import InputError, message, positive, require
from sgdvi._internal.tree import Arguments, is_traced
from sgdvi.laws.epochs import EpochLaw, epoch_law
from sgdvi.laws.near_minimum import NearMinimum
from sgdvi.samplers.diagonal import LocalDiagonal, diagonal_at_mode
from sgdvi.samplers.driver.fingerprint import hash_arrays
from sgdvi.samplers.flat import FlatLoss
from sgdvi.samplers.mode import LARGEST, NUM_STARTS, Mode, search
from sgdvi.samplers.predicted import PredictedLaws, predicted_laws
from sgdvi.samplers.recipes import GaussianLaw, Recipe, make_recipe
from sgdvi.samplers.targets.make import Source, as_arguments

# Entries of the rows' Hessians that are kept: 160 MB.
_MOST_ENTRIES = 2 * 10**7


@dataclass(frozen=True, eq=False)
class LocalQuadratic:
    """The loss L (negative log joint / N, unconstrained coordinates) near its minimum, in float64.

    Attributes
    ----------
    mode
        Parameters at the minimum, a pytree of NumPy arrays.
    hessian, noise
        Hessian of L and covariance of the rows' gradients there, (D, D), in the order of the raveled pytree.
    sample_hessians
        Hessians of the rows' losses, (N, D, D); None where they would take more than 160 MB.
    num_data
        Rows, N.
    flat
        The loss itself, whose third derivatives decide the means of its laws.
    """

    mode: Any
    hessian: np.ndarray
    noise: np.ndarray
    sample_hessians: np.ndarray | None
    num_data: int
    flat: FlatLoss = field(repr=False)

    @cached_property
    def near(self) -> NearMinimum:
        """The laws of SGD here."""
        return NearMinimum(self.hessian, self.noise, self.num_data, self.sample_hessians)

    @cached_property
    def vector(self) -> np.ndarray:
        """The mode raveled, (D,)."""
        return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(self.mode)])

    def recipe(self, flavour: str, **given: Any) -> Recipe:
        """Return rate, matrix and noise of a flavour of SGD: see `sgdvi.samplers.recipes.make_recipe`."""
        return make_recipe(flavour, self.near, **given)

    def law(self, recipe: Recipe) -> GaussianLaw:
        """Return the law that SGD has here by this recipe.

        Raises
        ------
        InputError
            Where there is none.
        """
        share = recipe.batching.noise_share(self.num_data, recipe.batch_size)
        covariance = self.near.covariance(recipe.step, share or 0.0, recipe.injected, recipe.memory)
        if covariance is None:
            raise InputError(message("the variance must shrink from step to step", recipe.learning_rate))
        return self._around(covariance, 1 / self.near.slowest(recipe.step, recipe.memory))

    def factor(self, matrix: np.ndarray) -> np.ndarray:
        """Return a root of a step or a covariance, (D, D)."""
        return self.near.factor(matrix)

    @cached_property
    def laplace(self) -> GaussianLaw:
        """The posterior in the same approximation as the laws of SGD: N(mode + shift, H^-1 / N)."""
        return self._around(self.near.laplace, 1.0)

    def _around(self, covariance: np.ndarray, relaxation: float) -> GaussianLaw:
        root = self.near.factor(covariance)
        shift = self.near.shift(self.flat.bend(self.vector, root))
        return GaussianLaw(self.vector + shift, shift, root, relaxation)

    def predicted(
        self, *, learning_rate: float | None = None, batch_size: int | None = None, momentum: float = 0.9
    ) -> PredictedLaws:
        """Return every law that SGD can have here, beside Laplace posterior and sandwich, and say which is right.

        Constant SGD with and without replacement and over reshuffled epochs, with momentum and Nesterov's, averaged
        over an epoch, and every preconditioned flavour: exact for linear gradients, by `sgdvi.laws.near_minimum`.

        Parameters
        ----------
        learning_rate, batch_size
            Of plain SGD; None takes the rule of `recipe`.
        momentum
            mu, at the rate that has the same temperature.
        """
        given: dict[str, Any] = {"learning_rate": learning_rate, "batch_size": batch_size, "momentum": momentum}
        return predicted_laws(self.near, self.row_gradients, self.sample_hessians, **given)

    def epochs(self, learning_rate: float, batch_size: int) -> EpochLaw:
        """Return the law of SGD over reshuffled epochs here: `sgdvi.laws.epochs`.

        Raises
        ------
        InputError
            For a rate that has none, and batches of all rows.
        """
        rate = positive("learning_rate", learning_rate)
        step = rate * np.eye(self.near.size)
        law = epoch_law(self.near, step, batch_size, self.row_gradients, self.sample_hessians)
        if law is None:
            raise InputError(message("the variance must shrink from step to step", rate, "Take a smaller rate."))
        return law

    @cached_property
    def row_gradients(self) -> np.ndarray:
        """Gradients of the rows' losses at the mode, (N, D)."""
        return np.asarray(self.flat.row_gradients(self.vector))

    def continuous_time(
        self, batch_size: int, *, batching: str = Batching.REPLACEMENT, kind: step_size.Kind = "scalar"
    ) -> step_size.StepSize:
        """Return `step_size.continuous_time` for this model."""
        return step_size.continuous_time(self.hessian, self.noise, kind=kind, **self._sizes(batch_size, batching))

    def discrete_time(
        self,
        batch_size: int,
        *,
        batching: str = Batching.REPLACEMENT,
        kind: step_size.Kind = "scalar",
        learning_rate: float | None = None,
        momentum: float = 0.0,
        nesterov: bool = False,
    ) -> step_size.StepSize:
        """Return `step_size.discrete_time` for this model, with the Hessians of the rows where they are kept.

        With ``learning_rate=eta, momentum=mu`` it is the exact covariance of ``optax.sgd(eta, momentum=mu)`` here.
        """
        given: dict[str, Any] = {"learning_rate": learning_rate, "momentum": momentum, "nesterov": nesterov}
        sizes = self._sizes(batch_size, batching)
        rows = self.sample_hessians
        return step_size.discrete_time(self.hessian, self.noise, kind=kind, sample_hessians=rows, **sizes, **given)

    def _sizes(self, batch_size: int, batching: str) -> dict[str, Any]:
        way = Batching.of(batching)
        supported = way in (Batching.REPLACEMENT, Batching.WITHOUT_REPLACEMENT)
        advice = (
            "Epochs have no temperature: their law is .epochs(learning_rate, batch_size). Full batches have no noise."
        )
        require(supported, 'batching must be "replacement" or "without-replacement"', repr(way.value), advice)
        return {"num_data": self.num_data, "batch_size": batch_size, "replace": way is Batching.REPLACEMENT}


@checked
def local_quadratic(model: Source, data: Any, *, key: jax.Array | None = None) -> LocalQuadratic:
    """Find the mode of a model, checked as by `find_mode`, and Hessian and gradient noise there.

    Parameters
    ----------
    model
        NumPyro model, or `Loss`.
    data
        Its data, as for `sgdvi.sample`.
    key
        Key of the starts; None is ``jax.random.key(0)``. Of several modes, the one with the highest density is taken.

    Raises
    ------
    InputError
        For a model or data that SGD cannot run on, more than 300 parameters, and where there is no mode: the Hessian
        is not positive definite, as along a symmetry, or the gradient vanishes nowhere.
    """
    return near_mode(model, as_arguments(model, data), key)


def near_mode(model: Source, arguments: Arguments, key: jax.Array | None = None) -> LocalQuadratic:
    """Return `local_quadratic` for the arguments of a model."""
    flat = _flat(model, arguments, key)
    size = flat.starts.shape[1]
    require(size <= LARGEST, f"the model must have at most {LARGEST} parameters", size)
    return at_mode(flat, search(flat))


def _flat(model: Source, arguments: Arguments, key: jax.Array | None) -> FlatLoss:
    return FlatLoss(model, arguments, key=jax.random.key(0) if key is None else key, num_starts=NUM_STARTS)


def at_mode(flat: FlatLoss, mode: Mode) -> LocalQuadratic:
    """Return Hessian and gradient noise at a mode with its Hessian.

    Raises
    ------
    InputError
        Where it is none.
    """
    require(mode.exists and mode.hessian is not None, "the model must have a joint mode", "none", mode.reason)
    gradients = flat.row_gradients(mode.vector)
    fits = flat.num_data * mode.vector.size**2 <= _MOST_ENTRIES
    hessians = flat.row_hessians(mode.vector) if fits else None
    noise = np.atleast_2d(np.cov(gradients.T, bias=True))
    return LocalQuadratic(mode.point, np.asarray(mode.hessian), noise, hessians, flat.num_data, flat)


class Surroundings:
    """The mode of a model and what is near it, found from the data when they come, and found once.

    Parameters
    ----------
    model
        NumPyro model, or `Loss`.
    given
        What `local_quadratic` returned, where it is known: then no data are looked at.

    Raises
    ------
    InputError
        If `given` is something else.
    """

    def __init__(self, model: Source, given: LocalQuadratic | None = None) -> None:
        rule = "near must be what sgdvi.local_quadratic returned"
        require(given is None or isinstance(given, LocalQuadratic), rule, type(given).__name__)
        self._model, self._given, self._seen = model, given, ""
        self._found: LocalQuadratic | LocalDiagonal | None = given

    def find(self, arguments: Arguments, num_data: int | None) -> LocalQuadratic | LocalDiagonal:
        """Return the surroundings of the mode: the same object for the same data; diagonals for large models.

        Raises
        ------
        InputError
            For data without values or on the host, and without a mode.
        """
        if self._given is None:
            rule, advice = "the data must be in memory, with values", "Give near=sgdvi.local_quadratic(model, data)."
            require(num_data is None and not is_traced(arguments), rule, "others", advice)
            seen = hash_arrays(arguments)
            if seen != self._seen:
                flat = _flat(self._model, arguments, None)
                small = flat.starts.shape[1] <= LARGEST
                self._found = at_mode(flat, search(flat)) if small else diagonal_at_mode(flat, search(flat))
                self._seen = seen
        return self.known

    @property
    def known(self) -> LocalQuadratic | LocalDiagonal:
        """What was found.

        Raises
        ------
        InputError
            Before there were data.
        """
        if self._found is None:
            rule = "a sampler that is tuned to the data must see them first"
            raise InputError(message(rule, "no data yet", "Give it to sgdvi.sample or numpyro.infer.MCMC."))
        return self._found


def draw_of(near: LocalQuadratic | LocalDiagonal, law: GaussianLaw, key: jax.Array) -> Any:
    """Draw parameters from a law near a mode, in the precision in force."""
    mean, back = ravel_pytree(jax.tree.map(jnp.asarray, near.flat.params(law.mean)))
    root, normal = jnp.asarray(law.root, mean.dtype), jax.random.normal(key, mean.shape, mean.dtype)
    return back(mean + (root * normal if root.ndim == 1 else root @ normal))

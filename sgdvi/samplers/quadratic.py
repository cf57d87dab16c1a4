"""A model near its mode, as the step-size rules see it: Hessian of the loss, gradient noise, Hessians of the rows."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from sgdvi import step_size
from sgdvi._internal.batches import Batching
from sgdvi._internal.check import require
from sgdvi.samplers.targets.base import find_start, require_finite
from sgdvi.samplers.targets.make import Source, as_arguments, make_target

_SEARCH_STEPS = 1_000
_SEARCH_RATE = 0.05
_NEWTON_STEPS = 20
_LARGEST = 300
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
    """

    mode: Any
    hessian: np.ndarray
    noise: np.ndarray
    sample_hessians: np.ndarray | None
    num_data: int

    def continuous_time(
        self, batch_size: int, *, batching: str = Batching.REPLACEMENT, kind: step_size.Kind = "scalar"
    ) -> step_size.StepSize:
        """Return `step_size.continuous_time` for this model."""
        return step_size.continuous_time(self.hessian, self.noise, kind=kind, **self._sizes(batch_size, batching))

    def discrete_time(
        self, batch_size: int, *, batching: str = Batching.REPLACEMENT, kind: step_size.Kind = "scalar"
    ) -> step_size.StepSize:
        """Return `step_size.discrete_time` for this model, with the Hessians of the rows where they are kept."""
        sizes = self._sizes(batch_size, batching)
        rows = self.sample_hessians
        return step_size.discrete_time(self.hessian, self.noise, kind=kind, sample_hessians=rows, **sizes)

    def _sizes(self, batch_size: int, batching: str) -> dict[str, Any]:
        way = Batching.of(batching)
        known = way in (Batching.REPLACEMENT, Batching.WITHOUT_REPLACEMENT)
        advice = "Epochs and full batches have no temperature."
        require(known, 'batching must be "replacement" or "without-replacement"', repr(way.value), advice)
        return {"num_data": self.num_data, "batch_size": batch_size, "replace": way is Batching.REPLACEMENT}


def local_quadratic(model: Source, data: Any, *, key: jax.Array | None = None) -> LocalQuadratic:
    """Find the minimum of a model's loss, by Adam and then Newton's method, and Hessian and gradient noise there.

    Parameters
    ----------
    model
        NumPyro model, or `Loss`.
    data
        Its data, as for `sgdvi.sample`.
    key
        Key of the start; None is ``jax.random.key(0)``. Of several modes, the start decides.

    Raises
    ------
    InputError
        For a model or data that SGD cannot run on, more than 300 parameters, and where no minimum is found: the
        Hessian is not positive definite, as along a symmetry, or the gradient does not vanish.
    """
    with jax.enable_x64(True):
        arguments = as_arguments(model, jax.tree.map(_double, data))
        key = jax.random.key(0) if key is None else key
        target = make_target(model, arguments, key)
        rows = target.rows(arguments)
        start, found = find_start(target, key, rows)
        require_finite(found)
        point, unravel = ravel_pytree(jax.tree.map(_double, start))
        require(point.size <= _LARGEST, f"the model must have at most {_LARGEST} parameters", point.size)

        def loss(z: jax.Array, rows: Any) -> jax.Array:
            return target.loss(unravel(z), rows)

        z = adam_minimum(loss, point, rows)
        gradient, hessian = jax.jit(jax.grad(loss)), jax.jit(jax.hessian(loss))
        for _ in range(_NEWTON_STEPS):
            curvature = np.asarray(hessian(z, rows))
            least = np.linalg.eigvalsh(curvature)[0]
            rule = "the Hessian at the minimum must be positive definite"
            advice = "Along a symmetry there is no single best step: leave it out, or see sgdvi.optimal_temperature."
            require(least > 1e-10 * np.abs(curvature).max(), rule, f"an eigenvalue of {least:.3g}", advice)
            slope = gradient(z, rows)
            z = z - jnp.linalg.solve(curvature, slope)
        size = np.asarray(gradient(z, rows))
        tolerance = 1e-8 * (1 + np.abs(curvature).max())
        require(np.abs(size).max() < tolerance, "the gradient must vanish at the minimum", np.abs(size).max())

        singles = tuple(leaf[:, None] for leaf in rows)
        gradients = np.asarray(jax.vmap(lambda row: gradient(z, row))(singles))
        hessians = None
        if target.num_data * z.size**2 <= _MOST_ENTRIES:
            hessians = np.asarray(jax.lax.map(lambda row: hessian(z, row), singles))
        noise = np.atleast_2d(np.cov(gradients.T, bias=True))
        mode = jax.tree.map(np.asarray, unravel(z))
        return LocalQuadratic(mode, np.asarray(hessian(z, rows)), noise, hessians, target.num_data)


def adam_minimum(loss: Any, point: jax.Array, rows: Any) -> jax.Array:
    """Return a point near a minimum: a thousand steps of Adam whose rate falls to 0."""
    optimizer = optax.adam(optax.cosine_decay_schedule(_SEARCH_RATE, _SEARCH_STEPS))

    def step(state: tuple[jax.Array, Any], _: None) -> tuple[tuple[jax.Array, Any], None]:
        updates, memory = optimizer.update(jax.grad(loss)(state[0], rows), state[1], state[0])
        return (optax.apply_updates(state[0], updates), memory), None

    return jax.jit(lambda z: jax.lax.scan(step, (z, optimizer.init(z)), length=_SEARCH_STEPS)[0][0])(point)


def _double(leaf: Any) -> Any:
    """Return an array of numbers in double precision; anything else as it is."""
    is_array = isinstance(leaf, jax.Array | np.ndarray)
    return jnp.asarray(leaf, jnp.float64) if is_array and jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

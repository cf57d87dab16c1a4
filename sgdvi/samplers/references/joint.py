"""The negative log joint density of a problem as a function of one vector, in float64: what VI and Laplace are of."""

from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from numpyro.infer.util import initialize_model

from sgdvi._internal.check import InputError, message
from sgdvi.problem.all_rows import full_model
from sgdvi.problem.base import Problem
from sgdvi.samplers.mode import NUM_STARTS, Mode, search

START_RADIUS = 2.0
_ATTEMPTS = 100
# Numbers of data times draws that are held at once.
_MOST_NUMBERS = 4 * 10**6


class Joint:
    """The negative log joint density U of a model on all its data, Jacobian included, as a function of a vector.

    Any NumPyro model will do: its rows need not be independent. Vectors are NumPy arrays, unconstrained.

    Attributes
    ----------
    starts
        Points drawn uniformly on (-2, 2) where U and its gradient are finite, (K, D).
    names
        Name of each coordinate.
    held
        Numbers that an evaluation reads: those of the data, and parameters.
    num_data
        1: the search for the mode divides a loss by no number of rows here.

    Raises
    ------
    InputError
        If the model does not run, has no latent site, or U is finite at no start.
    """

    num_data = 1

    def __init__(self, problem: Problem, num_starts: int = NUM_STARTS) -> None:
        self.problem = problem
        with jax.enable_x64(True):
            args, kwargs = problem.arguments
            key = jax.random.key(0)
            rule = f"the log joint density of {problem.name!r} must be finite at a start"
            try:
                model = full_model(problem.model, (args, kwargs))
                info = initialize_model(key, model, model_args=args, model_kwargs=kwargs, validate_grad=False)
            except InputError:
                raise
            except Exception as error:
                raise InputError(message(rule, f"{type(error).__name__}: {str(error).splitlines()[0]}")) from error
            first, unravel = ravel_pytree(info.param_info.z)

            def potential(z: jax.Array) -> jax.Array:
                return info.potential_fn(unravel(z))

            self.held = sum(np.size(leaf) for leaf in jax.tree.leaves((args, kwargs))) + first.size
            batch = max(1, _MOST_NUMBERS // self.held)
            self.potential = potential
            self._slope = jax.jit(jax.value_and_grad(potential))
            self._slopes = jax.jit(lambda z: jax.lax.map(jax.value_and_grad(potential), z, batch_size=batch))
            self._curved = jax.jit(lambda z: (*jax.value_and_grad(potential)(z), jax.hessian(potential)(z)))
            self._product = jax.jit(lambda z, v: jax.jvp(jax.grad(potential), (z,), (v,))[1])
            self._sites = jax.jit(lambda z: jax.lax.map(lambda one: info.postprocess_fn(unravel(one)), z))
            self._unravel = jax.jit(unravel)
            self.names = _names(self._unravel(np.arange(first.size, dtype=float)))
            drawn = (self._draw(jax.random.fold_in(key, number), first.size) for number in range(num_starts))
            starts = [start for start in drawn if start is not None]
        advice = "Look for NaN in the data and for data outside the support of the likelihood."
        if not starts:
            raise InputError(message(rule, f"none of {_ATTEMPTS * num_starts} starts", advice))
        self.starts = np.stack(starts)

    @property
    def dimension(self) -> int:
        """Number of unconstrained parameters D."""
        return self.starts.shape[1]

    @cached_property
    def mode(self) -> Mode:
        """The checked minimum of U, or the statement that there is none."""
        return search(self)

    def params(self, z: np.ndarray) -> Any:
        """Return a vector as unconstrained values by site."""
        with jax.enable_x64(True):
            return jax.tree.map(np.asarray, self._unravel(np.asarray(z)))

    def slope(self, z: np.ndarray) -> tuple[float, np.ndarray]:
        """U and its gradient."""
        with jax.enable_x64(True):
            value, gradient = self._slope(z)
            return float(value), np.asarray(gradient)

    def slopes(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """U and its gradient at K vectors: (K,) and (K, D)."""
        with jax.enable_x64(True):
            values, gradients = self._slopes(z)
            return np.asarray(values), np.asarray(gradients)

    def curved(self, z: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """U, its gradient and its Hessian."""
        with jax.enable_x64(True):
            value, gradient, hessian = self._curved(z)
            return float(value), np.asarray(gradient), np.asarray(hessian)

    def product(self, z: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Hessian of U times a vector."""
        with jax.enable_x64(True):
            return np.asarray(self._product(z, np.asarray(v, float).ravel()))

    def sites(self, z: np.ndarray) -> dict[str, np.ndarray]:
        """Return the values of all sites at K vectors, in the precision of the caller."""
        kind = jnp.result_type(float)
        with jax.enable_x64(True):
            by_site = {name: np.asarray(values) for name, values in self._sites(np.asarray(z)).items()}
        return {name: values.astype(kind) if values.dtype.kind == "f" else values for name, values in by_site.items()}

    def _draw(self, key: jax.Array, size: int) -> np.ndarray | None:
        for attempt in range(_ATTEMPTS):
            drawn = jax.random.uniform(jax.random.fold_in(key, attempt), (size,), float, -START_RADIUS, START_RADIUS)
            value, gradient = self.slope(np.asarray(drawn))
            if np.isfinite(value) and np.isfinite(gradient).all():
                return np.asarray(drawn)
        return None


def _names(numbered: Any) -> tuple[str, ...]:
    labels: dict[int, str] = {}
    for name, leaf in numbered.items():
        for place, number in np.ndenumerate(leaf):
            labels[int(number)] = f"{name}[{','.join(map(str, place))}]" if place else name
    return tuple(labels[number] for number in range(len(labels)))

"""A target's loss as a function of one vector, in float64, with its derivatives: what is computed before a run."""

import copy
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from sgdvi._internal.tree import Arguments, Rows
from sgdvi.samplers.targets.base import Params, Target, find_start, require_finite
from sgdvi.samplers.targets.make import Source, make_target

# Rows' Hessians are found for so many rows at once that they take some 50 MB.
_BLOCK_ENTRIES = 2 * 10**6


class FlatLoss:
    """The mean loss L of a model or a `Loss` on all its rows, as a function of its raveled parameters.

    Everything is computed in float64, whatever precision is in force; vectors are NumPy arrays.

    Attributes
    ----------
    target
        What the loss is of.
    starts
        Starts where loss and gradient are finite, (K, D).
    names
        Name of each coordinate: that of its site, with its place where the site has several.
    num_data
        Rows, N.

    Raises
    ------
    InputError
        For a model or data that SGD cannot run on, and where loss or gradient is finite at no start.
    """

    def __init__(self, model: Source, arguments: Arguments, *, key: jax.Array, num_starts: int = 1) -> None:
        with jax.enable_x64(True):
            arguments = jax.tree.map(_double, arguments)
            self.target: Target = make_target(model, arguments, key)
            self._rows = rows = self.target.rows(arguments)
            self.num_data = self.target.num_data
            blank, _ = find_start(self.target, key, rows)
            self._unravel = unravel = ravel_pytree(jax.tree.map(_double, blank))[1]
        self.starts = self.find_starts(key, num_starts)

        def loss(z: jax.Array, rows: Any) -> jax.Array:
            return self.target.loss(unravel(z), rows)

        def product(z: jax.Array, v: jax.Array, rows: Any) -> jax.Array:
            return jax.jvp(lambda at: jax.grad(loss)(at, rows), (z,), (v,))[1]

        def trace(z: jax.Array, roots: jax.Array, rows: Any) -> jax.Array:
            return jnp.sum(jax.lax.map(lambda v: v @ product(z, v, rows), roots))

        def of_rows(derivative: Any) -> Any:
            return jax.jit(lambda z, rows: jax.vmap(lambda row: derivative(z, tuple(leaf[None] for leaf in row)))(rows))

        self._slope = jax.jit(jax.value_and_grad(loss))
        self._values = jax.jit(lambda z, rows: jax.lax.map(lambda one: loss(one, rows), z))
        self._curved = jax.jit(lambda z, rows: (*jax.value_and_grad(loss)(z, rows), jax.hessian(loss)(z, rows)))
        numbers = jnp.arange(self.starts.shape[1])
        self._diagonal = jax.jit(
            lambda z, rows: jax.lax.map(lambda i: product(z, jnp.zeros_like(z).at[i].set(1.0), rows)[i], numbers)
        )
        self._product, self._bend = jax.jit(product), jax.jit(jax.grad(trace))
        self._constrain = jax.jit(lambda z, rows: jax.vmap(lambda one: self.target.constrain(unravel(one), rows))(z))
        self._gradients, self._hessians = of_rows(jax.grad(loss)), of_rows(jax.hessian(loss))
        self.names = _names(self.target, self.params(np.arange(self.starts.shape[1], dtype=float)))

    def find_starts(self, key: jax.Array, count: int) -> np.ndarray:
        """Return starts where loss and gradient are finite, (K, D): drawn, or the one that a `Loss` has.

        Raises
        ------
        InputError
            If there is none.
        """
        count = count if self.target.default is None else 1
        with jax.enable_x64(True):
            tried = [find_start(self.target, jax.random.fold_in(key, k), self._rows) for k in range(count)]
            usable = [start for start, fine in tried if fine]
            if not usable:
                where = self.target.not_finite(tried[0][0], self._rows)
                require_finite(jnp.stack([fine for _, fine in tried]), where)
            return np.stack([np.asarray(ravel_pytree(jax.tree.map(_double, start))[0]) for start in usable])

    def params(self, z: np.ndarray) -> Params:
        """Return a vector as parameters, a pytree of NumPy arrays."""
        with jax.enable_x64(True):
            return jax.tree.map(np.asarray, self._unravel(jnp.asarray(z)))

    def slope(self, z: np.ndarray) -> tuple[float, np.ndarray]:
        """Loss and gradient."""
        with jax.enable_x64(True):
            value, gradient = self._slope(z, self._rows)
            return float(value), np.asarray(gradient)

    def values(self, z: np.ndarray) -> np.ndarray:
        """Losses at vectors, (K, D)."""
        with jax.enable_x64(True):
            return np.asarray(self._values(z, self._rows))

    def curved(self, z: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Loss, gradient and Hessian."""
        with jax.enable_x64(True):
            value, gradient, hessian = self._curved(z, self._rows)
            return float(value), np.asarray(gradient), np.asarray(hessian)

    def product(self, z: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Hessian times a vector."""
        with jax.enable_x64(True):
            return np.asarray(self._product(z, np.asarray(v, float).ravel(), self._rows))

    def diagonal(self, z: np.ndarray) -> np.ndarray:
        """Diagonal of the Hessian, by a product with each unit vector."""
        with jax.enable_x64(True):
            return np.asarray(self._diagonal(z, self._rows))

    def bend(self, z: np.ndarray, root: np.ndarray) -> np.ndarray:
        r"""Return :math:`\nabla_z \operatorname{tr}(\Sigma H(z))` for :math:`\Sigma` = root root', (D, K)."""
        with jax.enable_x64(True):
            return np.asarray(self._bend(z, np.ascontiguousarray(root.T), self._rows))

    def row_gradients(self, z: np.ndarray) -> np.ndarray:
        """Gradients of the rows' losses, (N, D): their mean is the gradient of L."""
        return self._by_blocks(self._gradients, z, z.size)

    def row_hessians(self, z: np.ndarray) -> np.ndarray:
        """Hessians of the rows' losses, (N, D, D)."""
        return self._by_blocks(self._hessians, z, z.size**2)

    def constrain(self, z: np.ndarray) -> dict[str, np.ndarray]:
        """Return values of the sites for vectors, (K, D), with a leading axis K."""
        with jax.enable_x64(True):
            return {name: np.asarray(value) for name, value in self._constrain(z, self._rows).items()}

    @property
    def rows(self) -> Rows:
        """The data that minibatches are taken from."""
        return self._rows

    def on(self, rows: Rows) -> "FlatLoss":
        """Return the same loss on other values of the rows; nothing is compiled again."""
        other = copy.copy(self)
        with jax.enable_x64(True):
            other._rows = jax.tree.map(_double, rows)
        return other

    def renewed(self, arguments: Arguments, key: jax.Array, count: int) -> "FlatLoss | None":
        """Return the same loss on other arguments, with starts of its own; None where they are not alike."""
        with jax.enable_x64(True):
            arguments = jax.tree.map(_double, arguments)
            if not self.target.split.same_as(arguments):
                return None
            other = self.on(self.target.rows(arguments))
        other.starts = other.find_starts(key, count)
        return other

    def _by_blocks(self, derivative: Any, z: np.ndarray, entries: int) -> np.ndarray:
        size, block = self.num_data, max(1, _BLOCK_ENTRIES // entries)
        with jax.enable_x64(True):
            cut = [tuple(leaf[i : i + block] for leaf in self._rows) for i in range(0, size, block)]
            return np.concatenate([np.asarray(derivative(z, rows)) for rows in cut])


def _names(target: Target, numbered: Params) -> tuple[str, ...]:
    """Return the name of each coordinate, from parameters whose values are the coordinates' numbers."""
    labels: dict[int, str] = {}
    for name, leaf in target.by_name(numbered, "parameters").items():
        for place, number in np.ndenumerate(leaf):
            labels[int(number)] = f"{name}[{','.join(map(str, place))}]" if place else name
    return tuple(labels[number] for number in range(len(labels)))


def _double(leaf: Any) -> Any:
    """Return an array of numbers in double precision; anything else as it is."""
    is_array = isinstance(leaf, jax.Array | np.ndarray)
    return jnp.asarray(leaf, jnp.float64) if is_array and jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

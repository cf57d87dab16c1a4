"""Between the caller's arrays and the float64 computations: broadcasting, dtypes, concreteness."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from sgdvi._internal.check import real_array, require
from sgdvi._internal.tree import is_traced as is_traced
from sgdvi._internal.types import Values
from sgdvi.laws._engine import xp


@contextmanager
def in_float64() -> Iterator[None]:
    """Compute in float64, and let infinities and nan come and go as JAX does: what is not wanted is masked."""
    with jax.enable_x64(True), np.errstate(all="ignore"):
        yield


def to_float64(value: Any) -> Array:
    """Convert to float64, in the namespace that `xp` computes with; the caller holds ``jax.enable_x64(True)``."""
    if is_traced(value):
        return jax.lax.convert_element_type(value, np.float64)
    array: Any = np.asarray(value, dtype=np.float64)
    return array if xp.is_small(array) else jnp.asarray(array)


@partial(jax.jit, static_argnums=1)
def uniform(key: Array, shape: tuple[int, ...]) -> Array:
    """Draw float64 numbers from the open interval (0, 1), from pairs of 32-bit words.

    JAX's own float64 generator has 64-bit integers inside, which cannot be lowered where the caller's JAX, outside our
    context, has 32 bits only.
    """
    words = jax.random.bits(key, (2, *shape), jnp.uint32).astype(np.float64)
    return jnp.minimum((words[0] + (words[1] + 0.5) * 2.0**-32) * 2.0**-32, 1 - 2.0**-53)


def keep(value: Any, like: Any) -> Any:
    """Hold a parameter as it came: arrays as they are, Python numbers in NumPy at the precision of ``like``."""
    if isinstance(value, jax.Array):
        return value
    array = real_array("a parameter of a law", value)
    require(array.size, "a parameter of a law must have values", "an empty array")
    dtype = np.dtype(np.float64) if isinstance(value, np.ndarray | np.generic) else _dtype_of(like)
    return array.astype(np.float32 if array.dtype == np.float32 else dtype)[()]


def give_back(result: Values, value: Any, parameters: Any) -> Any:
    """Cast a float64 result to the dtype of the caller.

    That is the dtype of ``value`` where it has a floating one, else that of the parameters. A float64 result under
    32-bit JAX goes back as a NumPy array: as a JAX array it would turn into float32 at its next use, with a warning.
    """
    dtype = _floating(value)
    if dtype is None:
        dtype = _dtype_of(parameters)
    if dtype == np.float64 and not jax.config.jax_enable_x64:
        if not isinstance(result, jax.core.Tracer):
            return np.asarray(result)[()]
        dtype = np.dtype(np.float32)
    if isinstance(result, np.ndarray | np.generic):
        return jnp.asarray(np.asarray(result, dtype))
    return jax.lax.convert_element_type(result, dtype)


def flatten_batch(value: Any, batch_shape: tuple[int, ...]) -> tuple[Any, tuple[int, ...]]:
    """Arrange values that broadcast against a batch of laws as (B, M); also return the shape to go back to."""
    shape = np.broadcast_shapes(value.shape, batch_shape)
    split = len(shape) - len(batch_shape)
    size = int(np.prod(batch_shape, dtype=int))
    library = np if isinstance(value, np.ndarray) else jnp
    return library.broadcast_to(value, shape).reshape(int(np.prod(shape[:split], dtype=int)), size).T, shape


def restore_batch(flat: Any, shape: tuple[int, ...]) -> Any:
    """Undo `flatten_batch`."""
    return flat.T.reshape(shape)


def filled_up(flat: np.ndarray) -> np.ndarray:
    """Values (B, M) with their last column repeated up to one of few M, so that few programs are compiled."""
    count = flat.shape[1]
    size = 16
    while size < count:
        size *= 4
    return np.pad(flat, ((0, 0), (0, size - count)), mode="edge") if 0 < count < size else flat


def _dtype_of(tree: Any) -> np.dtype:
    return np.result_type(*(_floating(leaf) or np.float64 for leaf in jax.tree.leaves(tree)))


def _floating(value: Any) -> np.dtype | None:
    dtype = getattr(value, "dtype", None)
    if dtype is None or getattr(value, "weak_type", False) or not jnp.issubdtype(dtype, jnp.floating):
        return None
    return np.dtype(dtype)

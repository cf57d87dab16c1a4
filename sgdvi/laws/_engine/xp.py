"""One source, two namespaces: NumPy for concrete arrays, JAX for its own.

``xp.where(...)`` is ``jax.numpy.where`` where an argument is a JAX array, traced or not, and ``numpy.where`` where none
is. A formula is written once: traced, or for many values, it is compiled; for the few values that people ask for by
hand NumPy has the answer in a thousandth of the time that the compiler would take.
"""

from collections.abc import Callable
from functools import cache, wraps
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# Above this size of any argument a compiled program is faster, its compilation included.
_SMALL = 16384
_PLAIN = (np.ndarray, np.generic, int, float)


def __getattr__(name: str) -> Any:
    # Not kept among the module's names, where `any` and `all` would hide Python's own.
    return _either(name)


@cache
def _either(name: str) -> Callable[..., Any]:
    plain, traced = getattr(np, name), getattr(jnp, name)

    def either(*arguments: Any, **options: Any) -> Any:
        return (traced if _of_jax(arguments) else plain)(*arguments, **options)

    return either


def compiled(function: Callable[..., Any], *, static: tuple[str, ...] = (), most: int = _SMALL) -> Any:
    """Compile a function, but evaluate it in NumPy where no argument is a JAX array or larger than ``most``."""
    program = jax.jit(function, static_argnames=static)

    @wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        if is_small((arguments, options), most):
            with np.errstate(all="ignore"):
                return function(*arguments, **options)
        return program(*arguments, **options)

    call.program = program  # type: ignore[attr-defined]
    return call


def is_small(tree: Any, most: int = _SMALL) -> bool:
    """Whether all leaves are concrete, in NumPy, and at most so large."""
    return all(not isinstance(leaf, jax.Array) and np.size(leaf) <= most for leaf in jax.tree.leaves(tree))


def stop_gradient(tree: Any) -> Any:
    """Let no derivative through."""
    return jax.lax.stop_gradient(tree) if _in_jax(tree) else tree


def once(tree: Any) -> Any:
    """Keep the compiler from copying what is computed into every loop that uses it."""
    return jax.lax.optimization_barrier(tree) if _in_jax(tree) else tree


def cond(chosen: Any, yes: Callable[..., Any], no: Callable[..., Any], *arguments: Any) -> Any:
    """Evaluate one of two functions."""
    if _of_jax((chosen,)):
        return jax.lax.cond(chosen, yes, no, *arguments)
    return (yes if chosen else no)(*arguments)


def repeat(count: int, step: Callable[[Any], Any], state: Any) -> Any:
    """Apply a function again and again."""
    if _in_jax(state):
        return jax.lax.fori_loop(0, count, lambda _, state: step(state), state)
    for _ in range(count):
        state = step(state)
    return state


def while_loop(goes_on: Callable[[Any], Any], step: Callable[[Any], Any], state: Any) -> Any:
    """Apply a function while a condition holds."""
    if _in_jax(state):
        return jax.lax.while_loop(goes_on, step, state)
    while goes_on(state):
        state = step(state)
    return state


def scan(step: Callable[[Any, Any], tuple[Any, Any]], state: Any, rows: Any) -> tuple[Any, Any]:
    """Carry a state along the rows; also what each step gives, stacked, where that is one array."""
    if _in_jax((state, rows)):
        return jax.lax.scan(step, state, jax.tree.map(jnp.asarray, rows))
    outputs = []
    for i in range(len(jax.tree.leaves(rows)[0])):
        state, output = step(state, jax.tree.map(lambda row: row[i], rows))  # noqa: B023
        outputs.append(output)
    return state, None if outputs[0] is None else np.stack(outputs)


def sum_over(term: Callable[[Any, Any], Any], places: np.ndarray, weights: np.ndarray, like: Any) -> Any:
    """Sum of a term over places and their weights, an array like ``like``, shape (n,).

    In JAX a loop, as many copies of the term would take long to compile; in NumPy many places at a time.
    """
    if _in_jax(like):
        rows = (jnp.asarray(places), jnp.asarray(weights))
        return jax.lax.scan(lambda total, row: (total + term(*row), None), jnp.zeros_like(like), rows)[0]
    size = _SMALL // np.size(like) + 1
    columns = [(places[i : i + size, None], weights[i : i + size, None]) for i in range(0, len(places), size)]
    return sum(np.sum(term(*column), axis=0) for column in columns)


def first_true(values: Any) -> Any:
    """Place of the first true one of booleans, shape (n,), as a 32-bit index.

    The lowering of an outer jit, outside our float64 context, has no other.
    """
    return jax.lax.argmax(values, 0, jnp.int32) if _of_jax((values,)) else np.argmax(values)


def places_after(ordered: Any, values: Any, method: str = "scan") -> Any:
    """Number of entries at or below each value."""
    if _of_jax((ordered, values)):
        return jnp.searchsorted(ordered, values, side="right", method=method)
    return np.searchsorted(ordered, values, side="right")


def bitcast(values: Any, dtype: Any) -> Any:
    """Read the bits of 32-bit numbers as those of another dtype."""
    return jax.lax.bitcast_convert_type(values, dtype) if _of_jax((values,)) else values.view(dtype)


def _in_jax(tree: Any) -> bool:
    return any(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(tree))


def _of_jax(arguments: Any) -> bool:
    for value in arguments:
        if isinstance(value, _PLAIN):
            continue
        if isinstance(value, jax.Array) or (isinstance(value, list | tuple) and _of_jax(value)):
            return True
    return False

"""What decides the draws of a run, as short hashes: a stored run goes on only with the model and data it began with."""

import hashlib
import re
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.extend import core

# Reads a memory-mapped array piece by piece.
_BLOCK_BYTES = 64 << 20
_ADDRESS = re.compile(r"0x[0-9a-f]+")


def hash_arrays(arrays: Any) -> str:
    """Return a hash of type, shape and contents of all arrays and other leaves of a pytree."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(arrays):
        if not hasattr(leaf, "shape"):
            digest.update(repr(leaf).encode())
            continue
        if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        digest.update(f"{leaf.shape} {leaf.dtype}".encode())
        for piece in _pieces(leaf):
            digest.update(np.ascontiguousarray(piece).view(np.uint8).data)
    return digest.hexdigest()[:16]


def hash_program(fn: Any, *arguments: Any) -> str:
    """Return a hash of what a function computes: its traced program and the constants in it.

    Names, comments and source files do not enter; numbers do. `arguments` may be `jax.ShapeDtypeStruct`.
    """
    closed = jax.make_jaxpr(fn)(*arguments)
    text = _ADDRESS.sub("", str(closed))
    return hash_arrays([text, *_constants(closed)])


def _pieces(array: Any) -> Iterator[np.ndarray]:
    if array.ndim == 0:
        yield np.asarray(array).reshape(1)
        return
    row = max(1, array.nbytes // max(1, array.shape[0]))
    step = max(1, _BLOCK_BYTES // row)
    for begin in range(0, array.shape[0], step):
        yield np.asarray(array[begin : begin + step]).reshape(-1)


def _constants(closed: Any) -> Iterator[Any]:
    """Yield the arrays that a traced program holds, those of inner programs as well; its text shows only shapes."""
    yield from closed.consts
    for equation in closed.jaxpr.eqns:
        yield from (atom.val for atom in equation.invars if isinstance(atom, core.Literal) and np.ndim(atom.val))
        for value in jax.tree.leaves(list(equation.params.values()), is_leaf=_is_program):
            if isinstance(value, core.ClosedJaxpr):
                yield from _constants(value)
            elif isinstance(value, core.Jaxpr):
                yield from _constants(core.ClosedJaxpr(value, []))


def _is_program(value: Any) -> bool:
    return isinstance(value, core.ClosedJaxpr | core.Jaxpr)

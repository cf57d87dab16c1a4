"""Arrays that stay on the host or on disk, of which rows are read when they are needed: memory maps and Zarr arrays."""

import math
import sys
from typing import Any

import jax
import numpy as np

from sgdvi._internal.check import InputError, message, require
from sgdvi._internal.tree import Arguments

# a model or a loss is traced and tried on so many rows, spread over all: a prime, which no other axis is likely to have
TRIAL_ROWS = 1021


class HostArray:
    """Rows of a memory-mapped NumPy array or of a Zarr array, as JAX would hold them.

    Attributes
    ----------
    shape, dtype, ndim, nbytes
        Those of the JAX array that it would be, in the precision in force when this was made.
    """

    def __init__(self, source: Any) -> None:
        self._source = source
        self.shape: tuple[int, ...] = tuple(source.shape)
        self.ndim = len(self.shape)
        self.dtype = np.dtype(jax.dtypes.canonicalize_dtype(source.dtype))
        self.nbytes = math.prod(self.shape) * self.dtype.itemsize

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Return rows that follow each other."""
        return np.asarray(self._source[rows], self.dtype)

    def take(self, numbers: np.ndarray) -> np.ndarray:
        """Return the rows with these numbers, in the shape of `numbers`."""
        if isinstance(self._source, np.ndarray):
            return np.asarray(self._source[numbers], self.dtype)
        # each chunk of the array is read once
        once, places = np.unique(numbers, return_inverse=True)
        return np.asarray(self._source.oindex[once], self.dtype)[places.reshape(numbers.shape)]


class HostRows:
    """The arguments of a model or a loss of which some arrays stay on the host.

    Attributes
    ----------
    num_data
        Number of rows N.
    leaves
        All arrays with N rows, in the order of the arguments.
    trial
        The arguments with at most 1021 of the rows, evenly spread, in memory.
    """

    def __init__(self, arguments: Arguments) -> None:
        leaves, structure = jax.tree.flatten(arguments)
        sizes = {leaf.shape[0] if leaf.ndim else 0 for leaf in leaves if stays(leaf)}
        rule = "the arrays on the host must have the same number of rows, at least one"
        require(len(sizes) == 1 and min(sizes), rule, sorted(sizes))
        self.num_data = sizes.pop()
        numbers = np.unique(np.linspace(0, self.num_data - 1, TRIAL_ROWS).astype(np.int64))
        self.num_trial = len(numbers)
        held: list[HostArray] = []
        for place, leaf in enumerate(leaves):
            if np.ndim(leaf) and leaf.shape[0] == self.num_data:
                numeric = np.dtype(leaf.dtype).kind in "biuf"
                require(numeric, "arrays on the host must be numeric", f"dtype {leaf.dtype}")
                held.append(HostArray(leaf if stays(leaf) else np.asarray(leaf)))
                leaves[place] = held[-1].take(numbers)
        self.leaves = tuple(held)
        self.trial: Arguments = jax.tree.unflatten(structure, leaves)

    @classmethod
    def find(cls, arguments: Arguments) -> "HostRows | None":
        """Return the rows of arguments some of which stay on the host; None where all are in memory."""
        return cls(arguments) if any(map(stays, jax.tree.leaves(arguments))) else None

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of all arrays."""
        return sum(leaf.nbytes for leaf in self.leaves) // self.num_data

    def take(self, numbers: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the rows with these numbers of all arrays."""
        try:
            return tuple(leaf.take(numbers) for leaf in self.leaves)
        except (OSError, ValueError) as error:
            rule = "the rows of the arrays on the host must be readable"
            raise InputError(message(rule, f"{type(error).__name__}: {error}", "Check file or store.")) from error


def stays(leaf: Any) -> bool:
    """Whether an argument is an array that is not in memory."""
    return isinstance(leaf, np.memmap) or _is_zarr(leaf)


def _is_zarr(leaf: Any) -> bool:
    # Not imported to find out: who holds one of its arrays has imported it.
    zarr = sys.modules.get("zarr")
    return zarr is not None and isinstance(leaf, zarr.Array)

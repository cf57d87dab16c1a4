"""Draws in files of NumPy: ``.npz`` with one array for each variable, ``.npy`` with one array, (chain, draw, ...)."""

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from xarray import DataTree

from sgdvi._internal.check import InputError, message, require
from sgdvi._internal.memory import require_memory
from sgdvi.draws.formats.names import check_arrays
from sgdvi.draws.tree import make_tree

# The name of an array that has none.
ALONE = "x"


def read_numpy(paths: Sequence[Path]) -> DataTree:
    """Read draws from files of NumPy: arrays (chain, draw, ...), or (draw,) for one chain of one number.

    Parameters
    ----------
    paths
        Several files are put together chain by chain. Nothing in them is unpickled.

    Raises
    ------
    InputError
        If a file cannot be read, holds other things than numbers, or does not fit the others.
    """
    files = {path.name: _arrays(path) for path in paths}
    check_arrays(files, "chains", "Arrays are (chain, draw, ...): cut all chains to one length.")
    first, *others = files.values()
    # of one file the arrays themselves, which may fill the memory
    every = {name: np.concatenate([file[name] for file in files.values()]) for name in first} if others else first
    return make_tree(every, kind="", attrs={"inference_library": "NumPy"})


def _arrays(path: Path) -> dict[str, np.ndarray]:
    rule = f"{str(path)!r} must be a file of numpy.savez or numpy.save, whole and with arrays of numbers"
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                size = sum(entry.file_size for entry in archive.infolist())
            require_memory(f"the arrays in {str(path)!r}", size, "what it declares", "Thin the draws.")
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        else:
            with path.open("rb") as plain:  # which NumPy leaves open where it fails
                arrays = {ALONE: np.load(plain, allow_pickle=False)}
    except InputError:
        raise
    except Exception as error:  # a damaged file can fail anywhere in the readers
        reason = " ".join(str(error).split()) or type(error).__name__
        pickled = "pickle" in reason.lower()
        got = "objects in a pickle, which is never read" if pickled else reason[:150]
        advice = "Save arrays of numbers with numpy.savez." if pickled else "Give the file that was written."
        raise InputError(message(rule, got, advice)) from error
    require(arrays, rule, "no arrays")
    for name, array in arrays.items():
        number = array.dtype.kind in "fiub" and array.ndim > 0
        require(number, rule, f"{name!r} of type {array.dtype} and shape {array.shape}", "Arrays: (chain, draw, ...).")
        require(math.prod(array.shape), rule, f"{name!r} of shape {array.shape}")
    return {name: array[None] if array.ndim == 1 else array for name, array in arrays.items()}

"""Iterates as training loops save them: folders of checkpoints of PyTorch, or in safetensors."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from xarray import DataTree

from sgdvi._internal.check import InputError, message, require
from sgdvi._internal.memory import require_memory
from sgdvi._internal.text import listed
from sgdvi.draws.formats.names import check_names, natural
from sgdvi.draws.tree import make_tree

Arrays = Mapping[str, np.ndarray]
# Under what names trainers keep the weights beside the state of the optimizer.
_WEIGHTS = ("state_dict", "model_state_dict", "model", "params")


def is_checkpoints(folder: Path) -> bool:
    """Whether a folder, or one of its sub-folders, holds checkpoints."""
    return any(_files(place) for place in (folder, *_folders(folder)))


def read_checkpoints(folder: Path) -> DataTree:
    """Read the iterates that a training loop has saved: weights in floating point, integers are counters.

    Parameters
    ----------
    folder
        Checkpoints of one run are one chain, in the order of the numbers in their names; sub-folders are chains.
        Sub-folders with one checkpoint each (``checkpoint-500/model.safetensors``) are the iterates of one chain.

    Returns
    -------
    DataTree
        Kind "sgd", float32 where the weights have no more digits.

    Raises
    ------
    InputError
        If a file cannot be read, or checkpoints have other names, shapes or numbers than the rest. Nothing is unpickled
        but tensors.
    """
    chains = _chains(folder)
    lengths = sorted({len(files) for files in chains})
    rule, got = "all chains must have one length", f"folders of {listed([str(size) for size in lengths])} checkpoints"
    require(len(lengths) == 1, rule, got, f"Keep {lengths[0]} in each.")
    start, first = chains[0][0], _read(chains[0][0])
    size = len(chains) * lengths[0] * sum(array.nbytes for array in first.values())
    sizes = f"{len(chains) * lengths[0]} checkpoints"
    require_memory(f"the draws in {str(folder)!r}", size, sizes, "Keep fewer checkpoints, or predictions alone.")
    draws = {name: np.empty((len(chains), lengths[0], *array.shape), array.dtype) for name, array in first.items()}
    for chain, files in enumerate(chains):
        for draw, path in enumerate(files):
            arrays = first if path == start else _read(path)
            check_names(start.name, first, path.name, arrays)
            for name, array in arrays.items():
                rule = f"{name!r} must have one shape in all checkpoints"
                got = f"{first[name].shape} in {start.name} and {array.shape} in {path.name}"
                require(array.shape == first[name].shape, rule, got, "Give checkpoints of one network.")
                draws[name][chain, draw] = array
    return make_tree(draws, kind="sgd", attrs={"inference_library": "checkpoints"})


def _chains(folder: Path) -> list[list[Path]]:
    own = _files(folder)
    if own:
        return [own]
    inner = [files for place in _folders(folder) if (files := _files(place))]
    return [[files[0] for files in inner]] if all(len(files) == 1 for files in inner) else inner


def _folders(folder: Path) -> list[Path]:
    return sorted((path for path in folder.iterdir() if path.is_dir()), key=lambda path: natural(path.name))


def _files(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder; beside weights in safetensors, other files are the state of a trainer."""
    for suffixes in ((".safetensors",), (".pt", ".pth", ".ckpt")):
        files = [path for path in folder.iterdir() if path.suffix in suffixes and path.is_file()]
        if files:
            return sorted(files, key=lambda path: natural(path.name))
    return []


def _read(path: Path) -> Arrays:
    rule = f"{str(path)!r} must be a checkpoint, whole and with tensors by name"
    reader = _safetensors if path.suffix == ".safetensors" else _torch
    try:
        arrays = {name: _array(value) for name, value in reader(path).items()}
    except InputError:
        raise
    except Exception as error:  # a damaged file can fail anywhere in the readers
        reason = " ".join(str(error).split())[:150] or type(error).__name__
        pickled = "weights_only" in reason or "Unpickl" in type(error).__name__
        got = "objects in a pickle, which is never read" if pickled else reason
        advice = "Save model.state_dict(), or safetensors." if pickled else "Give the file that was written."
        raise InputError(message(rule, got, advice)) from error
    weights = {name: array for name, array in arrays.items() if array.dtype.kind == "f"}
    require(weights, rule, f"no weights in floating point ({', '.join(arrays) or 'no tensors'})"[:150])
    return weights


def _array(value: Any) -> np.ndarray:
    array = np.asarray(value)
    # half precision, bfloat16 among it, has no place in moments
    return array.astype(np.float32) if array.dtype.name in ("float16", "bfloat16") else array


def _safetensors(path: Path) -> Mapping[str, Any]:
    try:
        from safetensors.numpy import load_file
    except ImportError as error:
        raise _missing(path, "safetensors") from error
    with suppress(ImportError):
        import ml_dtypes  # noqa: F401  comes with JAX: NumPy's bfloat16
    return dict(load_file(path))


def _torch(path: Path) -> Mapping[str, Any]:
    try:
        import torch
    except ImportError as error:
        raise _missing(path, "torch") from error
    saved = torch.load(path, map_location="cpu", weights_only=True)
    inner = next((saved[name] for name in _WEIGHTS if isinstance(saved, Mapping) and name in saved), saved)
    rule, got = f"{str(path)!r} must be a checkpoint with tensors by name", type(inner).__name__
    require(isinstance(inner, Mapping), rule, got, "Save model.state_dict().")
    tensors = {str(name): value.detach() for name, value in inner.items() if isinstance(value, torch.Tensor)}
    return {
        name: (value.float() if value.dtype in (torch.bfloat16, torch.float16) else value).numpy()
        for name, value in tensors.items()
    }


def _missing(path: Path, package: str) -> InputError:
    rule, got = f"{path.suffix} files need {package}", "an environment without it"
    return InputError(message(rule, got, f"Install {package}, or save arrays with numpy.savez."))

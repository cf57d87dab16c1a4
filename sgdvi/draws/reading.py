"""Draws in files, whatever tool wrote them: which reader takes which file."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from xarray import DataTree

from sgdvi._internal.arguments import checked
from sgdvi._internal.check import InputError, message, require
from sgdvi._internal.text import listed
from sgdvi.draws.formats.checkpoints import is_checkpoints, read_checkpoints
from sgdvi.draws.formats.names import natural
from sgdvi.draws.formats.netcdf import read_netcdf
from sgdvi.draws.formats.numpy_files import read_numpy
from sgdvi.draws.formats.tables import read_tables
from sgdvi.draws.places import is_url

# Formats of which several files are the chains of one run.
_CHAINS: Mapping[str, Callable[[Sequence[Path]], DataTree]] = {
    ".csv": read_tables,
    ".npz": read_numpy,
    ".npy": read_numpy,
}
_PICKLES = (".pkl", ".pickle", ".joblib", ".rds", ".rdata")
_OTHER = (".pt", ".pth", ".ckpt", ".safetensors")
_TAKEN = "NetCDF, Zarr, .npz, .npy and .csv files, and folders of checkpoints, are read."


def is_path(run: Any) -> bool:
    """Whether a run is given by the path of a file, or by those of several."""
    several = isinstance(run, list | tuple) and len(run) > 0
    return all(isinstance(one, str | os.PathLike) for one in (run if several else [run]))


@checked
def read_file(path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> DataTree:
    """Read the draws of a run from a file, a folder, or several files that are its chains, into memory.

    Parameters
    ----------
    path
        A NetCDF file or a Zarr store as ArviZ writes them; ``.npz`` or ``.npy`` with arrays (chain, draw, ...);
        ``.csv`` of CmdStan or of R's posterior; a folder of such files, or of checkpoints of PyTorch or safetensors. Of
        CSV and NumPy files several are the chains of one run. Nothing is unpickled but tensors.

    Raises
    ------
    InputError
        If there is no such file, it cannot be read or holds no draws, or files do not fit together.
    """
    given = [path] if isinstance(path, str | os.PathLike) else list(path)
    require(given, "there must be at least one file of draws", "none")
    if len(given) == 1 and is_url(str(given[0])):
        return read_netcdf(str(given[0]))
    places = [_existing(one) for one in given]
    if len(places) == 1 and places[0].is_dir():
        inside = _chains_in(places[0])
        if not inside and is_checkpoints(places[0]):
            return read_checkpoints(places[0])
        rule = f"{str(given[0])!r} must be a Zarr store, or a folder of .csv, .npz, .pt or .safetensors files"
        require(inside or _is_group(places[0]), rule, _shown(places[0]), _TAKEN)
        places = inside or places
    suffixes = {one.suffix.lower() for one in places}
    _check_suffixes(places, suffixes)
    reader = _CHAINS.get(suffixes.pop())
    return read_netcdf(places[0]) if reader is None else reader(places)


def _existing(path: Any) -> Path:
    rule = "the file of draws must exist"
    require(isinstance(path, str | os.PathLike), "files of draws must be given by their paths", type(path).__name__)
    try:
        place = Path(path).expanduser()
        require(place.exists(), rule, repr(str(path)))
    except (OSError, RuntimeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(message(rule, f"{str(path)[:200]!r} ({error})")) from error
    return place


def _is_group(folder: Path) -> bool:
    """Whether a folder is a Zarr store, of either version of the format."""
    return any((folder / name).exists() for name in ("zarr.json", ".zgroup", "checkpoint"))


def _shown(folder: Path) -> str:
    """Return the names of the files in a folder, for messages."""
    names = sorted(one.name for one in folder.iterdir())
    return (listed(names[:5]) + (" and others" if len(names) > 5 else "")) or "an empty folder"


def _chains_in(folder: Path) -> list[Path]:
    """Return the files of chains in a folder, in the order of the numbers in their names."""
    return sorted((one for one in folder.iterdir() if one.suffix.lower() in _CHAINS), key=lambda one: natural(one.name))


def _check_suffixes(places: Sequence[Path], suffixes: set[str]) -> None:
    names = listed([one.name for one in places[:5]])
    several = len(places) > 1
    require(len(suffixes) == 1, "the files of a run must be of one kind", names)
    (suffix,) = suffixes
    rule = "several files of a run must be CSV or NumPy files, one for each chain"
    require(not several or suffix in _CHAINS, rule, names, "Give one file.")
    require(suffix not in _PICKLES, "draws must be in a file that can be read safely", f"the pickle {names}", _TAKEN)
    advice = "Give the folder with all checkpoints of the run."
    require(suffix not in _OTHER, "a run must have more than one checkpoint", f"the file {names}", advice)

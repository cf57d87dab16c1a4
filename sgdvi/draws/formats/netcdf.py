"""Draws in NetCDF files and Zarr stores, as ArviZ and the tools that use it write them."""

from pathlib import Path
from typing import Any

import xarray as xr
from xarray import DataTree

from sgdvi._internal.check import InputError, message, require
from sgdvi.draws.committed import is_store, open_store
from sgdvi.draws.hdf5 import check_file, is_classic
from sgdvi.draws.places import is_url
from sgdvi.draws.tree import plain_text


def read_netcdf(path: str | Path) -> DataTree:
    """Read the draws in a NetCDF file or a Zarr store into memory: its group ``posterior``, wherever it lies.

    Raises
    ------
    InputError
        If it cannot be read, or has no such group.
    """
    loaded = _loaded(path)
    if "posterior" in loaded.children:
        return loaded
    if "draw" in loaded.dims and loaded.data_vars:  # without groups, as NetCDF 3 is
        return DataTree.from_dict({"posterior": loaded.to_dataset()})
    inner = [str(child) for child, node in loaded.children.items() if "posterior" in node.children]
    rule = f"{str(path)!r} must have a group 'posterior'"
    advice = (
        f"It holds several runs ({', '.join(inner)}): pass sgdvi.draws.load(folder)[name]." if len(inner) > 1 else ""
    )
    require(len(inner) == 1, rule, f"groups {', '.join(map(str, loaded.children)) or 'none'}", advice)
    return DataTree.from_dict({str(k): node.to_dataset() for k, node in loaded[inner[0]].children.items()})


def _loaded(path: str | Path) -> DataTree:
    """Return all of a file: a store of `sgdvi.sample` as its last commit has it, never what is being written."""
    name = repr(str(path))
    if is_url(str(path)):
        require(is_store(path), f"{name} must be a store of sgdvi.sample", "something else", "Give a path.")
        return open_store(path).load()
    target = Path(path)
    try:
        if target.is_dir() and is_store(target):
            return open_store(target).load()
        if not target.is_dir() and is_classic(target):
            with xr.open_dataset(target, engine="scipy", mmap=False) as root:
                return DataTree(root.load())
        if not target.is_dir():
            check_file(target)
        options: Any = {"engine": "zarr", "consolidated": False} if target.is_dir() else {"engine": "h5netcdf"}
        with xr.open_datatree(target, **options) as tree:
            return plain_text(tree.load().copy())
    except InputError:
        raise
    except Exception as error:
        got = f"{type(error).__name__}: {error}"
        rule = f"{name[:200]} must be a NetCDF file or a Zarr store"
        raise InputError(message(rule, " ".join(got.split())[:200])) from error

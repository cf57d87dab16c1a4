"""NetCDF files from elsewhere: refused where reading them would reach other files or ask for absurd memory."""

from pathlib import Path
from typing import Any

import h5py

from sgdvi._internal.check import InputError, message, require

# Deflate makes at most 1032 bytes of one; small files may hold what compresses better than draws.
_MOST_RATIO = 1100
_ALWAYS_BYTES = 16 << 20
_MOST_OBJECTS = 100_000


def is_classic(path: Path) -> bool:
    """Whether a file is NetCDF 3, which holds arrays alone and no groups."""
    with path.open("rb") as file:
        return file.read(4) in (b"CDF\x01", b"CDF\x02")


def check_file(path: Path) -> None:
    """Check that a file is HDF5 which holds all its values itself, no more of them than its size allows.

    Raises
    ------
    InputError
        If it cannot be read, links to other files, keeps values in other files, or declares far larger arrays than it
        can hold.
    """
    rule = f"{str(path)!r} must be a NetCDF file or a Zarr store, whole and with all its values inside"
    declared: list[int] = []
    try:
        size = path.stat().st_size
        with h5py.File(path, "r") as file:
            strange = _walk(file, declared, set())
    except OSError as error:
        got = " ".join(str(error.strerror or error).split())[:200]
        raise InputError(message(rule, got, "Give the file that was written.")) from error
    except Exception as error:  # a damaged file can fail anywhere in the library
        raise InputError(message(rule, f"{type(error).__name__}: {' '.join(str(error).split())[:150]}")) from error
    require(not strange, rule, strange, "Nothing outside the file is read.")
    total = sum(declared)
    fits = total <= max(_ALWAYS_BYTES, _MOST_RATIO * size)
    require(fits, rule, f"arrays of {total / 1e9:.3g} GB in a file of {size / 1e6:.3g} MB")


def _walk(group: Any, declared: list[int], seen: set[Any]) -> str:
    """Note the bytes of all arrays below a group; return the first thing that is not in the file, or nothing."""
    for name in group:
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            return f"{group.name}/{name}, a link to the file {link.filename!r}"
        if isinstance(link, h5py.SoftLink):
            return f"{group.name}/{name}, a link to {link.path!r}"
        item = group[name]
        place = h5py.h5o.get_info(item.id).addr
        if place in seen:
            continue
        seen.add(place)
        if len(seen) > _MOST_OBJECTS:
            return f"more than {_MOST_OBJECTS} objects"
        if isinstance(item, h5py.Group):
            strange = _walk(item, declared, seen)
            if strange:
                return strange
        elif isinstance(item, h5py.Dataset):
            if item.external or item.is_virtual:
                return f"{item.name}, whose values are in another file"
            # an axis without a variable is declared with its length, and holds nothing
            declared.append(0 if item.chunks is None and item.id.get_storage_size() == 0 else item.nbytes)
    return ""

"""The report as files: draws and a record in JSON, from which the page is rendered again with the same bytes."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from xarray import Dataset, DataTree

from sgdvi._internal.check import InputError, message, require
from sgdvi._internal.files import plain, write_json
from sgdvi.diagnostics.curves import Curve, LawCurves
from sgdvi.diagnostics.record import SCHEMA_VERSION, Record
from sgdvi.draws.tree import factors, kind_of, load, save
from sgdvi.report.cite import methods
from sgdvi.report.context import Context

RECORD = "report.json"
_VALUES = "functionals"
_SUMS = "sums"


def write_record(
    record: Record, context: Context, folder: str | os.PathLike[str], draws: Mapping[str, DataTree] | None = None
) -> Path:
    """Write ``draws.nc`` and ``report.json`` into `folder`, which exists, and return the path of ``report.json``.

    Parameters
    ----------
    record, context
        What the page shows.
    folder
        Where to.
    draws
        Run -> its tree, kept whole in ``draws.nc``. Of runs without one only what the page shows is kept: the draws of
        the functionals and of the two factors.
    """
    trees = {run: (draws or {}).get(run) for run in record.values}
    save({run: _stored(record, run, tree) for run, tree in trees.items()}, folder)
    entries = record.to_dict()
    entries["laws"] = {name: _law_entry(law) for name, law in record.laws.items()}
    entries["experiment"] = plain(context.to_dict())
    entries["methods"] = methods(record)
    entries[_SUMS] = _sums(entries, Path(folder))
    return write_json(Path(folder) / RECORD, entries)


def read_record(folder: str | os.PathLike[str]) -> tuple[Record, Context]:
    """Read what `write_record` wrote: enough to render the page, not to run anything.

    Raises
    ------
    InputError
        If the folder has no report, or one that this version does not read.
    """
    rule = f"{str(folder)[:200]!r} must be a folder with a report"
    try:
        path = Path(folder).expanduser() / RECORD
        require(path.is_file(), f"the folder must hold {RECORD}", f"no such file in {str(folder)[:200]!r}")
        entries = json.loads(path.read_text(encoding="utf-8"))
    except InputError:
        raise
    except ValueError as error:
        raise InputError(message(f"{str(folder)!r} must hold a report in JSON", str(error)[:200])) from error
    except (OSError, RuntimeError, TypeError) as error:  # nested too deeply is a RuntimeError
        raise InputError(message(rule, f"{type(error).__name__}: {error}"[:200])) from error
    require(isinstance(entries, dict) and "schema_version" in entries, f"{str(path)!r} must be a report", "other JSON")
    version = entries["schema_version"]
    rule = f"{str(path)!r} must have schema version {SCHEMA_VERSION}"
    require(version == SCHEMA_VERSION, rule, version, "Make the report again with `sgdvi compare`.")
    rule, advice = f"{str(path)!r} must be a whole report", "Make the report again."
    try:
        sums = _sums(entries, path.parent)
        for name, now in sums.items():
            got = f"{name}, which is not as it was written"
            require(entries.get(_SUMS, sums)[name] == now, rule, got, advice)
        trees = load(path.parent)
        record = Record.from_dict(
            entries,
            values={name: _values(tree) for name, tree in trees.items()},
            kinds={name: kind_of(tree) for name, tree in trees.items()},
            factors={name: pair for name, tree in trees.items() if (pair := factors(tree)) is not None},
            laws={name: _law(entry) for name, entry in entries["laws"].items()},
        )
        return record, Context.from_dict(entries["experiment"])
    except InputError:
        raise
    except Exception as error:  # whatever a damaged file makes of the readers
        got = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise InputError(message(rule, got, advice)) from error


def _sums(entries: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """Return hashes of the record and of the draws, by which damage shows."""
    text = json.dumps({name: value for name, value in entries.items() if name != _SUMS}, sort_keys=True)
    draws = folder / "draws.nc"
    with draws.open("rb") as file:
        return {
            RECORD: hashlib.sha256(text.encode()).hexdigest()[:32],
            draws.name: hashlib.file_digest(file, "sha256").hexdigest()[:32],
        }


def _stored(record: Record, run: str, tree: DataTree | None) -> DataTree:
    """Add the draws of the functionals, side by side: names of functionals may hold what names of variables may not."""
    values = record.values[run]
    stacked = np.stack(list(values.values())) if values else np.zeros((0, 0, 0))
    group = Dataset({"value": (("functional", "chain", "draw"), stacked)}, {"functional": list(values)})
    groups = {"posterior": _posterior(record, run)} if tree is None else _groups(tree)
    return DataTree.from_dict({**groups, _VALUES: group})


def _groups(tree: DataTree) -> dict[str, Dataset]:
    return {str(name): node.to_dataset() for name, node in tree.children.items()}


def _posterior(record: Record, run: str) -> Dataset:
    sites = dict(zip(("u", "w"), record.factors.get(run, ()), strict=False))
    variables = {
        site: (("chain", "draw", *(f"unit_{k}" for k in range(values.ndim - 2))), values)
        for site, values in sites.items()
    }
    return Dataset(variables, attrs={"kind": record.kinds.get(run, "")})


def _values(tree: DataTree) -> dict[str, np.ndarray]:
    group = tree[_VALUES].to_dataset()
    return {str(name): group["value"].values[k] for k, name in enumerate(group["functional"].values)}


def _law_entry(law: LawCurves) -> dict[str, Any]:
    curves = {
        name: {
            "grid": curve.grid.tolist(),
            "density": None if curve.density is None else curve.density.tolist(),
            "distribution": curve.distribution.tolist(),
        }
        for name, curve in law.curves.items()
    }
    return plain({"zero_mass": law.zero_mass, "curves": curves})


def _law(entry: Mapping[str, Any]) -> LawCurves:
    def curve(arrays: Mapping[str, Any]) -> Curve:
        density = arrays["density"]
        return Curve(
            np.array(arrays["grid"]), None if density is None else np.array(density), np.array(arrays["distribution"])
        )

    return LawCurves(entry["zero_mass"], {name: curve(arrays) for name, arrays in entry["curves"].items()})

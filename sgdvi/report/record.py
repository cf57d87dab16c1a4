"""The report as files: draws and a record in JSON, from which the page is rendered again with the same bytes."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from xarray import Dataset, DataTree

from sgdvi._internal.check import InputError, message, require
from sgdvi._internal.files import plain
from sgdvi.comparison import SCHEMA_VERSION, Comparison, Verdict
from sgdvi.diagnostics.findings import Finding, Status
from sgdvi.diagnostics.thresholds import Thresholds
from sgdvi.draws.tree import is_tree, load, save
from sgdvi.report import series
from sgdvi.report.cite import methods
from sgdvi.report.context import Context

RECORD = "report.json"
_VALUES = "functionals"
_NUMBERS = {"inf": float("inf"), "-inf": float("-inf"), "nan": float("nan")}


def write_record(comparison: Comparison, context: Context, folder: str | os.PathLike[str]) -> Path:
    """Write ``draws.nc`` and ``report.json`` into `folder`, which exists, and return the path of the record."""
    target = Path(folder)
    save({name: _with_values(run, comparison.values[name]) for name, run in _trees(comparison).items()}, target)
    path = comparison.to_json(target / RECORD)
    record = json.loads(path.read_text(encoding="utf-8"))
    record["laws"] = plain(_laws(comparison))
    record["experiment"] = plain(context.to_dict())
    record["methods"] = methods(comparison)
    text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    path.write_text(text, encoding="utf-8")
    return path


def read_record(folder: str | os.PathLike[str]) -> tuple[Comparison, Context]:
    """Read what `write_record` wrote: enough to render the page, not to run anything.

    Raises
    ------
    InputError
        If the folder has no report, or one that this version does not read.
    """
    path = Path(folder).expanduser() / RECORD
    require(path.is_file(), f"the folder must hold {RECORD}", f"no such file in {str(folder)!r}")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(message(f"{str(path)!r} must be JSON", str(error))) from error
    require(isinstance(record, dict) and "schema_version" in record, f"{str(path)!r} must be a report", "other JSON")
    version = record["schema_version"]
    rule = f"{str(path)!r} must have schema version {SCHEMA_VERSION}"
    require(version == SCHEMA_VERSION, rule, version, "Make the report again with `sgdvi compare`.")
    try:
        trees = load(path.parent)
        return _comparison(record, trees), Context.from_dict(record["experiment"])
    except (KeyError, TypeError, AttributeError) as error:
        got = f"{type(error).__name__}: {error}"
        raise InputError(message(f"{str(path)!r} must be a whole report", got, "Make the report again.")) from error


def _comparison(record: Mapping[str, Any], trees: Mapping[str, DataTree]) -> Comparison:
    functionals = {name: _stored(name) for name in record["functionals"]}
    laws = {name: _law(record["laws"][name]) for name in record["laws"]}
    verdict = record["verdict"]
    return Comparison(
        runs={name: trees[name] if name in trees else laws[name] for name in record["runs"]},
        functionals=functionals,
        reference=record["reference"],
        known=None,
        thresholds=Thresholds(**record["thresholds"]),
        findings=tuple(_finding(entry) for entry in record["findings"]),
        verdict=Verdict(
            verdict["sentence"], Status(verdict["status"]), tuple(verdict["reasons"]), tuple(verdict["changes"])
        ),
        summaries={run: _numbers(functionals_of) for run, functionals_of in record["summaries"].items()},
        values={name: _values(tree) for name, tree in trees.items()},
    )


def _stored(name: str) -> Any:
    def refuse(draws: Any) -> Any:
        raise InputError(message(f"the functional {name!r} of a stored report can only be read", "a call"))

    return refuse


def _finding(entry: Mapping[str, Any]) -> Finding:
    return Finding(
        **{
            **entry,
            "status": Status(entry["status"]),
            "value": _number(entry["value"]),
            "threshold": _number(entry["threshold"]),
            "details": {name: _number(value) for name, value in entry["details"].items()},
        }
    )


def _number(value: Any) -> Any:
    return _NUMBERS.get(value, value) if isinstance(value, str) else value


def _numbers(nested: Any) -> Any:
    if isinstance(nested, dict):
        return {name: _numbers(value) for name, value in nested.items()}
    return _number(nested)


def _trees(comparison: Comparison) -> dict[str, DataTree]:
    return {name: run for name, run in comparison.runs.items() if is_tree(run)}


def _with_values(tree: DataTree, values: Mapping[str, np.ndarray]) -> DataTree:
    """Add the draws of the functionals, side by side: names of functionals may hold what names of variables may not."""
    stacked = np.stack(list(values.values())) if values else np.zeros((0, 0, 0))
    group = Dataset({"value": (("functional", "chain", "draw"), stacked)}, {"functional": list(values)})
    return DataTree.from_dict({**{name: node.to_dataset() for name, node in tree.children.items()}, _VALUES: group})


def _values(tree: DataTree) -> dict[str, np.ndarray]:
    group = tree[_VALUES].to_dataset()
    return {str(name): group["value"].values[k] for k, name in enumerate(group["functional"].values)}


def _laws(comparison: Comparison) -> dict[str, Any]:
    """Return law -> its atom at 0 and, per functional, density and distribution function on the grid of the figures."""
    found: dict[str, Any] = {
        name: {"zero_mass": series.zero_mass(law), "curves": {}} for name, law in series.laws(comparison).items()
    }
    for functional in comparison.functionals:
        if any(functional in comparison.summaries[name] for name in found):
            curves = series.gather(comparison, functional)
            for name in curves.atoms:
                density = curves.densities.get(name)
                found[name]["curves"][functional] = {
                    "grid": curves.grid.tolist(),
                    "density": None if density is None else density.tolist(),
                    "distribution": curves.distributions[name].tolist(),
                }
    return found


def _law(entry: Mapping[str, Any]) -> series.StoredLaw:
    curves = {
        name: tuple(None if curve[key] is None else np.array(curve[key]) for key in ("grid", "density", "distribution"))
        for name, curve in entry["curves"].items()
    }
    return series.StoredLaw(entry["zero_mass"], curves)

"""Posteriors of other tools beside the runs of an experiment, and the choice of what stands for the posterior."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sgdvi._internal.check import InputError, message, require
from sgdvi.diagnostics.read import evaluated, scalar_functionals
from sgdvi.experiment.descent import GAUGE, QUOTIENT
from sgdvi.inputs import read_file, with_chains
from sgdvi.problem.base import Problem
from sgdvi.samplers.targets.plates import latent_sites

Paths = Mapping[str, str | os.PathLike[str]] | Sequence[str | os.PathLike[str]]
_TAKEN = ("SGD", "exact law", "exact posterior", QUOTIENT, GAUGE)


def name_files(against: Paths) -> dict[str, str | os.PathLike[str]]:
    """Return the files of draws by name, that of the file without ending where none is given; one alone may be given.

    Raises
    ------
    InputError
        If two have one name.
    """
    if isinstance(against, Mapping):
        return dict(against)
    paths = [against] if isinstance(against, str | os.PathLike) else list(against)
    named = {Path(path).stem: path for path in paths}
    rule = "files of draws must have different names, without the ending"
    require(len(named) == len(paths), rule, ", ".join(str(path) for path in paths), "Rename one of them.")
    return named


def read_against(
    files: Mapping[str, str | os.PathLike[str]], problem: Problem, references: Sequence[str]
) -> dict[str, Any]:
    """Read the draws of other tools, name -> DataTree, before anything is run.

    Parameters
    ----------
    files
        Name -> path: see `name_files`.
    problem
        Its functionals must be computable from the draws, and its sites have the same shapes.
    references
        Names of the references that are run beside them.

    Raises
    ------
    InputError
        If a file cannot be read, a name is taken, or the draws do not fit the problem.
    """
    if not files:
        return {}
    read, sites = {}, {} if problem.no_posterior else latent_sites(problem)
    for name, path in files.items():
        rule = "a file of draws must not be named like a run"
        require(name not in (*_TAKEN, *references), rule, repr(name), "Rename it.")
        tree = with_chains(name, read_file(path))
        try:
            _check_fit(name, tree, problem.functionals, sites)
        except InputError as error:
            advice = f"Its draws must have the sites of {problem.name}, under the same names."
            raise InputError(message(f"{str(path)!r} must fit the model", str(error).rstrip("."), advice)) from error
        read[name] = tree
    return read


def _check_fit(name: str, tree: Any, functionals: Mapping[str, Callable[[Any], Any]], sites: Mapping[str, Any]) -> None:
    evaluated(tree["posterior"].to_dataset(), scalar_functionals({name: tree}, functionals, None))
    # a functional of sites of other shapes can be computed, too, and is another one
    for site, law in sites.items():
        if site in tree["posterior"]:
            sizes = tree["posterior"][site].sizes
            shape = tuple(size for dim, size in sizes.items() if dim not in ("chain", "draw"))
            require(shape == law.shape(), f"{site!r} must have the shape {law.shape()} in each draw", shape)


def choose_reference(
    wanted: str | None, runs: Mapping[str, Any], others: Sequence[str], skipped: Mapping[str, str]
) -> str | None:
    """Return what stands for the posterior: what is wanted, else the first of the other tools, else NUTS.

    Raises
    ------
    InputError
        If there is no run of the wanted name; it says why the run was not made.
    """
    if wanted is not None:
        reason = skipped.get(wanted, "")
        rule = "the reference must be a run that can be made"
        require(not reason, rule, f"{wanted!r}, which was not: {reason.rstrip('.')}")
        names = f"Runs: {', '.join(runs)}."
        require(wanted in runs and wanted != "SGD", "the reference must be one of the other runs", repr(wanted), names)
        return wanted
    return next((name for name in (*others, "NUTS") if name in runs), None)


def check_reference(wanted: str | None, names: Sequence[str]) -> None:
    """Refuse a reference that no run will have, before anything is run."""
    if wanted is not None:
        advice = f"Choose one of {', '.join(names)}."
        require(wanted in names, "the reference must be one of the runs to be made", repr(wanted), advice)

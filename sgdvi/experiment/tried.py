"""What is tried before anything long runs, and the values of rows that have been integrated out."""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import jax
import numpy as np
from numpyro import handlers

from sgdvi._internal.check import InputError
from sgdvi._internal.tree import label
from sgdvi.diagnostics.read import evaluated, scalar_functionals
from sgdvi.draws.tree import is_tree, make_tree
from sgdvi.problem.all_rows import full_model, trial
from sgdvi.problem.base import Problem
from sgdvi.problem.integrate import IntegratedRows, integrate_rows
from sgdvi.samplers.targets.make import as_arguments, make_target
from sgdvi.samplers.targets.rows import LatentRows

# Chains and draws, different from each other and from most sizes of sites.
_CHAINS, _DRAWS = 2, 3


def try_functionals(problem: Problem) -> Problem:
    """Compute all functionals on draws of the shapes that SGD's will have, drawn on the unit interval.

    Returns
    -------
    Problem
        As it is run: a latent value per row, which SGD cannot move, is integrated out.

    Raises
    ------
    InputError
        For a model or data that SGD cannot run on, and a functional that cannot be computed from its sites.
    """
    try:
        sites = _draw_of(problem)
    except LatentRows as error:
        problem = without_rows(problem, error)
        sites = _draw_of(problem)
    rng = np.random.default_rng(0)
    draws = {
        name: rng.uniform(0.25, 0.75, (_CHAINS, _DRAWS, *like.shape)).astype(like.dtype) for name, like in sites.items()
    }
    tree = make_tree(draws, kind="sgd", dims=problem.dims)
    with np.errstate(all="ignore"):
        evaluated(tree["posterior"].to_dataset(), scalar_functionals({"SGD": tree}, problem.functionals, None))
    return problem


def without_rows(problem: Problem, latent: LatentRows) -> Problem:
    """Return the problem with the latent value of each row integrated out.

    Raises
    ------
    LatentRows
        That was given, where its site is no single continuous number per row.
    """
    integrated = replace(problem, model=_integrated(problem.model, latent.site))
    try:
        make_target(integrated.model, as_arguments(integrated.model, problem.data), jax.random.key(0))
    except InputError:
        raise latent from None
    return integrated


@lru_cache(maxsize=8)
def _integrated(model: Any, site: str) -> IntegratedRows:
    """Return one and the same object for a model, so that what was compiled for it is found again."""
    return integrate_rows(model, [site])


def said_of_rows(problem: Problem) -> str:
    """Say that a value of each row has been integrated out; empty where none has."""
    if not isinstance(problem.model, IntegratedRows):
        return ""
    return f"{problem.model.site}, a value per row, is integrated out inside the row and drawn afterwards"


def _draw_of(problem: Problem) -> Mapping[str, jax.ShapeDtypeStruct]:
    """Return shapes and types of the sites that a draw has in the end; nothing is computed."""
    arguments = as_arguments(problem.model, problem.data)
    target = make_target(problem.model, arguments, jax.random.key(0))
    rows = target.rows(arguments)
    start = jax.eval_shape(lambda key: target.start(key, rows)[0], jax.random.key(0))
    sites = dict(jax.eval_shape(target.constrain, start, rows))
    model = problem.model
    if isinstance(model, IntegratedRows):
        args, kwargs = problem.arguments
        whole, site = trial(full_model(model.model, (args, kwargs))), model.site

        def added() -> dict[str, Any]:
            trace = handlers.trace(whole).get_trace(*args, **kwargs)
            return {n: one["value"] for n, one in trace.items() if n == site or one["type"] == "deterministic"}

        sites |= jax.eval_shape(added)
    return sites


def with_row_values(problem: Problem, runs: Mapping[str, Any], key: jax.Array) -> dict[str, Any]:
    """Return the runs with draws, completed by the values of the rows where the model has integrated them out."""
    model = problem.model
    if not isinstance(model, IntegratedRows):
        return {}
    lacking = [name for name, run in runs.items() if is_tree(run) and label(model.site) not in run["posterior"]]
    keys = jax.random.split(key, max(len(lacking), 1))
    return {name: model.complete(runs[name], problem.data, key=k) for name, k in zip(lacking, keys, strict=False)}

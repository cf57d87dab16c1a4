"""What is tried before anything long runs, and the values of rows that have been integrated out."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from numpyro import handlers

from sgdvi._internal.tree import label
from sgdvi.diagnostics.read import scalar_functionals
from sgdvi.draws.tree import functional, is_tree, make_tree
from sgdvi.problem.all_rows import full_model, trial
from sgdvi.problem.base import Problem
from sgdvi.problem.integrate import IntegratedRows
from sgdvi.samplers.targets.make import as_arguments, make_target

# Chains and draws, different from each other and from most sizes of sites.
_CHAINS, _DRAWS = 2, 3


def try_functionals(problem: Problem) -> None:
    """Compute all functionals on draws of the shapes that SGD's will have, drawn on the unit interval.

    Raises
    ------
    InputError
        For a model or data that SGD cannot run on, and a functional that cannot be computed from its sites.
    """
    rng = np.random.default_rng(0)
    draws = {
        name: rng.uniform(0.25, 0.75, (_CHAINS, _DRAWS, *like.shape)).astype(like.dtype)
        for name, like in _draw_of(problem).items()
    }
    tree = make_tree(draws, kind="sgd", dims=problem.dims)
    with np.errstate(all="ignore"):
        for fn in scalar_functionals({"SGD": tree}, problem.functionals, None).values():
            functional(tree, fn)


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

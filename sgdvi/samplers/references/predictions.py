"""What draws of the parameters say of the data: predictions of every row, and how probable each row is."""

import math
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from numpyro import handlers

from sgdvi._internal.arguments import checked
from sgdvi._internal.check import InputError, message, require, whole
from sgdvi._internal.tree import label
from sgdvi.draws.tree import DataTree, with_group
from sgdvi.problem.all_rows import full_model, trial
from sgdvi.problem.base import Problem
from sgdvi.problem.integrate import IntegratedRows


@checked
def with_predictions(run: DataTree, problem: Problem, *, key: jax.Array, num_draws: int = 1000) -> DataTree:
    """Add to a run what `compare` needs to judge its predictions: leave-one-out and coverage of intervals.

    Parameters
    ----------
    run
        Draws of the parameters of the problem's model.
    problem
        Model and data. Plates that subsample give all their rows.
    key
        JAX key of the predictions.
    num_draws
        At most so many draws are used, every k-th of each chain.

    Returns
    -------
    DataTree
        The run with the groups ``log_likelihood`` and ``posterior_predictive``, (chain, draw, row), and
        ``observed_data``.

    Raises
    ------
    InputError
        For a problem without a likelihood, draws without the model's sites, or a model that observes nothing.
    """
    require(not problem.no_posterior, "predictions need a NumPyro model", "a loss", "It has no likelihood.")
    most = whole("num_draws", num_draws, least=4)
    if isinstance(problem.model, IntegratedRows):
        key, drawn = jax.random.split(key)
        if label(problem.model.site) not in run["posterior"]:
            run = problem.model.complete(run, problem.data, key=drawn)
        problem = replace(problem, model=problem.model.model)
    posterior = run["posterior"].to_dataset()
    chains, draws = posterior.sizes["chain"], posterior.sizes["draw"]
    some = posterior.isel(draw=slice(None, None, math.ceil(chains * draws / most)))
    shape = chains, some.sizes["draw"]
    samples = {str(name): values.values.reshape(-1, *values.shape[2:]) for name, values in some.data_vars.items()}
    args, kwargs = problem.arguments
    model = full_model(problem.model, (args, kwargs))

    def trace(key: jax.Array, values: dict[str, Any]) -> dict[str, Any]:
        return handlers.trace(handlers.substitute(handlers.seed(model, key), values)).get_trace(*args, **kwargs)

    first = handlers.trace(trial(model)).get_trace(*args, **kwargs)
    latent = [name for name, site in first.items() if site["type"] == "sample" and not site["is_observed"]]
    observed = [name for name, site in first.items() if site["type"] == "sample" and site["is_observed"]]
    if not observed:
        raise InputError(message("the model must observe data", "no observed site", "Hand it all its data."))
    missing = [name for name in latent if label(name) not in samples]
    require(not missing, "the run must have draws of every site of the model", f"none of {', '.join(missing)}")

    def one(key: jax.Array, values: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
        sites = trace(key, values)
        keys = jax.random.split(key, len(observed))
        laws = {name: sites[name]["fn"] for name in observed}
        return {
            name: (laws[name].log_prob(sites[name]["value"]), laws[name].sample(k))
            for k, name in zip(keys, observed, strict=True)
        }

    keys = jax.random.split(key, shape[0] * shape[1])
    predicted = jax.jit(jax.vmap(one))(keys, {name: samples[label(name)] for name in latent})

    def in_chains(part: int) -> dict[str, np.ndarray]:
        arrays = {name: np.asarray(pair[part]) for name, pair in predicted.items()}
        return {label(name): values.reshape(*shape, *values.shape[1:]) for name, values in arrays.items()}

    run = with_group(run, "log_likelihood", in_chains(0), draws=True)
    run = with_group(run, "posterior_predictive", in_chains(1), draws=True)
    return with_group(run, "observed_data", {label(name): np.asarray(first[name]["value"]) for name in observed})

"""Runs of other tools as DataTrees: NumPyro MCMC and SVI objects, plain arrays, files."""

import warnings
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import xarray as xr
from xarray import DataTree

from sgdvi._internal.bounds import rising
from sgdvi._internal.check import InputError, message, require, whole
from sgdvi.draws.reading import is_path
from sgdvi.draws.reading import read_file as read_file
from sgdvi.draws.tree import NUTS_FIELDS, from_numpyro, from_samples, kind_of, make_tree, plain_text

_TRACE_POINTS = 200
_FORMS = (
    "Give a DataTree, a dictionary of arrays (chain, draw, ...), a numpyro MCMC after its run, a pair (svi, result), "
    "the path of a file with draws, paths of one file for each chain, or a law with log_prob."
)


def as_run(name: str, run: Any, key: jax.Array) -> Any:
    """Return a run in any of the forms that `sgdvi.compare` takes as a DataTree; a law as it is.

    Parameters
    ----------
    name
        Name of the run, for messages.
    run
        DataTree or Dataset with draws; dictionary of arrays, each (chain, draw, ...) or (draw,) for one chain; a
        `numpyro.infer.MCMC` that has run; a pair of a `numpyro.infer.SVI` and the result of its ``run``; a path, or
        several (see `read_file`); or a law, which is anything with ``log_prob``.
    key
        JAX key for the draws of a guide.

    Raises
    ------
    InputError
        If it is none of these, or holds no draws.
    """
    if isinstance(run, DataTree):
        return with_chains(name, plain_text(run))
    if isinstance(run, xr.Dataset):
        return with_chains(name, DataTree.from_dict({"posterior": run}))
    if is_path(run):
        return with_chains(name, read_file(run))
    if isinstance(run, Mapping):
        return _from_arrays(name, run)
    if hasattr(run, "get_samples") and hasattr(run, "sampler"):
        return _from_mcmc(name, run)
    if isinstance(run, tuple) and len(run) == 2 and hasattr(run[0], "guide") and hasattr(run[1], "params"):
        return from_svi(*run, key=key)
    require(hasattr(run, "log_prob"), f"the run {name!r} must hold draws or be a law", type(run).__name__, _FORMS)
    return run


def from_svi(svi: Any, result: Any, *args: Any, key: jax.Array, num_draws: int = 4000, **kwargs: Any) -> DataTree:
    """Draw from the guide of a `numpyro.infer.SVI` that was fitted.

    Parameters
    ----------
    svi, result
        The SVI object and what its ``run`` returned.
    args, kwargs
        Arguments of the guide: needed for guides that are functions of the data, not for NumPyro's autoguides.
    key
        JAX key.
    num_draws
        Independent draws.

    Returns
    -------
    DataTree
        Kind ``"vi"``, one chain marked ``independent``.

    Raises
    ------
    InputError
        If the guide cannot be drawn from.
    """
    from numpyro.infer import Predictive  # late: compare() of plain arrays need not wait for it

    size = whole("num_draws", num_draws, least=4)
    guide, params = svi.guide, result.params
    try:
        if hasattr(guide, "sample_posterior"):
            samples = guide.sample_posterior(key, params, sample_shape=(size,))
        else:
            samples = Predictive(guide, params=params, num_samples=size)(key, *args, **kwargs)
    except Exception as error:
        advice = "For a guide of your own make the tree with sgdvi.inputs.from_svi(svi, result, *data, key=key)."
        got = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise InputError(message("the guide must give draws", got, advice)) from error
    said = _convergence(result)
    return from_samples({site: np.asarray(values) for site, values in samples.items()}, kind="vi", **said)


def _convergence(result: Any) -> dict[str, Any]:
    """Return whether the fit has converged, by the trend of its losses; nothing where they were not kept."""
    losses = getattr(result, "losses", None)
    if losses is None or not np.size(losses):
        return {}
    bounds = -np.asarray(losses, dtype=np.float64).reshape(-1)
    reason, block = rising(bounds), -(-bounds.size // _TRACE_POINTS)
    trace = [float(part.mean()) for part in np.array_split(bounds, -(-bounds.size // block))]
    config = {"elbo": trace, "elbo_block": block, "num_steps": bounds.size}
    return {"converged": not reason, "convergence": reason or "converged", "config": config}


def _from_arrays(name: str, arrays: Mapping[str, Any]) -> DataTree:
    require(arrays, f"the run {name!r} must have at least one site", "an empty dictionary")
    values = {}
    for site, given in arrays.items():
        try:
            array = np.asarray(given)
        except ValueError as error:
            rule = f"{site!r} of the run {name!r} must be an array (chain, draw, ...)"
            lengths = sorted({len(chain) for chain in given if hasattr(chain, "__len__")})
            got = f"chains of {' and '.join(map(str, lengths))} draws" if len(lengths) > 1 else str(error)[:100]
            raise InputError(message(rule, got, f"Cut all chains to {lengths[0]} draws." if lengths else "")) from error
        rule = f"{site!r} of the run {name!r} must be an array of numbers (chain, draw, ...)"
        require(array.dtype.kind in "fiub" and array.ndim > 0, rule, f"{array.dtype}, shape {array.shape}", _FORMS)
        values[str(site)] = array[None] if array.ndim == 1 else array
    return with_chains(name, make_tree(values, kind=_kind(name)))


def _from_mcmc(name: str, mcmc: Any) -> DataTree:
    kernel = type(mcmc.sampler).__name__
    kind = {"NUTS": "nuts", "HMC": "hmc", "SGD": "sgd"}.get(kernel, kernel.lower())
    try:
        fields = mcmc.get_extra_fields(group_by_chain=True)
        samples = mcmc.get_samples(group_by_chain=True)
    except Exception as error:
        raise InputError(message(f"the MCMC object {name!r} must have been run", str(error)[:100])) from error
    if kind == "nuts" and any(field not in fields for field in NUTS_FIELDS):
        # A run without all statistics is still a run: the checks that need them say so.
        stats = {field: np.asarray(values) for field, values in fields.items() if field in ("diverging", "energy")}
        return make_tree(samples, kind=kind, sample_stats=stats)
    return from_numpyro(mcmc, kind=kind)


def with_chains(name: str, tree: DataTree) -> DataTree:
    """Return a run with dimensions chain and draw; one chain that has no such dimension gets it.

    Independent draws ("sample") become one chain. Chains that were padded with nan to one length are cut to the
    shortest, with a warning: of SGD, nan is divergence, and stays.

    Raises
    ------
    InputError
        If it has no group ``posterior``, no draws, or neither of these dimensions; or if chains were padded to more
        than twice the length of the shortest.
    """
    rule = f"the run {name!r} must have a group 'posterior'"
    require("posterior" in tree.children, rule, f"groups {', '.join(map(str, tree.children)) or 'none'}", _FORMS)
    posterior = tree["posterior"].to_dataset()
    empty = ", ".join(f"{size} along {dim}" for dim, size in posterior.sizes.items() if size == 0)
    require(not empty, f"the run {name!r} must have draws", empty)
    if {"chain", "draw"} <= set(posterior.dims):
        return _of_one_length(name, tree)
    rule = f"the draws of {name!r} must have dimensions chain and draw"
    if "draw" in posterior.dims:
        groups = {str(group): node.to_dataset() for group, node in tree.children.items()}
        return DataTree.from_dict({group: _one_chain(data) for group, data in groups.items()})
    require("sample" in posterior.dims, rule, f"dimensions {', '.join(map(str, posterior.dims))}")
    # Independent draws, as ArviZ stores those of a guide.
    one = posterior.drop_vars(["sample", "chain", "draw"], errors="ignore").expand_dims("chain").rename(sample="draw")
    one.attrs |= {"independent": 1, "kind": posterior.attrs.get("kind", "vi")}
    return DataTree.from_dict({"posterior": one.transpose("chain", "draw", ...)})


def _one_chain(data: xr.Dataset) -> xr.Dataset:
    if "draw" not in data.dims:
        return data
    drawn = [name for name, values in data.data_vars.items() if "draw" in values.dims]
    plain = data.drop_vars("chain", errors="ignore")
    return plain.assign({name: plain[name].expand_dims("chain") for name in drawn})


def _of_one_length(name: str, tree: DataTree) -> DataTree:
    """Cut chains that end in nan, all sites at once, to the length of the shortest."""
    posterior = tree["posterior"].to_dataset()
    if kind_of(tree, name) == "sgd" or "chain_status" in tree.children:
        return tree
    lengths = None
    for values in posterior.data_vars.values():
        if values.dtype.kind != "f" or not {"chain", "draw"} <= set(values.dims):
            continue
        table = values.transpose("chain", "draw", ...).values
        lost = np.isnan(table[:, -1]).reshape(len(table), -1).all(axis=1)
        if not lost.any():
            return tree
        finite = ~np.isnan(table).reshape(*table.shape[:2], -1).all(axis=2)
        ends = np.where(finite.any(axis=1), table.shape[1] - finite[:, ::-1].argmax(axis=1), table.shape[1])
        lengths = ends if lengths is None or (lengths == ends).all() else np.zeros_like(ends)
    draws = posterior.sizes["draw"]
    if lengths is None or lengths.min() in (0, draws):
        return tree
    words = f"chains of {lengths.min()} to {lengths.max()} draws, padded with nan"
    advice = "Leave out the short chains, or cut all to one length."
    require(2 * lengths.min() > draws, f"the chains of {name!r} must have one length", words, advice)
    warnings.warn(f"The run {name!r} has {words}: all are cut to {lengths.min()}.", UserWarning, stacklevel=4)
    groups = {str(group): node.to_dataset() for group, node in tree.children.items()}
    least = int(lengths.min())
    return DataTree.from_dict(
        {group: data.isel(draw=slice(least)) if "draw" in data.dims else data for group, data in groups.items()}
    )


def _kind(name: str) -> str:
    return "sgd" if "sgd" in name.lower() else name.lower()

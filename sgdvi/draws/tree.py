"""Draws with labels: the DataTrees of runs, how they are made, saved and loaded, and functionals of them."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from xarray import DataTree

from sgdvi._internal.arguments import checked
from sgdvi._internal.check import InputError, message, require, whole
from sgdvi._internal.files import writable, write_whole
from sgdvi._internal.tree import label
from sgdvi.draws.hdf5 import check_file

# What a run of NUTS must be asked for: NumPyro keeps only `diverging` unless told.
NUTS_FIELDS = ("diverging", "energy", "num_steps", "accept_prob", "potential_energy")
_ARVIZ_NAMES: dict[str, str] = {"potential_energy": "lp", "num_steps": "n_steps", "accept_prob": "acceptance_rate"}
_FILE = "draws.nc"
_SAMPLE_DIMS = ("chain", "draw")


def make_tree(
    posterior: Mapping[str, Any],
    *,
    kind: str,
    sample_stats: Mapping[str, Any] | None = None,
    dims: Mapping[str, Sequence[str]] | None = None,
    attrs: Mapping[str, Any] | None = None,
    chain_status: Mapping[str, Any] | None = None,
    observed_data: Mapping[str, Any] | None = None,
    start: Sequence[str] | None = None,
) -> DataTree:
    """Make the tree of a run.

    Parameters
    ----------
    posterior
        Site -> array of shape (chain, draw, ...); all with the same first two axes. A "/" in the name of a site, which
        would part two groups, is written ".": ``nn/Dense_0.bias`` is the variable ``nn.Dense_0.bias``.
    kind
        What made the draws: "sgd", "nuts", "vi", ...
    sample_stats
        Statistic -> array of shape (chain, draw, ...).
    dims
        Site -> names of its own axes; missing ones are called ``<site>_dim_<k>``.
    attrs
        Attributes of the group ``posterior``; numbers and text. A ``config`` that is a mapping is stored as one JSON
        text, ``config_json``.
    chain_status
        Name -> array of shape (chain,).
    observed_data
        Name -> array.
    start
        Name of each chain's start; becomes the coordinate ``start`` on ``chain``.

    Returns
    -------
    DataTree
        Groups ``posterior``, and ``sample_stats``, ``chain_status``, ``observed_data`` where given.

    Raises
    ------
    InputError
        If an array has fewer than two axes or other numbers of chains and draws than the rest.
    """
    require(posterior, "a run must have at least one site", "no arrays")
    dims = {label(name): axes for name, axes in (dims or {}).items()}
    arrays = {label(name): np.asarray(values) for name, values in posterior.items()}
    rule = "the names of sites must differ in more than '/' and '.'"
    require(len(arrays) == len(posterior), rule, sorted(posterior), "Rename one.")
    first = next(iter(arrays))
    shape = arrays[first].shape[:2]
    advice = "A single chain is array[None]."
    require(len(shape) == 2, f"{first!r} must have axes (chain, draw, ...)", f"shape {arrays[first].shape}", advice)
    rule = "there must be at most as many chains as draws: axes are (chain, draw, ...)"
    # (500, 3) is far more likely 500 draws of three values than 500 chains; only the driver runs that many chains
    require(
        kind == "sgd" or chain_status is not None or shape[0] <= shape[1],
        rule,
        f"shape {arrays[first].shape} of {first!r}",
        "Give array[None], or more draws per chain.",
    )
    stats = {name: np.asarray(values) for name, values in (sample_stats or {}).items()}
    for name, values in (arrays | stats).items():
        rule = f"{name!r} must have axes (chain, draw, ...) = {shape} like {first!r}"
        require(values.shape[:2] == shape, rule, f"shape {values.shape}")

    coords: dict[str, Any] = {"chain": np.arange(shape[0]), "draw": np.arange(shape[1])}
    if start is not None:
        require(len(start) == shape[0], "start must name the start of each chain", f"{len(start)} for {shape[0]}")
        coords["start"] = ("chain", np.asarray(start, dtype=str))
    groups = {"posterior": xr.Dataset(_variables(arrays, dims), coords)}
    groups["posterior"].attrs = run_attributes(kind, attrs or {})
    if stats:
        groups["sample_stats"] = xr.Dataset(_variables(stats, dims), coords)
    if chain_status is not None:
        status = {name: ("chain", np.asarray(values)) for name, values in chain_status.items()}
        groups["chain_status"] = xr.Dataset(status, {"chain": coords["chain"]})
    if observed_data is not None:
        groups["observed_data"] = _dataset(observed_data)
    return DataTree.from_dict(groups)


def with_group(tree: DataTree, name: str, arrays: Mapping[str, Any], *, draws: bool = False) -> DataTree:
    """Return the tree with one more group of arrays: of shape (chain, draw, ...) with ``draws``, else of any."""
    groups = {group: node.to_dataset() for group, node in tree.children.items()}
    return DataTree.from_dict(groups | {name: _dataset(arrays, _SAMPLE_DIMS if draws else ())})


def with_sites(tree: DataTree, arrays: Mapping[str, Any]) -> DataTree:
    """Return the tree with more sites in its posterior, arrays of shape (chain, draw, ...); of one name the new one."""
    groups = {group: node.to_dataset() for group, node in tree.children.items()}
    added = _variables({label(name): np.asarray(values) for name, values in arrays.items()}, {})
    kept = groups["posterior"].drop_vars([name for name in added if name in groups["posterior"]])
    return DataTree.from_dict(groups | {"posterior": kept.assign(added)})


def run_attributes(kind: str, attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of the group ``posterior`` as they are stored: see `make_tree`."""
    return {"inference_library": "sgdvi", "kind": kind, **_plain(attrs)}


def axes_of(name: str, count: int, dims: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the names of the `count` axes that a site has beyond chain and draw.

    Raises
    ------
    InputError
        If `dims` names another number of axes.
    """
    own = list(dims.get(name, [f"{name}_dim_{k}" for k in range(count)]))
    require(len(own) == count, f"dims of {name!r} must name its {count} axes beyond chain and draw", own)
    return own


def from_numpyro(
    mcmc: Any, *, kind: str = "nuts", dims: Mapping[str, Sequence[str]] | None = None, **attrs: Any
) -> DataTree:
    """Make the tree of a `numpyro.infer.MCMC` run, with the statistics under the names that ArviZ looks for.

    Parameters
    ----------
    mcmc
        A run that was made; for NUTS with ``extra_fields=sgdvi.draws.NUTS_FIELDS``.
    kind, dims, attrs
        As in `make_tree`.

    Returns
    -------
    DataTree
        With ``sample_stats``: lp (minus the potential energy), n_steps, tree_depth, reached_max_treedepth,
        acceptance_rate, energy, diverging, as far as the run has them.

    Raises
    ------
    InputError
        If a run of NUTS lacks the fields: a tree without them would pass checks that were never made.
    """
    fields: dict[str, Any] = dict(mcmc.get_extra_fields(group_by_chain=True))
    advice = "Run it with extra_fields=sgdvi.draws.NUTS_FIELDS."
    missing = [name for name in NUTS_FIELDS if name not in fields]
    require(kind != "nuts" or not missing, "a NUTS run must have its statistics", f"none of {missing}", advice)
    samples, limit = mcmc.get_samples(group_by_chain=True), getattr(mcmc.sampler, "_max_tree_depth", None)
    return from_nuts(samples, fields, limit=limit, kind=kind, dims=dims, **attrs)


def from_nuts(
    samples: Mapping[str, Any],
    fields: Mapping[str, Any],
    *,
    limit: Any,
    kind: str = "nuts",
    dims: Mapping[str, Sequence[str]] | None = None,
    **attrs: Any,
) -> DataTree:
    """Make the tree of a run from its draws and NumPyro's statistics, (chain, draw, ...): see `from_numpyro`.

    `limit` is the largest depth of a tree, or a pair of those of warmup and sampling.
    """
    stats = {_ARVIZ_NAMES.get(name, name): np.asarray(value) for name, value in fields.items()}
    if "lp" in stats:
        stats["lp"] = -stats["lp"]
    if "n_steps" in stats and limit is not None:
        stats["tree_depth"] = np.log2(stats["n_steps"]).astype(int) + 1
        # the limit is a pair for warmup and sampling, or one number
        stats["reached_max_treedepth"] = stats["tree_depth"] >= (limit[-1] if isinstance(limit, tuple) else limit)
    return make_tree(samples, kind=kind, sample_stats=stats, dims=dims, attrs=attrs)


def from_samples(
    samples: Mapping[str, Any], *, kind: str = "vi", dims: Mapping[str, Sequence[str]] | None = None, **attrs: Any
) -> DataTree:
    """Make the tree of independent draws, shape (draw, ...), as one chain marked ``independent``.

    R-hat means nothing on independent draws; checks read the mark (stored as the number 1).
    """
    one_chain = {name: np.asarray(values)[None] for name, values in samples.items()}
    return make_tree(one_chain, kind=kind, dims=dims, attrs={**attrs, "independent": 1})


def in_chains(tree: DataTree, num_chains: int = 4) -> DataTree:
    """Cut independent draws, which are one chain, into several: `arviz.plot_rank` compares chains.

    Parameters
    ----------
    tree
        A run marked ``independent``: variational inference, Laplace, Pathfinder.
    num_chains
        Chains of equal length; draws that are left over are left out.

    Raises
    ------
    InputError
        If the draws are not independent, or fewer than the chains.
    """
    posterior, chains = tree["posterior"], whole("num_chains", num_chains, least=1)
    rule = "only independent draws can be cut into chains"
    require(posterior.attrs.get("independent"), rule, "a run of chains", "Take it as it is.")
    fewest = min(group.sizes["draw"] for group in tree.subtree if "draw" in group.sizes)
    require(fewest >= chains, f"there must be at least {chains} draws", fewest)

    def cut(group: xr.Dataset) -> xr.Dataset:
        if "draw" not in group.dims:
            return group
        one, each = group.isel(chain=0, drop=True), group.sizes["draw"] // chains
        parts = [
            one.isel(draw=slice(k * each, (k + 1) * each)).assign_coords(draw=np.arange(each)) for k in range(chains)
        ]
        return xr.concat(parts, dim="chain").assign_coords(chain=np.arange(chains))

    return tree.map_over_datasets(cut)


def functional(tree: DataTree | xr.Dataset, fn: Callable[[xr.Dataset], Any]) -> np.ndarray:
    """Evaluate a functional of the sites, such as ``lambda ds: ds.u * ds.w``, in float64.

    Parameters
    ----------
    tree
        A run, or its posterior as a Dataset.
    fn
        Dataset -> DataArray with dimensions chain and draw.

    Returns
    -------
    numpy.ndarray
        Shape (chain, draw), float64.

    Raises
    ------
    InputError
        If the functional fails on this run or does not return one number per draw.
    """
    posterior = in_double(tree)
    try:
        value = fn(posterior)
    except InputError:
        raise
    except Exception as error:
        have = f"{type(error).__name__}: {error} (sites: {', '.join(map(str, posterior.data_vars))})"
        raise InputError(message("a functional must be computable from the sites of the run", have)) from error
    rule = "a functional must return one number per draw, a DataArray with dimensions chain and draw"
    require(isinstance(value, xr.DataArray), rule, type(value).__name__)
    require(set(value.dims) == set(_SAMPLE_DIMS), rule, f"dimensions {value.dims}", "Reduce the others, e.g. .sum().")
    return np.asarray(value.transpose(*_SAMPLE_DIMS).values, dtype=np.float64)


def in_double(tree: DataTree | xr.Dataset) -> xr.Dataset:
    """Return the posterior in float64: moments of float32 draws lose the fluctuations about a large mean."""
    posterior = tree["posterior"].to_dataset() if isinstance(tree, DataTree) else tree
    small = [name for name, values in posterior.data_vars.items() if values.dtype.kind == "f" and values.dtype != float]
    return posterior.assign({name: posterior[name].astype(np.float64) for name in small}) if small else posterior


def config(tree: DataTree) -> dict[str, Any]:
    """Return the settings that a run was made with; empty where none were stored."""
    return json.loads(tree["posterior"].attrs.get("config_json", "{}"))


def kind_of(tree: DataTree, name: str = "") -> str:
    """Return what made the draws, "sgd", "nuts", ..., in small letters; "" where neither tree nor name says it."""
    return str(tree["posterior"].attrs.get("kind", "")).lower() or ("sgd" if "sgd" in name.lower() else "")


def factors(tree: DataTree) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the draws of the two factors u and w of a product, each (chain, draw, ...), float64; None without them."""
    posterior = tree["posterior"]
    # Unit by unit: two matrices with axes of their own are no such pair, whatever their shapes.
    if not ("u" in posterior and "w" in posterior and posterior["u"].dims == posterior["w"].dims):
        return None
    u, w = (posterior[site].transpose(*_SAMPLE_DIMS, ...).values for site in ("u", "w"))
    return np.asarray(u, dtype=np.float64), np.asarray(w, dtype=np.float64)


def is_tree(run: Any) -> bool:
    """Whether a run has draws (and is not a law)."""
    return isinstance(run, DataTree)


def is_numeric(values: Any) -> bool:
    """Whether a variable holds numbers for each draw: tools keep texts and constants beside them."""
    return values.dtype.kind in "fiub" and set(_SAMPLE_DIMS) <= set(values.dims)


def save(trees: Mapping[str, DataTree], folder: str | os.PathLike[str]) -> Path:
    """Write runs to ``draws.nc`` in `folder`, one group per run; all of it or nothing.

    Parameters
    ----------
    trees
        Name -> run. A name may hold any character but ``/``.
    folder
        Made if it does not exist. An older ``draws.nc`` is replaced.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        If a name cannot be a group, or the folder cannot be written.
    """
    for name in trees:
        require(name and "/" not in name, "the name of a run must not be empty or hold '/'", repr(name))
    target = Path(folder)
    with writable(target):
        target.mkdir(parents=True, exist_ok=True)
    every = DataTree.from_dict(dict(trees))
    return write_whole(target / _FILE, lambda part: every.to_netcdf(part, engine="h5netcdf"))


@checked
def load(folder: str | os.PathLike[str]) -> dict[str, DataTree]:
    """Read the runs that `save` wrote, all of them into memory; the file is closed."""
    path = Path(folder) / _FILE
    require(path.is_file(), f"the folder must hold {_FILE}", f"no such file in {str(folder)!r}")
    check_file(path)
    with xr.open_datatree(path, engine="h5netcdf") as tree:
        tree.load()
        return {str(name): run.copy() for name, run in tree.children.items()}


def plain_text(tree: DataTree) -> DataTree:
    """Return the tree with texts as NumPy and NetCDF know them: Zarr gives them a type of its own."""
    return tree.map_over_datasets(_plain_text)


def _plain_text(data: xr.Dataset) -> xr.Dataset:
    text = {name: value for name, value in data.variables.items() if value.dtype.kind == "T"}
    return data.assign({name: (value.dims, np.array(value.values.tolist(), str)) for name, value in text.items()})


def _dataset(arrays: Mapping[str, Any], first: Sequence[str] = ()) -> xr.Dataset:
    values = {name: np.asarray(array) for name, array in arrays.items()}
    own = {name: [f"{name}_dim_{k}" for k in range(value.ndim - len(first))] for name, value in values.items()}
    return xr.Dataset({name: ([*first, *own[name]], value) for name, value in values.items()})


def _variables(
    arrays: Mapping[str, np.ndarray], dims: Mapping[str, Sequence[str]]
) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    variables = {}
    for name, values in arrays.items():
        variables[name] = ((*_SAMPLE_DIMS, *axes_of(name, values.ndim - 2, dims)), values)
    return variables


def _plain(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes as NetCDF can hold them: no dict, no None, no bool."""
    plain: dict[str, Any] = {}
    for name, value in attrs.items():
        if isinstance(value, Mapping):
            plain[f"{name}_json"] = json.dumps(value, allow_nan=True)
        elif isinstance(value, bool | np.bool_):
            plain[name] = int(value)
        elif value is not None:
            plain[name] = value
    return plain

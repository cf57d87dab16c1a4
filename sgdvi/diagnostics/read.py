"""From runs with labels to arrays: reads draws, takes functionals apart, summarises."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any

import jax
import numpy as np

from sgdvi._internal.check import InputError, message, require
from sgdvi.diagnostics.columns import Columns
from sgdvi.diagnostics.facts import Known
from sgdvi.diagnostics.measures import linear_quantile, snapped
from sgdvi.diagnostics.run import CONVERGED, Run
from sgdvi.draws.functionals import PerDraw
from sgdvi.draws.tree import config, functional, in_double, is_numeric, is_tree, kind_of
from sgdvi.laws.line import Points

Functional = Callable[[Any], Any]

# Values of the parameters in a block of draws: 32 MB in float64.
_BLOCK = 1 << 22
_LEVELS = {"q5": 0.05, "q50": 0.5, "q95": 0.95}


def summarise(run: Run, name: str) -> dict[str, float | None]:
    """Return mean, sd, quantiles, ESS, R-hat and number of the draws of a functional, usable chains only."""
    measured, points = run.mixing[name], run.points.get(name)
    if points is None:
        return {**dict.fromkeys(("mean", "sd", *_LEVELS, "ess", "rhat"), math.nan), "n": 0}
    values = run.usable(name)
    quantiles = linear_quantile(run.ranked[name].ordered, np.array(list(_LEVELS.values())))
    return {
        "mean": float(values.mean()),
        "sd": float(values.std()),
        **{key: float(value) for key, value in zip(_LEVELS, quantiles, strict=True)},
        "ess": measured.ess,
        "rhat": measured.rhat,
        "n": int(values.size),
    }


def summarise_law(law: Any, icdf: Callable[[np.ndarray], np.ndarray], points: Points) -> dict[str, float | None]:
    """Return the same of a law, as far as it has them."""
    quantiles = icdf(np.array(list(_LEVELS.values())))
    with jax.enable_x64(True):
        try:
            mean, variance = float(law.mean), float(law.variance)
        except (NotImplementedError, AttributeError, TypeError):
            mean, variance = float(points.values.mean()), float(points.values.var())
    return {
        "mean": mean,
        "sd": math.sqrt(variance) if variance >= 0 else math.nan,
        **{key: float(value) for key, value in zip(_LEVELS, quantiles, strict=True)},
        "ess": None,
        "rhat": None,
        "n": None,
    }


def scalar_functionals(
    runs: Mapping[str, Any], given: Mapping[str, Functional] | None, known: Known | None
) -> dict[str, Functional]:
    """Return functionals of one number per draw: those given, taken apart, or the coordinates."""
    trees = [run for run in runs.values() if is_tree(run)]
    if given is None and known is not None:
        given = {"v": known.network.product}
    if not trees:
        return dict(given or {"v": itemgetter("v")})
    posterior = trees[0]["posterior"].to_dataset()
    first = posterior.isel(draw=slice(1))  # its dimensions are asked for, not its values
    if given is None:
        sites = [
            name
            for name, values in posterior.data_vars.items()
            if is_numeric(values) and all(name in tree["posterior"] for tree in trees)
        ]
        given = {str(name): itemgetter(name) for name in sites}
    given = {name: fn.named(name) if isinstance(fn, PerDraw) else fn for name, fn in given.items()}
    require(given, "there must be at least one functional", "none", "Give functionals={'name': lambda draws: ...}.")
    scalar: dict[str, Functional] = {}
    for name, fn in given.items():
        try:
            value = fn(first)
        except Exception as error:
            have = f"{type(error).__name__}: {error} (sites: {', '.join(map(str, posterior.data_vars))})"
            raise InputError(message(f"the functional {name!r} must be computable from the sites", have)) from error
        extra = [dim for dim in getattr(value, "dims", ()) if dim not in ("chain", "draw")]
        if not extra:
            scalar[name] = fn
            continue
        for index in np.ndindex(*(value.sizes[dim] for dim in extra)):
            names = [
                str(value[dim].values[i]) if dim in value.coords else str(i)
                for dim, i in zip(extra, index, strict=True)
            ]
            shape = tuple(value.sizes[dim] for dim in extra)
            scalar[f"{name}[{', '.join(names)}]"] = _Component(name, fn, index, shape)
    return scalar


@dataclass(frozen=True, eq=False)
class _Component:
    """One component of a functional with further dimensions, by its place along each: tools name dimensions apart."""

    name: str
    whole: Functional
    place: tuple[int, ...]
    shape: tuple[int, ...]

    def __call__(self, draws: Any) -> Any:
        return self.of(self.whole(draws))

    def of(self, whole: Any) -> Any:
        """Return the component of the value of the whole functional."""
        own = [dim for dim in whole.dims if dim not in ("chain", "draw")]
        shape = tuple(whole.sizes[dim] for dim in own)
        rule = f"{self.name!r} must have the same shape in all runs"
        advice = "Compare functionals that have, such as predictions."
        require(shape == self.shape, rule, f"{self.shape} and {shape} beyond chain and draw", advice)
        return whole.isel(dict(zip(own, self.place, strict=True)))


def read_tree(name: str, tree: Any, functionals: Mapping[str, Functional]) -> Run:
    """Read a DataTree into arrays: functionals in float64, parameters in the type that they were drawn in."""
    posterior = tree["posterior"]
    attrs = posterior.attrs
    sites = {
        str(site): np.asarray(array.transpose("chain", "draw", ...).values)
        for site, array in posterior.data_vars.items()
        if is_numeric(array)
    }
    require(sites, f"the run {name!r} must have numbers with dimensions chain and draw", list(posterior.data_vars))
    kind = kind_of(tree, name)
    columns = Columns(sites if kind == "sgd" else _asked_for(sites))  # of SGD, nan is divergence
    values = evaluated(posterior.to_dataset(), functionals)
    types = [array.dtype for array in posterior.data_vars.values() if array.dtype.kind == "f"]
    eps = max((float(np.finfo(one).eps) for one in types), default=float(np.finfo(float).eps))
    # the smallest site: what is computed from larger ones alone is rounded relative to them
    ends = [np.abs(columns.range_of(site)) for site in columns]
    scale = min((float(np.fmax.reduce(end, axis=None)) for end in ends if end.size), default=0.0)
    overflowed = steps = None
    if "chain_status" in tree.children:
        record = tree["chain_status"]
        overflowed = np.asarray(record["status"].values, dtype=str) == "overflowed"
        steps = np.asarray(record["step"].values) if "step" in record else None
    settings, (predicted, observed) = config(tree), _predictive(tree)
    return Run(
        name=name,
        kind=kind,
        sites=columns,
        values={label: snapped(array, eps, scale) for label, array in values.items()},
        overflowed=overflowed,
        steps=steps,
        independent=bool(attrs.get("independent", 0)),
        thinning=int(settings.get("thinning", 1) or 1),
        log_weights=_log_weights(tree),
        khat=settings.get("khat"),
        starts=np.asarray(posterior["start"].values, str) if "start" in posterior.coords else None,
        stats=_statistics(tree),
        log_likelihood=_rows(tree, "log_likelihood"),
        predicted=predicted,
        observed=observed,
        settings=settings,
        fit=_fit(attrs),
        ours=attrs.get("inference_library") == "sgdvi",
    )


def _fit(attrs: Mapping[Any, Any]) -> str | None:
    """Return what is recorded of the convergence of a fit."""
    if "converged" not in attrs:
        return None
    return CONVERGED if int(attrs["converged"]) else str(attrs.get("convergence") or "it says so")


def evaluated(posterior: Any, functionals: Mapping[str, Functional]) -> dict[str, np.ndarray]:
    """Return the functionals of all draws in float64: of many parameters a block of draws at a time."""
    each = sum(int(array.size) for array in posterior.data_vars.values()) // posterior.sizes["draw"]
    step = max(1, _BLOCK // max(each, 1))
    parts: dict[str, list[np.ndarray]] = {label: [] for label in functionals}
    for begin in range(0, posterior.sizes["draw"], step):
        double = in_double(posterior.isel(draw=slice(begin, begin + step)))  # once, not once per functional
        wholes: dict[Functional, np.ndarray] = {}  # evaluated and read once, not once per component
        for label, fn in functionals.items():
            if isinstance(fn, _Component) and fn.whole in wholes:
                part = wholes[fn.whole][:, :, np.ravel_multi_index(fn.place, fn.shape)]
            else:
                part = functional(double, partial(_part, fn, wholes))
            parts[label].append(part.copy())  # a view would keep the block
    return {label: np.concatenate(each, axis=1) for label, each in parts.items()}


def _part(fn: Functional, wholes: dict[Functional, np.ndarray], draws: Any) -> Any:
    if not isinstance(fn, _Component):
        return fn(draws)
    whole = fn.whole(draws)
    part = fn.of(whole)  # sees to the shape
    if {"chain", "draw"} <= set(whole.dims):
        values = np.asarray(whole.transpose("chain", "draw", ...).values, dtype=np.float64)
        wholes[fn.whole] = values.reshape(*values.shape[:2], -1)
    return part


def _asked_for(sites: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Leave out sites without a number, which nobody can have asked for, unless all are: then the run is lost."""
    filled = {
        name: array for name, array in sites.items() if not (np.isnan(array[:, 0]).all() and np.isnan(array).all())
    }
    return filled or sites


def _log_weights(tree: Any) -> np.ndarray | None:
    if "sample_stats" not in tree.children or "log_weight" not in tree["sample_stats"]:
        return None
    return np.asarray(tree["sample_stats"]["log_weight"].values, dtype=np.float64).reshape(-1)


def _statistics(tree: Any) -> dict[str, np.ndarray]:
    if "sample_stats" not in tree.children:
        return {}
    group = tree["sample_stats"].to_dataset()
    other = {"reached_max_tree_depth": "reached_max_treedepth"}  # NumPyro's name for it in ArviZ
    return {
        other.get(str(name), str(name)): np.asarray(values.transpose("chain", "draw").values)
        for name, values in group.data_vars.items()
        if set(values.dims) == {"chain", "draw"}
    }


def _rows(tree: Any, group: str, name: str = "") -> np.ndarray | None:
    """Return the one variable of a group, or the named one, as (draws of all chains, rows)."""
    if group not in tree.children:
        return None
    arrays = tree[group].to_dataset().data_vars
    if not name and len(arrays) == 1:
        name = str(next(iter(arrays)))
    if name not in arrays:
        return None
    values = np.asarray(arrays[name].transpose("chain", "draw", ...).values, dtype=np.float64)
    return values.reshape(values.shape[0] * values.shape[1], -1)


def _predictive(tree: Any) -> tuple[np.ndarray | None, np.ndarray | None]:
    if "observed_data" not in tree.children or len(tree["observed_data"].data_vars) != 1:
        return None, None
    name, values = next(iter(tree["observed_data"].to_dataset().data_vars.items()))
    predicted = _rows(tree, "posterior_predictive", str(name))
    observed = np.asarray(values.values, dtype=np.float64).reshape(-1)
    if predicted is None or predicted.shape[1] != observed.size:
        return None, None
    return predicted, observed

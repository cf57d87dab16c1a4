"""Where chains start: drawn at random, or given as values of the model's sites."""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sgdvi._check import require
from sgdvi._tree import Rows
from sgdvi.samplers.target import Params, Target, require_finite


class Starts(NamedTuple):
    """Unconstrained parameters with a leading axis of chains, and the names of the chains' starts, if any."""

    z: Params
    names: tuple[str, ...] | None


def make_starts(target: Target, rows: Rows, keys: jax.Array, init: Mapping[str, Any] | None) -> Starts:
    """Return the starts of as many chains as there are keys: see `sgdvi.sample` for the forms of `init`.

    Raises
    ------
    InputError
        If sites are missing or unknown, values have the wrong shape or lie outside the support, or the loss or its
        gradient is not finite there.
    """
    if init is None:
        z, found = _drawn(target, keys, rows)
        require_finite(found)
        return Starts(z, None)
    rule = "init must be a dict: site -> value, or name of start -> such a dict"
    require(isinstance(init, Mapping) and init, rule, repr(init))
    names = None
    if all(isinstance(value, Mapping) for value in init.values()):
        names = tuple(list(init)[chain % len(init)] for chain in range(len(keys)))
        chosen = {name: _one(target, rows, values, f"start {name!r}") for name, values in init.items()}
        params = {site: np.stack([chosen[name][site] for name in names]) for site in target.shapes}
    else:
        params = _one(target, rows, init, "init", len(keys))
    z, found = _given(target, params, rows)
    for site, value in z.items():
        rule, advice = f"the start of {site!r} must lie in the support of its prior", "Move it off the boundary."
        require(bool(jnp.isfinite(value).all()), rule, np.asarray(params[site]).ravel()[:3], advice)
    require_finite(found)
    return Starts(z, names)


def _one(
    target: Target, rows: Rows, values: Mapping[str, Any], what: str, num_chains: int = 0
) -> dict[str, np.ndarray]:
    rule = f"{what} must give a value to each of the sites {sorted(target.shapes)}"
    require(sorted(values) == sorted(target.shapes), rule, sorted(values))
    shapes = jax.eval_shape(lambda: target.constrain({k: jnp.zeros(s) for k, s in target.shapes.items()}, rows))
    params = {}
    for site in target.shapes:
        value, shape = np.asarray(values[site], dtype=float), shapes[site].shape
        wanted = f"shape {shape}" + (f" or {(num_chains, *shape)}" if num_chains else "")
        require(value.shape in (shape, (num_chains, *shape)), f"{what}: {site!r} must have {wanted}", value.shape)
        require(np.isfinite(value).all(), f"{what}: {site!r} must be finite", value.ravel()[:3])
        params[site] = np.broadcast_to(value, (num_chains, *shape)) if num_chains else value
    return params


@partial(jax.jit, static_argnames="target")
def _drawn(target: Target, keys: jax.Array, rows: Rows) -> tuple[Params, jax.Array]:
    # one after the other: a full gradient of all chains at once can exceed the memory
    return lax.map(lambda key: target.start(key, rows), keys)


@partial(jax.jit, static_argnames="target")
def _given(target: Target, params: Params, rows: Rows) -> tuple[Params, jax.Array]:
    def one(values: Params) -> tuple[Params, jax.Array]:
        z = target.unconstrain(values, rows)
        return z, target.is_finite(z, rows)

    return lax.map(one, params)

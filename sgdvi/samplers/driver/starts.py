"""Where chains start: drawn at random, or given as values of the model's sites."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sgdvi._internal.check import InputError, message, require
from sgdvi._internal.tree import Rows, same_structure
from sgdvi.samplers.targets.base import Params, Target, require_finite


class Starts(NamedTuple):
    """Unconstrained parameters with a leading axis of chains, and the names of the chains' starts, if any."""

    z: Params
    names: tuple[str, ...] | None


def make_starts(
    target: Target, rows: Rows, keys: jax.Array, init: Any | None, own: Callable[[jax.Array], Params | None]
) -> Starts:
    """Return the starts of as many chains as there are keys: see `sgdvi.sample` for the forms of `init`.

    `own` is where the sampler starts a chain unless `init` says otherwise; it may return None.

    Raises
    ------
    InputError
        If values are missing or unknown, have the wrong shape or lie outside the support, or the loss or its
        gradient is not finite there.
    """
    z = jax.vmap(own)(keys) if init is None else None
    if z is not None:
        require_finite(_finite(target, z, rows), "draws of the law that the sampler has near the mode")
        return Starts(z, None)
    init = target.default if init is None else init
    if init is None:
        z, finite = _drawn(target, keys, rows)
        require_finite(finite)
        return Starts(z, None)
    chains, names = len(keys), None
    if _is_named(target, init):
        names = tuple(list(init)[chain % len(init)] for chain in range(chains))
        chosen = [_values(target, rows, values, f"start {name!r}") for name, values in init.items()]
        named = {name: np.concatenate([values[name] for values in chosen]) for name in chosen[0]}
        places = np.arange(chains) % len(init)
    else:
        named = _values(target, rows, init, "init", chains)
        count = max(len(value) for value in named.values())
        places = np.arange(chains) % count
        named = {name: np.broadcast_to(value, (count, *value.shape[1:])) for name, value in named.items()}
    params = target.from_names(named)
    z, finite = jax.tree.map(np.asarray, _given(target, params, rows))
    for name, value in target.by_name(z, "init").items():
        rule, advice = f"the start of {name!r} must lie in the support of its prior", "Move it off the boundary."
        require(bool(np.isfinite(value).all()), rule, named[name].ravel()[:3], advice)
    if not finite.all():
        lost = int(np.argmin(finite))
        require_finite(finite, target.not_finite(jax.tree.map(lambda leaf: leaf[lost], z), rows))
    return Starts(jax.tree.map(lambda leaf: jnp.asarray(leaf[places]), z), names)


def _is_named(target: Target, init: Any) -> bool:
    """Whether `init` names several starts: a dict whose values are starts, and which is none itself."""
    if not isinstance(init, Mapping) or not init:
        return False
    if target.default is not None:
        return not same_structure(init, target.default) and not set(init) & set(target.outputs)
    return all(isinstance(value, Mapping) for value in init.values())


def _values(target: Target, rows: Rows, given: Any, what: str, num_chains: int = 0) -> dict[str, np.ndarray]:
    """Return values by name with a leading axis: of length 1, or of `num_chains` where they have it."""
    values, named = {}, target.by_name(given, what)
    for name, shape in target.shapes_of(rows).items():
        try:
            value = np.asarray(named[name], dtype=float)
        except (TypeError, ValueError) as error:
            raise InputError(message(f"{what}: {name!r} must be an array of numbers", error)) from error
        wanted = f"shape {shape}" + (f" or {(num_chains, *shape)}" if num_chains else "")
        allowed = (shape, (num_chains, *shape)) if num_chains else (shape,)
        require(value.shape in allowed, f"{what}: {name!r} must have {wanted}", value.shape)
        require(np.isfinite(value).all(), f"{what}: {name!r} must be finite", value.ravel()[:3])
        values[name] = value[None] if value.shape == shape else value
    return values


@partial(jax.jit, static_argnames="target")
def _drawn(target: Target, keys: jax.Array, rows: Rows) -> tuple[Params, jax.Array]:
    # one after the other: a full gradient of all chains at once can exceed the memory
    return lax.map(lambda key: target.start(key, rows), keys)


@partial(jax.jit, static_argnames="target")
def _finite(target: Target, z: Params, rows: Rows) -> jax.Array:
    return lax.map(lambda one: target.is_finite(one, rows), z)


@partial(jax.jit, static_argnames="target")
def _given(target: Target, params: Params, rows: Rows) -> tuple[Params, jax.Array]:
    def one(values: Params) -> tuple[Params, jax.Array]:
        z = target.unconstrain(values, rows)
        return z, target.is_finite(z, rows)

    return lax.map(one, params)

"""Checks of a distribution's structure: shapes, dtypes, support, pytree, transformations, keys."""

import copy
import warnings
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro.distributions import Distribution, constraints
from numpyro.distributions.util import lazy_property

from sgdvi.testing._integrals import CLOSE
from sgdvi.testing._record import Skip
from sgdvi.testing._subject import Subject, cast

_SAME = 1e-9


def pytree(s: Subject) -> Iterator[str]:
    """Parameters are leaves of the pytree and survive flattening."""
    stored = set(type(s.silent).gather_pytree_data_fields())
    lost = sorted(
        name
        for name in s.silent.arg_constraints
        if name in s.silent.__dict__
        and name not in stored
        and not isinstance(getattr(type(s.silent), name, None), lazy_property)
    )
    if lost:
        s.give_up_pytree()
        yield (
            f"every parameter must be a leaf of the pytree, or jit and vmap lose it; {', '.join(lost)} "
            "is not in pytree_data_fields"
        )
        return
    value = s.few
    try:
        again = jax.tree.unflatten(*jax.tree.flatten(s.silent)[::-1])
        same = np.allclose(again.log_prob(value), s.silent.log_prob(value), _SAME, _SAME, equal_nan=True)
    except Exception:
        s.give_up_pytree()
        raise
    if not _carries(s.silent):
        s.give_up_pytree()
        yield "a leaf put into the pytree must come out again; it does not, so jit and vmap keep the old one"
    if not same or again.batch_shape != s.silent.batch_shape:
        s.give_up_pytree()
        yield "flattening and unflattening must give the same distribution; got another log_prob or batch shape"


def shapes(s: Subject) -> Iterator[str]:
    """Sample, log_prob, expand and the moments have the shapes that they must have."""
    law, whole_shape = s.law, s.batch_shape + tuple(s.law.event_shape)
    for lead in ((), (5,)):
        value = s.few if lead else law.sample(s.key)
        if jnp.shape(value) != lead + whole_shape:
            yield f"sample with shape {lead} must have shape {lead + whole_shape}; got {jnp.shape(value)}"
        elif jnp.shape(law.log_prob(value)) != lead + s.batch_shape:
            yield f"log_prob must have shape {lead + s.batch_shape}; got {jnp.shape(law.log_prob(value))}"
    wide = (5, *s.batch_shape)
    value = law.expand(wide).sample(s.key)
    if jnp.shape(value) != (5, *whole_shape) or jnp.shape(law.expand(wide).log_prob(value)) != wide:
        yield f"expand to {wide} must give samples and log_prob of that batch shape; got {jnp.shape(value)}"
    for name in ("mean", "variance"):
        try:
            shape = jnp.shape(getattr(law, name))
        except NotImplementedError:
            continue
        if shape != whole_shape:
            yield f"{name} must have shape {whole_shape}; got {shape}"


def dtype(s: Subject) -> Iterator[str]:
    """Results have the dtype of parameters and values."""
    s.require_pytree()
    values = {"log_prob": s.points, "cdf": s.points, "icdf": np.full_like(s.points, 0.4)}
    for method, value in values.items():
        # several of NumPyro's own cdfs widen float32; none may narrow float64
        for kind in (np.float32, np.float64) if method == "log_prob" else (np.float64,):
            if s.has(method):
                got = s.raw(method, value, cast(s.silent, kind), kind).dtype
                if got != kind:
                    yield f"{method} of {np.dtype(kind)} parameters and values must be {np.dtype(kind)}; got {got}"


def support(s: Subject) -> Iterator[str]:
    """Draws lie in the support, with a finite log_prob; outside a validating law warns and says -inf."""
    lower, upper = s.bounds
    inside = np.asarray(s.law.support(jnp.asarray(s.draws).reshape(len(s.draws), *s.batch_shape)))
    if not inside.all():
        yield f"draws must lie in the support {s.law.support}; got {np.sum(~inside)} of {inside.size} outside"
    level = s.call("log_prob", s.draws[:: max(1, s.num_draws // 2000)])
    if not np.all(np.isfinite(level)):
        yield f"log_prob must be finite at draws; got {level[~np.isfinite(level)][0]}{s.where(~np.isfinite(level))}"
    strict = copy.copy(s.law)
    strict._validate_args = True
    outside = np.stack([lower - s.spread, upper + s.spread])
    for value in outside[np.all(np.isfinite(outside), axis=1)]:
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            try:
                level = s.call("log_prob", value[None], strict)
            except ValueError:
                continue
        if not any("support" in str(warning.message).lower() for warning in heard):
            yield f"log_prob outside the support must warn when validating; no warning at {value[0]:.4g}"
        if not np.all((level == -np.inf) | np.isnan(level)):
            yield f"log_prob outside the support must be -inf when validating; got {level.max():.4g} at {value[0]:.4g}"


def validation(s: Subject) -> Iterator[str]:
    """Bad parameters are refused."""
    checked = {
        name: constraint
        for name, constraint in s.law.arg_constraints.items()
        if name in s.law.__dict__ and not constraints.is_dependent(constraint)
    }
    if not checked:
        raise Skip("no parameter has a constraint in arg_constraints")
    for name in checked:
        broken = copy.copy(s.law)
        setattr(broken, name, jnp.full_like(jnp.asarray(getattr(s.law, name)), jnp.nan))
        try:
            broken.validate_args()
        except ValueError:
            continue
        yield f"validate_args must refuse nan for {name}"


def transformations(s: Subject) -> Iterator[str]:
    """jit and vmap, with the law as an argument, change nothing."""
    s.require_pytree()
    value = s.few

    def far(got: Array, want: Array) -> bool:
        return not np.allclose(got, want, rtol=_SAME, atol=_SAME, equal_nan=True)

    want = s.law.log_prob(value)
    got, inside = jax.jit(lambda law, key: (law.log_prob(value), law.sample(key, (5,))))(s.law, s.key)
    if far(got, want):
        yield "log_prob under jit must be log_prob; it is not"
    if not np.allclose(inside, value, rtol=CLOSE, equal_nan=True):
        yield "the same key must give the same draws under jit; it gives others"
    moved = jax.tree.map(_shifted, s.law)
    stacked = jax.tree.map(lambda *pair: jnp.stack(pair), s.law, moved)
    both = jax.jit(jax.vmap(lambda law: law.log_prob(value)))(stacked)
    if far(both[0], want) or far(both[1], moved.log_prob(value)):
        yield "vmap over the parameters must give log_prob of each law; it gives other values"


def keys(s: Subject) -> Iterator[str]:
    """The key decides the draws."""
    if not np.array_equal(s.few, s.law.sample(s.key, (5,)), equal_nan=True):
        yield "the same key must give the same draws; it gives others"
    decided = len(s.atoms[0]) and np.all(s.is_atom(s.flat(s.few)))
    if not decided and np.array_equal(s.few, s.law.sample(jax.random.fold_in(s.key, 1), (5,))):
        yield "another key must give other draws; it gives the same"


def _carries(law: Distribution) -> bool:
    moved = jax.tree.map(_shifted, law)
    pairs = zip(jax.tree.leaves(law), jax.tree.leaves(moved), strict=True)
    return all(np.array_equal(_shifted(old), new, equal_nan=True) for old, new in pairs)


def _shifted(leaf: Any) -> Any:
    return leaf * 1.0001 if jnp.issubdtype(jnp.result_type(leaf), jnp.floating) else leaf

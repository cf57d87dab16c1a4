"""The contract of a sampler, checked from its own runs."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro.diagnostics import effective_sample_size
from numpyro.infer.mcmc import MCMCKernel

from sgdvi._internal.check import require, whole
from sgdvi.testing._record import ContractError, Report, Skip, names_to_skip, run_checks
from sgdvi.testing._runs import FEW, SHORT, Draws, Plan, Runs, make_runs

# How far apart may be what is computed in other groupings: float32 rounding along a short run.
_CLOSE = 1e-3
# Levels of the reference at which probabilities are compared, and effective draws without which they are not.
_LEVELS = np.array([0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95])
_LEAST_EFFECTIVE = 400
_ERRORS = 5.0


def _shapes(runs: Runs) -> Iterator[str]:
    for name, values in runs.short.items():
        if values.shape[:2] != (FEW, SHORT):
            yield f"{name} must have the axes (chain, draw) = {(FEW, SHORT)}; got shape {values.shape}"


def _finite(runs: Runs) -> Iterator[str]:
    for name, values in runs.long.items():
        bad = np.argwhere(~np.isfinite(values))
        if len(bad):
            yield f"draws must be finite; got {values[tuple(bad[0])]} for {name} in chain {bad[0][0]}, draw {bad[0][1]}"


def _keys(runs: Runs) -> Iterator[str]:
    for name, values in _differing(runs.short, runs.draw(), exact=True):
        yield f"the same key must give the same draws; got {values} for {name} in a second run of a new sampler"
    other = runs.draw(key=jax.random.fold_in(runs.plan.key, 10**6))
    if not list(_differing(runs.short, other, exact=True)):
        yield "another key must give other draws; got the same ones"


def _chains(runs: Runs) -> Iterator[str]:
    for name, values in runs.short.items():
        for one, two in ((0, 1), (0, 2), (1, 2)):
            if np.array_equal(values[one], values[two]):
                yield f"chains must differ; got the same draws of {name} in chains {one} and {two}"
                break
    for name, values in runs.long.items():
        together = _togetherness(values)
        if abs(together) > _ERRORS:
            got = f"moves of {name} that are correlated between chains, by {together:.1f} standard errors"
            yield f"chains must be independent; got {got}. Does a step use the key that it is given?"
    try:
        fewer = runs.fewer_chains()
    except Skip:
        return
    for name, got in _differing({n: v[: FEW - 1] for n, v in runs.short.items()}, fewer):
        yield f"a chain must not change with the number of chains; got {got} for {name}"


def _thinning(runs: Runs) -> Iterator[str]:
    thinned = runs.draw(thinning=2 * runs.plan.thinning)
    for name, values in _differing({n: v[:, 1::2] for n, v in runs.short.items()}, thinned):
        yield f"thinning by k must keep every k-th draw; got {values} for {name}"


def _resume(runs: Runs) -> Iterator[str]:
    for name, values in _differing(runs.short, runs.continued()):
        got = f"{values} for {name}"
        yield f"a resumed run must be that of an uninterrupted one; got {got}. Keep all memory in the state."


def _transformations(runs: Runs) -> Iterator[str]:
    step, keys, states = runs.one_step()
    first = jax.tree.map(lambda leaf: leaf[0], states)
    with jax.disable_jit():
        plain = step(keys[0], first)
    for what, result in (
        ("jit", jax.jit(step)(keys[0], first)),
        ("vmap", jax.tree.map(lambda leaf: leaf[0], jax.vmap(step)(keys, states))),
    ):
        structures: list[Any] = [jax.tree.structure(one) for one in (result, plain)]
        if structures[0] != structures[1]:
            yield f"a step under {what} must return the structure of a plain one; got {structures[0]}"
        elif not all(map(_close, map(_data, jax.tree.leaves(result)), map(_data, jax.tree.leaves(plain)))):
            yield f"a step under {what} must return what a plain one does; got another state"


def _overflow(runs: Runs) -> Iterator[str]:
    lost = runs.status()
    for name, values in runs.long.items():
        spoilt = ~np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
        if (spoilt & ~lost).any():
            got = f"{name} in chain {np.argmax(spoilt & ~lost)}, which is ok"
            yield f"a chain with draws that are not finite must have overflowed; got {got}"
    step, keys, states = runs.one_step()
    poisoned = states._replace(z=jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.nan), states.z))
    after = jax.vmap(step)(keys, poisoned)
    if all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(after.z)):
        yield "a step from parameters that are NaN must leave them so, or divergence is not seen; got finite ones"


def _law(runs: Runs) -> Iterator[str]:
    if not runs.plan.reference:
        raise Skip("no reference was given")
    for name, law in runs.plan.reference.items():
        if name not in runs.long:
            yield f"the reference must name sites or functionals, {sorted(runs.long)}; got {name!r}"
            continue
        values, size = runs.long[name], math.inf
        if values.ndim != 2:
            yield f"a reference is for a number per draw; {name} has shape {values.shape[2:]}: give a functional of it"
            continue
        if hasattr(law, "icdf") or hasattr(law, "ppf"):
            with jax.enable_x64(True):
                points = np.asarray((law.icdf if hasattr(law, "icdf") else law.ppf)(_LEVELS))
        else:
            points, size = np.quantile(np.asarray(law), _LEVELS), np.size(law)
        for level, point in zip(_LEVELS, points, strict=True):
            below = (values <= point).astype(float)
            # what has not moved across the point is worth nothing
            effective = float(effective_sample_size(below)) if 0 < below.mean() < 1 else float(below.size)
            effective = min(effective, below.size)
            if effective < _LEAST_EFFECTIVE:
                got = f"{effective:.0f} for {name} at {point:.4g}"
                yield f"there must be {_LEAST_EFFECTIVE} effective draws; got {got}. Give more num_steps or num_chains."
                break
            error = math.sqrt(level * (1 - level) * (1 / effective + 1 / size))
            if not abs(below.mean() - level) <= _ERRORS * error:
                want = f"{name} must be at most {point:.4g} with probability {level}, within {_ERRORS * error:.2g}"
                yield f"{want}; got {below.mean():.4g}"
                break


CHECKS: dict[str, Callable[[Runs], Iterable[str]]] = {
    "shapes": _shapes,
    "finite": _finite,
    "keys": _keys,
    "chains": _chains,
    "thinning": _thinning,
    "resume": _resume,
    "transformations": _transformations,
    "overflow": _overflow,
    "law": _law,
}


def check_sampler(
    sampler: Any,
    data: Any,
    *,
    reference: Mapping[str, Any] | None = None,
    functionals: Mapping[str, Callable[[Any], Any]] | None = None,
    init: Any | None = None,
    num_steps: int = 1000,
    num_warmup: int = 0,
    num_chains: int = 64,
    thinning: int = 1,
    key: Array | None = None,
    skip: Iterable[str] = (),
) -> Report:
    """Check that a sampler keeps the contract that drivers, stores and comparisons rely on, and that its law is right.

    Parameters
    ----------
    sampler
        A function without arguments that makes the sampler, so that every run gets a new one and nothing hides in
        Python: a `sgdvi.Sampler`, the package's or of your own `sgdvi.Algorithm`, or a kernel of `numpyro.infer`. Or
        the sampler itself, which all runs then share.
    data
        The model's arguments, or the data of a loss: see `sgdvi.sample`.
    reference
        What the draws must be distributed as, by the name of a site or functional that is a number: a law with
        ``icdf`` (or ``ppf``), or an array of independent draws.
    functionals
        Name -> function of one draw, as for `sgdvi.sample`.
    init
        Start of all chains, as for `sgdvi.sample`; kernels of NumPyro start themselves.
    num_steps, num_warmup, num_chains, thinning
        The run whose draws are compared with the reference. The other checks look at runs of 12 draws of 3 chains,
        with the same warmup and thinning.
    key
        Random key; a fixed one by default, so that a check passes every day or fails every day.
    skip
        Names of checks to leave out, of `sgdvi.testing.SAMPLER_CHECKS`.

    Returns
    -------
    Report
        Every check with its outcome; a check that does not apply is skipped with the reason.

    Raises
    ------
    ContractError
        (an AssertionError) If any check fails. The message lists all failures: what must hold, and what was got.
    InputError
        For options out of their range.

    Notes
    -----
    The law is compared at seven quantiles of the reference: the share of draws below each must be its level within 5
    standard errors, of as many draws as the indicator has effective ones (400 at least, or the check fails). Chains
    are independent when their moves, step by step, are uncorrelated within 5 standard errors.
    """
    rule = "sampler must be a sgdvi.Sampler, a kernel of numpyro.infer, or a function that makes one"
    is_one = isinstance(sampler, MCMCKernel)
    require(is_one or callable(sampler), rule, repr(sampler))
    make: Callable[[], Any] = (lambda: sampler) if is_one else sampler
    made = make()
    require(isinstance(made, MCMCKernel), rule, f"a function that makes {made!r}")
    plan = Plan(
        data=data,
        key=jax.random.key(0) if key is None else key,
        num_steps=whole("num_steps", num_steps, least=1),
        num_warmup=whole("num_warmup", num_warmup),
        num_chains=whole("num_chains", num_chains, least=2),
        thinning=whole("thinning", thinning, least=1),
        init=init,
        reference=dict(reference or {}),
        functionals=dict(functionals or {}),
    )
    results = run_checks(CHECKS, make_runs(make, plan), names_to_skip(skip, CHECKS))
    report = Report(getattr(made, "kind", type(made).__name__), tuple(results), "sampler")
    if report.failed:
        raise ContractError(report)
    return report


def _data(leaf: Any) -> np.ndarray:
    is_key = hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if is_key else leaf)


def _close(one: np.ndarray, two: np.ndarray) -> bool:
    return one.shape == two.shape and np.allclose(one, two, rtol=_CLOSE, atol=_CLOSE * 0.1, equal_nan=True)


def _differing(want: Draws, got: Draws, exact: bool = False) -> Iterator[tuple[str, str]]:
    """Yield the names whose values differ, and how."""
    for name, values in want.items():
        other = got[name]
        if other.shape != values.shape:
            yield name, f"shape {other.shape} instead of {values.shape}"
        elif not (np.array_equal(values, other, equal_nan=True) if exact else _close(values, other)):
            place = tuple(np.argwhere(~np.isclose(values, other, rtol=0 if exact else _CLOSE, equal_nan=True))[0])
            yield name, f"{other[place]:.6g} instead of {values[place]:.6g} in chain {place[0]}, draw {place[1]}"


def _togetherness(values: np.ndarray) -> float:
    """Mean product of the moves of two chains at the same step, over all pairs, in standard errors."""
    moves = np.diff(values.reshape(*values.shape[:2], -1)[..., 0].astype(float), axis=1)
    # after the start, which chains may have in common
    moves = moves[:, moves.shape[1] // 2 :]
    moves = moves - moves.mean(axis=1, keepdims=True)
    products = (moves.sum(0) ** 2 - (moves**2).sum(0)) / 2
    sd = products.std()
    if not sd > 0 or len(products) < 20:
        return 0.0
    effective = float(effective_sample_size(products[None]))
    return float(products.mean() / sd * math.sqrt(min(effective, len(products))))

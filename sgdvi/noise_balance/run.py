"""Run SGD and keep points that are dense at the start, where charges move fastest."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sgdvi._internal.check import InputError, message, require, whole
from sgdvi.noise_balance.source import Source
from sgdvi.noise_balance.trajectory import Trajectory, make_trajectory
from sgdvi.samplers import SGD, sample
from sgdvi.symmetry._loss import SampleLoss

# Draws of one call of the driver, always the same number: one compilation serves all.
_DRAWS = 8
_TRANSIENT = 1 / 3
# Parameters beyond this are on their way to infinity: powers of them would overflow in the loss.
_OVERFLOW = 1e10


def run_sgd(source: Source, checked: SampleLoss, key: jax.Array, settings: Mapping[str, Any]) -> Trajectory:
    """Run SGD from the starts of the source, all in float64.

    Parameters
    ----------
    source, checked
        The loss, and the same as it was checked.
    key
        JAX key.
    settings
        learning_rate, batch_size, num_steps, num_chains, num_warmup, thinning, batching, points, progress.
    """
    missing = [name for name in ("learning_rate", "batch_size") if settings[name] is None]
    if missing:
        rule, advice = "learning_rate and batch_size must be given to run SGD", "Or give a trajectory."
        raise InputError(message(rule, f"no {' and no '.join(missing)}", advice))
    chains, warmup = whole("num_chains", settings["num_chains"], least=1), whole("num_warmup", settings["num_warmup"])
    lags = _lags(whole("num_steps", settings["num_steps"], least=_DRAWS), settings["points"], settings["thinning"])
    sampler = SGD(
        source.loss,
        learning_rate=settings["learning_rate"],
        batch_size=settings["batch_size"],
        batching=settings["batching"] or "replacement",
    )
    for_starts, for_run = jax.random.split(key)
    now = jax.tree.map(jnp.asarray, source.starts(for_starts, chains))
    kept = [[np.asarray(leaf)[:, None]] for leaf in jax.tree.leaves(now)]
    alive = np.ones(chains, bool)
    for number, lag in enumerate(lags):
        tree = sample(
            sampler,
            source.data,
            key=jax.random.fold_in(for_run, number),
            num_steps=_DRAWS * lag,
            num_warmup=warmup if number == 0 else 0,
            num_chains=chains,
            thinning=lag,
            init=now,
            progress=settings["progress"],
        )
        draws = [np.asarray(tree["posterior"][name]) for name in source.loss.names]
        with np.errstate(invalid="ignore"):
            alive &= np.all([np.abs(drawn).reshape(chains, -1).max(1) < _OVERFLOW for drawn in draws], axis=0)
        require(alive.any(), "at least one chain must stay finite", "none", "Take a smaller learning rate.")
        for leaf, drawn in zip(kept, draws, strict=True):
            leaf.append(np.where(alive.reshape(-1, *[1] * (drawn.ndim - 1)), drawn, np.nan))
        # a chain that is lost goes on from where another stands, and stays marked
        places = np.where(alive, np.arange(chains), np.flatnonzero(alive)[0])
        now = jax.tree.unflatten(checked.structure, [jnp.asarray(drawn[places, -1]) for drawn in draws])
    steps = warmup + np.cumsum([0, *np.repeat(lags, _DRAWS)])
    # the start stands for the first point only where nothing lies between them
    skip = 1 if warmup else 0
    arrays = [np.concatenate(leaf, axis=1)[:, skip:] for leaf in kept]
    return make_trajectory(arrays, checked, settings, 0, steps[skip:])


def _lags(num_steps: int, points: int, thinning: int | None) -> list[int]:
    """Return the thinning of each call: doubled over the first third of the run, then as even as the points allow."""
    if thinning is not None:
        return [whole("thinning", thinning, least=1)] * max(1, num_steps // (_DRAWS * thinning))
    lags, calls = [1], max(1, points // _DRAWS)
    even = max(1, num_steps // (_DRAWS * calls))
    while 2 * lags[-1] <= even and _DRAWS * (sum(lags) + 2 * lags[-1]) <= _TRANSIENT * num_steps:
        lags.append(2 * lags[-1])
    left = num_steps // _DRAWS - sum(lags)
    count = min(max(1, calls - len(lags)), left) if left > 0 else 0
    return lags + [left // count + (number < left % count) for number in range(count)]

"""The check at the start of a run that minibatches of a model are what they seem."""

from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sgdvi._check import InputError, message, require
from sgdvi._tree import Rows, take
from sgdvi.samplers.plates import PER_ROW, describe, first_line
from sgdvi.samplers.target import Params

if TYPE_CHECKING:
    from sgdvi.samplers.model_target import ModelTarget

CHECKED_BLOCKS = 256
# far above rounding, far below what a row that is not the right one does to its likelihood
CHECK_TOLERANCE = 1e-3
_CLOSED_OVER = (
    "Pass all data to the model as arguments with one row per observation, use nothing else that has rows, and do "
    "not compute statistics over the rows inside the model."
)


def check_minibatches(target: "ModelTarget", rows: Rows, batch_size: int, z: Params) -> None:
    """Check that minibatches are what they seem: each row weighs in a block what it weighs in the full data.

    A random permutation of the rows is cut into blocks of `batch_size` (up to 256 of them), and the log-likelihoods
    of their rows are held against those of the same rows in the full data, at the parameters `z`.

    Raises
    ------
    InputError
        If they differ, as they do for data that the model does not get as arguments, for rows that the model
        standardises or orders, and for likelihoods outside the data plate.
    """
    rule = f"the model must run on any {batch_size} of its {target.num_data} rows"
    try:
        size = rows[0].shape[0]
        count = max(1, min(size // batch_size, CHECKED_BLOCKS))
        block = take(rows, jnp.arange(batch_size) % size)
        sites, _ = describe(target.model, target.split.rebuild(block), jax.random.key(0), target.plates, batch_size)
        for name, shape in target.shapes.items():
            got = f"unconstrained shape {sites[name].free_shape} on {batch_size} rows, {shape} on all"
            require(sites[name].free_shape == shape, f"the latent site {name!r} must not have rows", got, PER_ROW)
        # a batch beyond N holds rows twice
        order = np.resize(np.random.default_rng(0).permutation(size), (count, batch_size))
        compared = _compare_blocks(target, z, rows, order)
    except InputError:
        raise
    except Exception as error:
        raise InputError(message(rule, first_line(error), _CLOSED_OVER)) from error
    found = {name: float(value) for name, value in compared.items()}
    rule = f"every row must weigh the same in any block of {batch_size} rows as in all {size}"
    got = f"a log-likelihood of {found['parts']:.6g} for {count} block(s), {found['whole']:.6g} for their rows in all"
    require(found["row_error"] <= CHECK_TOLERANCE, rule, got, _CLOSED_OVER)
    rule = "all terms of the model that depend on the rows must stand in the data plate"
    advice = "numpyro.factor or numpyro.sample on all rows at once cannot be divided into minibatches."
    got = f"terms outside it that vary between blocks by {found['rest_error']:.3g} of their size"
    require(found["rest_error"] <= CHECK_TOLERANCE, rule, got, advice)


@partial(jax.jit, static_argnames="target")
def _compare_blocks(target: "ModelTarget", z: Params, rows: Rows, blocks: jax.Array) -> dict[str, jax.Array]:
    params = {name: value for name, value in target.constrain(z, rows).items() if name in target.shapes}
    full, rest = target.row_terms(params, rows)
    terms, rests = lax.map(lambda block: target.row_terms(params, take(rows, block)), blocks)
    if terms.shape != blocks.shape or full.shape != rows[0].shape[:1]:
        raise ValueError(f"{terms.shape[1:]} log-likelihoods of {blocks.shape[1]} rows")
    return {
        "whole": full[blocks].sum(),
        "parts": terms.sum(),
        "row_error": jnp.abs(terms - full[blocks]).max() / (CHECK_TOLERANCE + jnp.abs(full).max()),
        "rest_error": jnp.abs(rests - rest).max() / (1 + jnp.abs(rest)),
    }

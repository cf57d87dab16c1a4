"""A NumPyro model as a target: its negative log joint density on a minibatch of its rows."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from numpyro import handlers
from numpyro.infer.util import compute_log_probs, constrain_fn, potential_energy, unconstrain_fn

from sgdvi._internal.check import InputError, message, require
from sgdvi._internal.tree import Arguments, Rows, RowSplit, label, take, to_jax
from sgdvi.problem.all_rows import with_fixed_params
from sgdvi.samplers.targets.base import Params, Target
from sgdvi.samplers.targets.host import TRIAL_ROWS
from sgdvi.samplers.targets.plates import RowPlates, advice_on, describe, first_line
from sgdvi.samplers.targets.rows import data_plates, latent_with_rows

START_RADIUS = 2.0  # NumPyro's init_to_uniform
START_ATTEMPTS = 100


@dataclass(frozen=True, eq=False)
class ModelTarget(Target):
    """What SGD descends: the negative log joint density of a model divided by the number of rows.

    Parameters live in NumPyro's unconstrained coordinates, and the density includes the Jacobian of the map to the
    constrained ones, as in NumPyro's NUTS. On a minibatch of S rows the likelihood is multiplied by N/S:

    L(z) = -[ (N/S) sum_{i in batch} log p(y_i | z) + log p(z) + log |det J(z)| ] / N.

    Attributes
    ----------
    model
        The NumPyro model.
    split
        How its arguments divide into rows and fixed values.
    plates
        Names of the plates over the rows.
    shapes
        Latent site -> shape of its unconstrained value.
    outputs
        Names of the sites that draws consist of: latent sites, and deterministic ones without a row axis.
    """

    model: Callable[..., Any]
    split: RowSplit
    plates: frozenset[str]
    shapes: Mapping[str, tuple[int, ...]]
    outputs: tuple[str, ...]

    @property
    def dimension(self) -> int:
        """See `Target`."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    def loss(self, z: Params, rows: Rows) -> jax.Array:
        """Loss on a minibatch (or on all the data, when `rows` is all of them)."""
        args, kwargs = self.split.rebuild(rows)
        model = self.on_rows(rows, weight=self.num_data / rows[0].shape[0])
        return potential_energy(model, args, kwargs, z) / self.num_data

    def constrain(self, z: Params, rows: Rows) -> Params:
        """Map unconstrained parameters to the sites of the model; `rows` is all the data."""
        args, kwargs = self.split.rebuild(rows)
        values = constrain_fn(self.on_rows(rows), args, kwargs, z, return_deterministic=True)
        return {name: values[name] for name in self.outputs}

    def unconstrain(self, params: Params, rows: Rows) -> Params:
        """Map values of all latent sites to unconstrained coordinates."""
        args, kwargs = self.split.rebuild(rows)
        return unconstrain_fn(self.on_rows(rows), args, kwargs, params)

    def start(self, key: jax.Array, rows: Rows) -> tuple[Params, jax.Array]:
        """Draw a start, uniform on (-2, 2) in unconstrained coordinates, where loss and gradient are finite.

        Returns the parameters and whether such a start was found in 100 attempts.
        """

        def attempt(state: tuple[jax.Array, Params, jax.Array]) -> tuple[jax.Array, Params, jax.Array]:
            keys = jax.random.split(jax.random.fold_in(key, state[0]), len(self.shapes))
            z = {
                site: jax.random.uniform(k, shape, minval=-START_RADIUS, maxval=START_RADIUS)
                for k, (site, shape) in zip(keys, sorted(self.shapes.items()), strict=True)
            }
            return state[0] + 1, z, self.is_finite(z, rows)

        blank = {site: jnp.zeros(shape) for site, shape in sorted(self.shapes.items())}
        none = (jnp.int32(0), blank, jnp.array(False))
        _, z, finite = lax.while_loop(lambda s: ~s[2] & (s[0] < START_ATTEMPTS), attempt, none)
        return z, finite

    def by_name(self, params: Params, what: str) -> dict[str, Any]:
        """See `Target`: the values of all latent sites."""
        if isinstance(params, Mapping):
            # as draws name them
            site_of = {label(site): site for site in self.shapes}
            params = {site_of.get(name, name): value for name, value in params.items()}
        names = sorted(params, key=str) if isinstance(params, Mapping) else type(params).__name__
        rule = f"{what} must be a dict with the sites {sorted(self.shapes)}"
        require(names == sorted(self.shapes), rule, names)
        return {site: params[site] for site in self.shapes}

    def from_names(self, values: dict[str, Any]) -> Params:
        """See `Target`."""
        return values

    def shapes_of(self, rows: Rows) -> dict[str, tuple[int, ...]]:
        """See `Target`: the shapes of the constrained values."""
        blank = {site: jnp.zeros(shape) for site, shape in self.shapes.items()}
        shapes = jax.eval_shape(lambda: self.constrain(blank, rows))
        return {site: shapes[site].shape for site in self.shapes}

    def check(self, z: Params, rows: Rows, batch_size: int) -> None:
        """See `check_minibatches`."""
        check_minibatches(self, rows, batch_size, z)

    def row_terms(self, params: Params, rows: Rows) -> tuple[jax.Array, jax.Array]:
        """Log-likelihood of each row, shape (S,), and the log density of all else, at constrained values."""
        total, other = self._terms(params, rows)
        return total, sum(other.values(), jnp.zeros(()))

    def other_terms(self, params: Params, rows: Rows) -> dict[str, jax.Array]:
        """Log densities of the sites outside the data plate, at constrained values."""
        return self._terms(params, rows)[1]

    def _terms(self, params: Params, rows: Rows) -> tuple[jax.Array, dict[str, jax.Array]]:
        args, kwargs = self.split.rebuild(rows)
        log_probs, trace = compute_log_probs(self.on_rows(rows), args, kwargs, params, sum_log_prob=False)
        size = rows[0].shape[0]
        total, other = jnp.zeros(size), {}
        for name, log_prob in log_probs.items():
            site = trace[name]
            axes = [frame.dim for frame in site["cond_indep_stack"] if frame.name in self.plates]
            if site["is_observed"] and axes:
                terms = jnp.moveaxis(log_prob, axes[0], 0)
                total = total + terms.reshape(terms.shape[0], -1).sum(1)
            else:
                other[name] = jnp.sum(log_prob)
        return total, other

    def on_rows(self, rows: Rows, weight: float = 1.0) -> Callable[..., Any]:
        """Return the model as it sees these rows, whose likelihood counts `weight` times."""
        # the seed serves models that ask for a key; every latent site gets its value from outside
        return RowPlates(handlers.seed(self.model, 0), self.plates, rows[0].shape[0], weight)


def model_target(
    model: Callable[..., Any], arguments: Arguments, key: jax.Array, num_data: int | None = None
) -> ModelTarget:
    """Trace a model once on all its data and find its rows, plates and latent sites.

    Parameters
    ----------
    model
        NumPyro model. The data are its arguments, and the observed sites stand in one plate over their rows.
    arguments
        Positional and keyword arguments, all rows.
    key
        Key for the trial values of the trace; it has no influence on the result.
    num_data
        Number of all rows, where the arguments hold only some of them.

    Returns
    -------
    ModelTarget
        Not yet checked on minibatches: see `check_minibatches`.

    Raises
    ------
    InputError
        If the model does not run, has no data plate, data plates of several sizes, latent sites per row, or discrete
        latent sites.
    """
    rule, advice = "the model must run on the data", "Check the model's arguments and the data."
    arguments = to_jax(arguments)  # a NumPy array cannot be indexed by the numbers of rows that are being traced
    try:
        model = with_fixed_params(model, arguments)
        description = describe(model, arguments, key)
    except InputError:
        raise
    except Exception as error:
        raise InputError(message(rule, first_line(error), advice_on(error, advice))) from error

    latent = {name: site for name, site in description.sites.items() if site.kind == "latent"}
    require(latent, "the model must have at least one latent site", "none", "Give its parameters with numpyro.sample.")
    num_rows, plates = data_plates(description, arguments)
    for name, site in latent.items():
        smooth = f"the latent site {name!r} must be continuous"
        require(not site.discrete, smooth, "a discrete distribution", "Sum the site out of the model.")
    over_host = num_data is None or num_rows == min(num_data, TRIAL_ROWS)
    plate = "the data plate must be over the rows of the arrays on the host"
    require(over_host, plate, f"a plate over {num_rows} rows of others", "Write len(x) for its size.")
    for name, site in latent.items():
        if not plates.isdisjoint(site.plates):
            raise latent_with_rows(name, site, num_rows, f"one in the data plate of {num_rows} rows")
    derived = tuple(
        name
        for name, site in description.sites.items()
        if site.kind == "deterministic" and plates.isdisjoint(site.plates)
    )
    shapes = {name: site.free_shape for name, site in latent.items()}
    target = ModelTarget(model, RowSplit.of(arguments, num_rows, num_data), plates, shapes, (*latent, *derived))
    z = {site: jax.ShapeDtypeStruct(shape, jnp.result_type(float)) for site, shape in shapes.items()}
    try:
        jax.eval_shape(target.loss, z, target.rows(arguments))
    except Exception as error:
        raise InputError(message(rule, first_line(error), advice_on(error, advice))) from error
    return target


CHECKED_BLOCKS = 256
# far above rounding, far below what a row that is not the right one does to its likelihood
CHECK_TOLERANCE = 1e-3
_CLOSED_OVER = (
    "Pass all data to the model as arguments with one row per observation, use nothing else that has rows, and do "
    "not compute statistics over the rows inside the model."
)


def check_minibatches(target: ModelTarget, rows: Rows, batch_size: int, z: Params) -> None:
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
        block = jax.jit(take)(rows, np.arange(batch_size) % size)
        sites = describe(target.model, target.split.rebuild(block), jax.random.key(0), target.plates, batch_size).sites
        for name, shape in target.shapes.items():
            if sites[name].free_shape != shape:
                got = f"unconstrained shape {sites[name].free_shape} on {batch_size} rows, {shape} on all"
                raise latent_with_rows(name, sites[name], batch_size, got)
        # a batch beyond N holds rows twice
        order = np.resize(np.random.default_rng(0).permutation(size), (count, batch_size))
        compared = _compare_blocks(target, z, rows, order)
    except InputError:
        raise
    except Exception as error:
        raise InputError(message(rule, first_line(error), advice_on(error, _CLOSED_OVER))) from error
    sums = {name: float(value) for name, value in compared.items()}
    rule = f"every row must weigh the same in any block of {batch_size} rows as in all {size}"
    got = f"a log-likelihood of {sums['parts']:.6g} for {count} block(s), {sums['whole']:.6g} for their rows in all"
    require(sums["row_error"] <= CHECK_TOLERANCE, rule, got, _CLOSED_OVER)
    if not sums["rest_error"] <= CHECK_TOLERANCE:
        raise _terms_outside(target, z, rows, take(rows, order[0]), sums["rest_error"])


def _terms_outside(target: ModelTarget, z: Params, rows: Rows, block: Rows, error: float) -> InputError:
    """Say which term outside the data plate changes from the rows of all data to those of a block."""
    params = {name: value for name, value in target.constrain(z, rows).items() if name in target.shapes}
    whole, part = target.other_terms(params, rows), target.other_terms(params, block)
    name = max(whole, key=lambda one: abs(float(whole[one] - part[one])))
    got = f"terms outside it, {name!r} most, that vary between blocks by {error:.3g} of their size"
    if name in target.shapes:
        rule = f"the prior of {name!r} must not depend on the rows of the data, nor on their number"
        advice = "A minibatch has fewer rows: pass the number of all rows as an argument of its own, such as n=len(x)."
        return InputError(message(rule, f"one that changes from {len(rows[0])} rows to {len(block[0])}", advice))
    rule = "all terms of the model that depend on the rows must stand in the data plate"
    advice = "numpyro.factor or numpyro.sample on all rows at once cannot be divided into minibatches."
    return InputError(message(rule, got, advice))


@partial(jax.jit, static_argnames="target")
def _compare_blocks(target: ModelTarget, z: Params, rows: Rows, blocks: jax.Array) -> dict[str, jax.Array]:
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

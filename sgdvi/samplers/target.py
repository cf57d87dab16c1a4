"""The loss of a NumPyro model on a minibatch of its rows, and the checks that a minibatch is what it seems."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from numpyro import handlers
from numpyro.distributions import biject_to
from numpyro.infer import init_to_uniform
from numpyro.infer.util import compute_log_probs, constrain_fn, potential_energy, unconstrain_fn
from numpyro.primitives import Messenger

from sgdvi._check import InputError, message, require
from sgdvi._tree import Arguments, Rows, RowSplit, leading_sizes, take

Params = dict[str, jax.Array]
START_RADIUS = 2.0  # NumPyro's init_to_uniform
START_ATTEMPTS = 100
CHECKED_BLOCKS = 256
# far above rounding, far below what a row that is not the right one does to its likelihood
CHECK_TOLERANCE = 1e-3


class RowPlates(Messenger):
    """Hand the model a minibatch: plates index the rows they are given, the likelihood counts `weight` times.

    A plate over the rows may take its size from the sliced arguments or keep the full size; either way its indices
    become 0..S-1 and the factor N/S that NumPyro may or may not have applied is replaced by `weight`.
    """

    def __init__(self, fn: Callable[..., Any], plates: frozenset[str], batch_size: int, weight: float) -> None:
        self.plates, self.batch_size, self.weight = plates, batch_size, weight
        self.sizes: dict[str, int] = {}
        super().__init__(fn)

    def process_message(self, msg: Any) -> None:
        """Set plate indices and the scale of observed sites."""
        if msg["type"] == "plate":
            size = msg["args"][0]
            batch = self.batch_size if msg["name"] in self.plates else size
            self.sizes[msg["name"]] = size
            msg["value"], msg["args"] = jnp.arange(batch), (size, None)
        elif msg["type"] == "subsample" and self._sliced(msg):
            msg["type"] = "sliced"  # the plate would index the rows a second time, or refuse their number
        elif msg["type"] == "sample" and msg["is_observed"]:
            frames = [frame for frame in msg["cond_indep_stack"] if frame.name in self.plates]
            if frames:
                applied = self.sizes[frames[0].name] / self.batch_size
                scale = 1.0 if msg["scale"] is None else msg["scale"]
                msg["scale"] = scale * (self.weight / applied)

    def _sliced(self, msg: Any) -> bool:
        shape, event_dim = jnp.shape(msg["value"]), msg["kwargs"].get("event_dim") or 0
        return self.batch_size in shape[: len(shape) - event_dim]


@dataclass(frozen=True, eq=False)
class Target:
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
    def num_data(self) -> int:
        """Number of rows N."""
        return self.split.num_rows

    def rows(self, arguments: Arguments) -> Rows:
        """Return the data of `arguments` that minibatches are taken from."""
        return self.split.rows(arguments)

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
        _, z, found = lax.while_loop(lambda s: ~s[2] & (s[0] < START_ATTEMPTS), attempt, none)
        return z, found

    def is_finite(self, z: Params, rows: Rows) -> jax.Array:
        """Whether the full loss and its gradient are finite at `z`."""
        loss, gradient = jax.value_and_grad(self.loss)(z, rows)
        return jnp.isfinite(loss) & jnp.all(jnp.array([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient)]))

    def row_terms(self, params: Params, rows: Rows) -> tuple[jax.Array, jax.Array]:
        """Log-likelihood of each row, shape (S,), and the log density of all else, at constrained values."""
        args, kwargs = self.split.rebuild(rows)
        log_probs, trace = compute_log_probs(self.on_rows(rows), args, kwargs, params, sum_log_prob=False)
        size = rows[0].shape[0]
        total, other = jnp.zeros(size), jnp.zeros(())
        for name, log_prob in log_probs.items():
            site = trace[name]
            axes = [frame.dim for frame in site["cond_indep_stack"] if frame.name in self.plates]
            if site["is_observed"] and axes:
                terms = jnp.moveaxis(log_prob, axes[0], 0)
                total = total + terms.reshape(terms.shape[0], -1).sum(1)
            else:
                other = other + jnp.sum(log_prob)
        return total, other

    def on_rows(self, rows: Rows, weight: float = 1.0) -> Callable[..., Any]:
        """Return the model as it sees these rows, whose likelihood counts `weight` times."""
        # the seed serves models that ask for a key; every latent site gets its value from outside
        return RowPlates(handlers.seed(self.model, 0), self.plates, rows[0].shape[0], weight)


def make_target(model: Callable[..., Any], arguments: Arguments, key: jax.Array) -> Target:
    """Trace a model once on all its data and find its rows, plates and latent sites.

    Parameters
    ----------
    model
        NumPyro model. The data are its arguments, and the observed sites stand in one plate over their rows.
    arguments
        Positional and keyword arguments, all rows.
    key
        Key for the trial values of the trace; it has no influence on the result.

    Returns
    -------
    Target
        Not yet checked on minibatches: see `check_minibatches`.

    Raises
    ------
    InputError
        If the model does not run, has no data plate, data plates of several sizes, latent sites per row, or discrete
        latent sites.
    """
    args, kwargs = arguments
    try:
        sites, sizes = _describe(model, arguments, key)
        if any(site.kind in ("param", "mutable") for site in sites.values()):
            # as in NumPyro's MCMC, they stay at the values of the first trace
            trace = handlers.trace(handlers.substitute(handlers.seed(model, key), substitute_fn=init_to_uniform()))
            values = {k: v["value"] for k, v in trace.get_trace(*args, **kwargs).items() if v["type"] != "sample"}
            fixed = {name: values[name] for name, site in sites.items() if site.kind in ("param", "mutable")}
            model = handlers.substitute(model, data=fixed)
    except Exception as error:
        advice = "Check the model's arguments and the data."
        raise InputError(message("the model must run on the data", _first_line(error), advice)) from error

    latent = {name: site for name, site in sites.items() if site.kind == "latent"}
    require(latent, "the model must have at least one latent site", "none", "Give its parameters with numpyro.sample.")
    for name, site in latent.items():
        advice = "SGD needs a gradient: sum the site out of the model."
        require(not site.discrete, f"the latent site {name!r} must be continuous", "a discrete distribution", advice)
    observed = [site for site in sites.values() if site.kind == "observed"]
    num_rows, plates = _data_plates({plate for site in observed for plate in site.plates}, sizes, arguments)
    for name, site in latent.items():
        rule = f"the latent site {name!r} must not stand in the data plate"
        require(plates.isdisjoint(site.plates), rule, "one value per row", _PER_ROW)
    fixed_size = tuple(
        name
        for name, site in sites.items()
        if site.kind == "deterministic" and plates.isdisjoint(site.plates) and num_rows not in site.shape
    )
    shapes = {name: site.free_shape for name, site in latent.items()}
    return Target(model, RowSplit.of(arguments, num_rows), plates, shapes, (*latent, *fixed_size))


@partial(jax.jit, static_argnames="target")
def find_start(target: Target, key: jax.Array, rows: Rows) -> tuple[Params, jax.Array]:
    """Compiled `Target.start`."""
    return target.start(key, rows)


def require_finite(found: jax.Array) -> None:
    """Raise `InputError` unless loss and gradient are finite at all starts."""
    advice = "Look for NaN in the data and for data outside the support of the likelihood; or give starts with init=."
    rule = "loss and gradient must be finite at the start of every chain"
    require(bool(jnp.all(found)), rule, f"{int(jnp.sum(~found))} of {found.size} that are not", advice)


def check_minibatches(target: Target, rows: Rows, batch_size: int, z: Params, key: jax.Array) -> None:
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
        count = max(1, min(target.num_data // batch_size, CHECKED_BLOCKS))
        block = take(rows, jnp.arange(batch_size) % target.num_data)
        sites, _ = _describe(target.model, target.split.rebuild(block), key, target.plates, batch_size)
        for name, shape in target.shapes.items():
            got = f"unconstrained shape {sites[name].free_shape} on {batch_size} rows, {shape} on all"
            require(sites[name].free_shape == shape, f"the latent site {name!r} must not have rows", got, _PER_ROW)
        compared = _compare_blocks(target, z, key, rows, (count, batch_size))
    except InputError:
        raise
    except Exception as error:
        raise InputError(message(rule, _first_line(error), _CLOSED_OVER)) from error
    found = {name: float(value) for name, value in compared.items()}
    rule = f"every row must weigh the same in any block of {batch_size} rows as in all {target.num_data}"
    got = f"a log-likelihood of {found['parts']:.6g} for {count} block(s), {found['whole']:.6g} for their rows in all"
    require(found["row_error"] <= CHECK_TOLERANCE, rule, got, _CLOSED_OVER)
    rule = "all terms of the model that depend on the rows must stand in the data plate"
    advice = "numpyro.factor or numpyro.sample on all rows at once cannot be divided into minibatches."
    got = f"terms outside it that vary between blocks by {found['rest_error']:.3g} of their size"
    require(found["rest_error"] <= CHECK_TOLERANCE, rule, got, advice)


@partial(jax.jit, static_argnames=("target", "shape"))
def _compare_blocks(
    target: Target, z: Params, key: jax.Array, rows: Rows, shape: tuple[int, int]
) -> dict[str, jax.Array]:
    params = {name: value for name, value in target.constrain(z, rows).items() if name in target.shapes}
    # a batch beyond N holds rows twice
    blocks = jnp.resize(jax.random.permutation(key, target.num_data), shape)
    full, rest = target.row_terms(params, rows)
    terms, rests = lax.map(lambda block: target.row_terms(params, take(rows, block)), blocks)
    if terms.shape != shape or full.shape != (target.num_data,):
        raise ValueError(f"{terms.shape[1:]} log-likelihoods of {shape[1]} rows")
    return {
        "whole": full[blocks].sum(),
        "parts": terms.sum(),
        "row_error": jnp.abs(terms - full[blocks]).max() / (CHECK_TOLERANCE + jnp.abs(full).max()),
        "rest_error": jnp.abs(rests - rest).max() / (1 + jnp.abs(rest)),
    }


_PER_ROW = "A minibatch cannot move the values of absent rows: integrate the site out of the model."
_CLOSED_OVER = (
    "Pass all data to the model as arguments with one row per observation, use nothing else that has rows, and do "
    "not compute statistics over the rows inside the model."
)


class _Site(NamedTuple):
    kind: str  # latent, observed, deterministic, param, mutable
    discrete: bool
    plates: frozenset[str]
    shape: tuple[int, ...]
    free_shape: tuple[int, ...]  # of the unconstrained value, where it is latent


def _describe(
    model: Callable[..., Any],
    arguments: Arguments,
    key: jax.Array,
    plates: frozenset[str] = frozenset(),
    batch_size: int = 0,
) -> tuple[dict[str, _Site], dict[str, int]]:
    """Trace the model without computing anything; return its sites and the sizes of its plates."""
    sites: dict[str, _Site] = {}
    rows = RowPlates(handlers.seed(model, key), plates, batch_size, 1.0)

    def run() -> None:
        args, kwargs = arguments
        trial = handlers.substitute(rows, substitute_fn=init_to_uniform())
        for name, site in handlers.trace(trial).get_trace(*args, **kwargs).items():
            kind, discrete, shape = site["type"], False, jnp.shape(site["value"])
            if kind not in ("sample", "deterministic", "param", "mutable"):
                continue
            free_shape = shape
            if kind == "sample":
                kind = "observed" if site["is_observed"] else "latent"
                discrete = bool(site["fn"].support.is_discrete)
                if kind == "latent" and not discrete:
                    free_shape = biject_to(site["fn"].support).inverse_shape(shape)
            frames = frozenset(frame.name for frame in site.get("cond_indep_stack", ()))
            sites[name] = _Site(kind, discrete, frames, shape, free_shape)

    jax.eval_shape(run)
    return sites, rows.sizes


def _data_plates(around: set[str], sizes: Mapping[str, int], arguments: Arguments) -> tuple[int, frozenset[str]]:
    leading = leading_sizes(arguments)
    over_rows = {name: sizes[name] for name in sorted(around) if sizes.get(name) in leading}
    if not over_rows:
        plates = ", ".join(f"{name!r} of size {sizes.get(name)}" for name in sorted(around)) or "none"
        got = f"plates around observed sites: {plates}; leading sizes of the arguments: {sorted(leading) or 'none'}"
        advice = 'Observe inside `with numpyro.plate("data", len(x)):` and pass x and y to the model as arguments.'
        raise InputError(message("the model must have a data plate over the rows of its arguments", got, advice))
    found = set(over_rows.values())
    advice = "Minibatches need one number of rows: keep other arrays out of the model's arguments."
    require(len(found) == 1, "all data plates must have the same size", over_rows, advice)
    return found.pop(), frozenset(over_rows)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no message'])[0]}"

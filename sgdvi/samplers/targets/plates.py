"""A model seen through its rows: plates that take a minibatch, and a trace that finds sites and plates."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from numpyro import handlers
from numpyro.distributions import biject_to
from numpyro.infer import init_to_uniform
from numpyro.primitives import Messenger

from sgdvi._internal.check import InputError, message, require
from sgdvi._internal.tree import Arguments, leading_sizes, to_jax
from sgdvi.problem.base import Problem

PER_ROW = "A minibatch cannot move the values of absent rows: integrate the site out of the model."


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


class Site(NamedTuple):
    """What a trace says of one site.

    Attributes
    ----------
    kind
        "latent", "observed", "deterministic", "param" or "mutable".
    discrete
        Whether its support is.
    plates
        Names of the plates around it.
    shape, free_shape
        Shape of its value, and of the unconstrained value where it is latent.
    """

    kind: str
    discrete: bool
    plates: frozenset[str]
    shape: tuple[int, ...]
    free_shape: tuple[int, ...]


def describe(
    model: Callable[..., Any],
    arguments: Arguments,
    key: jax.Array,
    plates: frozenset[str] = frozenset(),
    batch_size: int = 0,
) -> tuple[dict[str, Site], dict[str, int]]:
    """Trace the model without computing anything; return its sites and the sizes of its plates."""
    sites: dict[str, Site] = {}
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
            sites[name] = Site(kind, discrete, frames, shape, free_shape)

    jax.eval_shape(run)
    return sites, rows.sizes


def data_plates(around: set[str], sizes: Mapping[str, int], arguments: Arguments) -> tuple[int, frozenset[str]]:
    """Return the number of rows and the names of the plates over them, among those around observed sites."""
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


def first_line(error: Exception) -> str:
    """Return the type of an error and the first line of its text."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no message'])[0]}"


def latent_sites(problem: Problem) -> dict[str, Any]:
    """Return the latent sites of the model, name -> law, by one trace of it."""
    trace = handlers.trace(handlers.seed(problem.model, 0)).get_trace(*to_jax(problem.data))
    return {name: site["fn"] for name, site in trace.items() if site["type"] == "sample" and not site["is_observed"]}

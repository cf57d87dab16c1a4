"""A model seen through its rows: plates that take a minibatch, and a trace that finds sites and plates."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from numpyro import handlers
from numpyro.distributions import biject_to
from numpyro.infer import init_to_uniform
from numpyro.primitives import Messenger

from sgdvi._internal.tree import Arguments
from sgdvi.problem.all_rows import trial
from sgdvi.problem.base import Problem


class RowPlates(Messenger):
    """Hand the model a minibatch: plates index the rows they are given, the likelihood counts `weight` times.

    A plate over the rows may take its size from the sliced arguments or keep the full size; either way its indices
    become 0..S-1 and the factor N/S that NumPyro may or may not have applied is replaced by `weight`.
    """

    def __init__(self, fn: Callable[..., Any], plates: frozenset[str], batch_size: int, weight: float) -> None:
        self.plates, self.batch_size, self.weight = plates, batch_size, weight
        self.sizes: dict[str, int] = {}
        self.scans = False
        super().__init__(fn)

    def process_message(self, msg: Any) -> None:
        """Set plate indices and the scale of observed sites."""
        self.scans |= msg["type"] == "control_flow"
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
    event, law
        Shape of one draw of its law, and the name of that, apart from how it was expanded or made an event.
    """

    kind: str
    discrete: bool
    plates: frozenset[str]
    shape: tuple[int, ...]
    free_shape: tuple[int, ...]
    event: tuple[int, ...] = ()
    law: str = ""


class Description(NamedTuple):
    """What a trace says of a model: sites and sizes of plates by name, and whether it scans."""

    sites: dict[str, Site]
    sizes: dict[str, int]
    scans: bool


def describe(
    model: Callable[..., Any],
    arguments: Arguments,
    key: jax.Array,
    plates: frozenset[str] = frozenset(),
    batch_size: int = 0,
) -> Description:
    """Trace the model without computing anything."""
    sites: dict[str, Site] = {}
    rows = RowPlates(handlers.seed(model, key), plates, batch_size, 1.0)

    def run() -> None:
        args, kwargs = arguments
        trial = handlers.substitute(rows, substitute_fn=init_to_uniform())
        for name, site in handlers.trace(trial).get_trace(*args, **kwargs).items():
            kind, discrete, shape = site["type"], False, jnp.shape(site["value"])
            event, law = (), ""
            if kind not in ("sample", "deterministic", "param", "mutable"):
                continue
            free_shape = shape
            if kind == "sample":
                kind = "observed" if site["is_observed"] else "latent"
                inner = _inner(site["fn"])
                event, law = tuple(inner.event_shape), type(inner).__name__
                # the support of numpyro.factor is none
                discrete = bool(getattr(site["fn"].support, "is_discrete", False))
                if kind == "latent" and not discrete:
                    free_shape = biject_to(site["fn"].support).inverse_shape(shape)
            frames = frozenset(frame.name for frame in site.get("cond_indep_stack", ()))
            sites[name] = Site(kind, discrete, frames, shape, free_shape, event, law)

    jax.eval_shape(run)
    return Description(sites, rows.sizes, rows.scans)


def _inner(law: Any) -> Any:
    while hasattr(law, "base_dist") and type(law).__name__ in (
        "Independent",
        "ExpandedDistribution",
        "MaskedDistribution",
    ):
        law = law.base_dist
    return law


def first_line(error: Exception) -> str:
    """Return the type of an error and the first line of its text."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no message'])[0]}"


def advice_on(error: Exception, usual: str) -> str:
    """Return what to do about an error in the model: NumPy arrays that meet traced values, or `usual`."""
    if isinstance(error, jax.errors.TracerArrayConversionError | jax.errors.TracerIntegerConversionError):
        return "Rows are JAX arrays: write jnp.asarray(table)[rows] for a NumPy table, and jnp for np in the model."
    return usual


def latent_sites(problem: Problem) -> dict[str, Any]:
    """Return the latent sites of the model, name -> law, by one trace of it."""
    args, kwargs = problem.arguments
    trace = handlers.trace(trial(problem.model)).get_trace(*args, **kwargs)
    return {name: site["fn"] for name, site in trace.items() if site["type"] == "sample" and not site["is_observed"]}

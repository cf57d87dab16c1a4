"""A NumPyro model as every run sees it: plates hold all their rows, `numpyro.param` sites stand still."""

import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpyro
from numpyro import handlers
from numpyro.infer import init_to_uniform
from numpyro.infer.util import log_density
from numpyro.primitives import Messenger

from sgdvi._internal.check import require
from sgdvi._internal.tree import Arguments

Model = Callable[..., Any]


class AllRows(Messenger):
    """Plates give all their rows, whatever `subsample_size` says: MCMC would keep one random subset for good."""

    def process_message(self, msg: Any) -> None:
        """Set the indices of a plate."""
        if msg["type"] == "plate":
            size = msg["args"][0]
            msg["value"], msg["args"] = jnp.arange(size), (size, None)


def trial(model: Model) -> Model:
    """Return the model with values for its latent sites that need no proper prior: uniform, unconstrained."""
    return handlers.substitute(handlers.seed(AllRows(model), 0), substitute_fn=init_to_uniform())


def with_fixed_params(model: Model, arguments: Arguments) -> Model:
    """Return the model with its `numpyro.param` sites at their initial values; a warning says so.

    The values do not depend on a key of the caller, so SGD and all references hold the same ones.

    Raises
    ------
    InputError
        If the model has mutable state.
    """
    args, kwargs = arguments
    kinds: dict[str, str] = {}

    def run() -> None:
        trace = handlers.trace(trial(model)).get_trace(*args, **kwargs)
        kinds.update({name: site["type"] for name, site in trace.items()})

    jax.eval_shape(run)
    mutable = [name for name, kind in kinds.items() if kind == "mutable"]
    advice = "Give batch normalisation fixed statistics (use_running_average=True), and leave dropout out."
    require(not mutable, "the model must have no mutable state", ", ".join(mutable), advice)
    params = [name for name, kind in kinds.items() if kind == "param"]
    if not params:
        return model
    trace = handlers.trace(trial(model)).get_trace(*args, **kwargs)
    values = {name: trace[name]["value"] for name in params}
    still = [name for name in params if _counts(model, arguments, values, name)]
    if still:
        warnings.warn(
            f"The numpyro.param sites {', '.join(still)} stand still at their initial values in every run; give them a "
            "prior to sample them, with sgdvi.sample_params, numpyro.sample or random_flax_module and its like.",
            UserWarning,
            stacklevel=2,
        )
    # hidden from what is outside: stochastic variational inference would optimise them
    return handlers.block(handlers.substitute(model, values), hide=params)


def _counts(model: Model, arguments: Arguments, values: dict[str, Any], name: str) -> bool:
    """Whether a parameter has a say: the density is NaN where it is; NumPyro's random modules replace theirs."""
    lost = jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.nan), values[name])
    with numpyro.validation_enabled(is_validate=False):  # which would refuse NaN
        density, _ = log_density(trial(handlers.substitute(model, values | {name: lost})), *arguments, {})
    return bool(jnp.isnan(density))


def full_model(model: Model, arguments: Arguments) -> Model:
    """Return the model as SGD sees it over all steps: see `AllRows` and `with_fixed_params`."""
    return AllRows(with_fixed_params(model, arguments))

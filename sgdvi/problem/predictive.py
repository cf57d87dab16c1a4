"""What a NumPyro model says of new data at one draw: predictions on a test set as a functional."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpyro.distributions as dist
from numpyro import handlers

from sgdvi._internal.check import InputError, message, require
from sgdvi._internal.tree import label, to_arguments
from sgdvi.draws.functionals import PerDraw, Sites
from sgdvi.problem.all_rows import full_model, trial

_CLASSES = (dist.CategoricalProbs, dist.CategoricalLogits)  # what dist.Categorical makes


def predictive_mean(model: Callable[..., Any], site: str, *args: Any, **kwargs: Any) -> PerDraw:
    """Make a functional of what a NumPyro model expects at new inputs: the mean of a site's law at each draw.

    `sample` computes it on the way, so that ``keep=()`` need not store parameters; `compare` and `Problem` take it too.
    The model may be written in any way, with ``random_flax_module`` and its like for example.

    Parameters
    ----------
    model
        The NumPyro model that is sampled.
    site
        Name of the observed site whose mean is wanted, or of a deterministic one whose value is. Of a categorical law
        it is the probabilities of the classes, with an axis of its own.
    args, kwargs
        Arguments of the model: the test set in place of the data, without the observations.

    Returns
    -------
    PerDraw
        Give it as ``functionals={"name": ...}``.

    Raises
    ------
    InputError
        If the model does not run on these arguments, or has no such site.

    Examples
    --------
    >>> import numpy as np, numpyro, numpyro.distributions as dist, sgdvi
    >>> def model(x, y=None):
    ...     slope = numpyro.sample("slope", dist.Normal(0.0, 1.0))
    ...     with numpyro.plate("data", len(x)):
    ...         numpyro.sample("y", dist.Normal(slope * x, 1.0), obs=y)
    >>> sgdvi.predictive_mean(model, "y", np.array([1.0, 2.0]))({"slope": 3.0}).tolist()
    [3.0, 6.0]
    """
    require(callable(model), "model must be a NumPyro model", type(model).__name__)
    given, named = to_arguments(args)[0], to_arguments(kwargs)[1]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # sampling says it: parameters that stand still
            full = full_model(model, (given, named))
        names = _names(full, given, named)
    except InputError:
        raise
    except Exception as error:
        rule, advice = "the model must run on the new data", "Give its arguments with the columns of the data."
        text = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
        raise InputError(message(rule, text, advice)) from error
    rule = "site must be an observed or a deterministic site of the model"
    require(site in names, rule, repr(site), f"Its sites: {', '.join(names)}.")

    def mean(values: Mapping[str, Any]) -> jax.Array:
        spelt = {name: name if name in values else label(name) for name in names if name != site}
        own = {name: values[key] for name, key in spelt.items() if key in values}
        trace = handlers.trace(handlers.substitute(handlers.seed(full, 0), own)).get_trace(*given, **named)
        before = list(trace)[: list(trace).index(site)]  # it cannot depend on others
        missing = [name for name in before if _is_drawn(trace[name]) and name not in own]
        rule = "a draw must have a value of every latent site"
        require(not missing, rule, f"none of {', '.join(missing)}", "Keep all sites when you sample.")
        found = trace[site]
        if found["type"] == "deterministic":
            return found["value"]
        return found["fn"].probs if isinstance(found["fn"], _CLASSES) else found["fn"].mean

    return PerDraw(mean, Sites)


def _names(model: Callable[..., Any], args: Any, kwargs: Any) -> list[str]:
    names: list[str] = []

    def run() -> None:
        trace = handlers.trace(trial(model)).get_trace(*args, **kwargs)
        names.extend(name for name, one in trace.items() if one["type"] in ("sample", "deterministic"))

    jax.eval_shape(run)
    return names


def _is_drawn(site: Any) -> bool:
    return site["type"] == "sample" and not site["is_observed"]

"""The `numpyro.param` sites of a model as latent sites: weights of a network that the model holds without a prior."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from numpyro import handlers
from numpyro.distributions import constraints

from sgdvi._internal.arguments import checked
from sgdvi._internal.check import InputError, message, require
from sgdvi.problem.all_rows import trial

# NumPyro's modules put all weights of a network into one site of this name, and its random modules sample name/leaf
_OF_MODULE = "$params"


@checked
def sample_params(
    model: Callable[..., Any], prior: dist.Distribution | Mapping[str, dist.Distribution]
) -> Callable[..., Any]:
    """Give the `numpyro.param` sites of a model a prior: SGD moves them then, and NUTS and variational inference too.

    Without it they stand still at their initial values in every run, and a warning says so.

    Parameters
    ----------
    model
        NumPyro model. Its parameters may be arrays or, as those of ``flax_module``, ``nnx_module`` and ``eqx_module``,
        pytrees; the leaves of ``net$params`` become the sites that the random modules have, ``net/Dense_0.kernel``.
    prior
        Law of a single entry, for all of them; or name of a site, of a module (``"net"``) or of a leaf -> law. What it
        does not name stands still, so that the last layer alone can be sampled. A flat prior on a parameter is
        ``dist.ImproperUniform(dist.constraints.real, (), ())``.

    Returns
    -------
    Callable
        A NumPyro model of the same arguments.

    Raises
    ------
    InputError
        If the prior is none or that of a vector, or when the model is run: if it has no such site, a name is unknown,
        or the prior does not have the support of the parameter's constraint.

    Examples
    --------
    >>> import numpyro, numpyro.distributions as dist, sgdvi
    >>> def model(x, y):
    ...     slope = numpyro.param("slope", 0.0)
    ...     with numpyro.plate("data", len(x)):
    ...         numpyro.sample("y", dist.Normal(slope * x, 1.0), obs=y)
    >>> sampler = sgdvi.SGD(sgdvi.sample_params(model, dist.Normal(0.0, 1.0)), learning_rate=0.01)
    """
    laws = {"": prior} if isinstance(prior, dist.Distribution) else dict(prior)
    for name, law in laws.items():
        event = law.batch_shape + law.event_shape
        rule = "the prior of a parameter must be the law of one entry" + (f", of {name!r} too" if name else "")
        require(event == (), rule, f"one of shape {event}", "It is expanded to the shape of each array.")
    require(laws, "the prior must name at least one parameter", "none", "Give dist.Normal(0.0, 1.0).")

    def sampled(*args: Any, **kwargs: Any) -> Any:
        values = _sampled_values(_params(model, args, kwargs), laws)
        return handlers.block(handlers.substitute(model, values), hide=list(values))(*args, **kwargs)

    return sampled


def _params(model: Callable[..., Any], args: Any, kwargs: Any) -> dict[str, tuple[Any, Any]]:
    """Return name -> initial value and constraint of the parameters, the same ones whatever the seed of the caller."""
    with handlers.block():
        trace = handlers.trace(trial(model)).get_trace(*args, **kwargs)
    real = constraints.real
    return {
        name: (site["value"], site["kwargs"].get("constraint", real))
        for name, site in trace.items()
        if site["type"] == "param"
    }


def _sampled_values(params: Mapping[str, tuple[Any, Any]], laws: Mapping[str, dist.Distribution]) -> dict[str, Any]:
    """Sample the leaves that have a law; return all parameters with such a leaf."""
    require(params, "the model must have numpyro.param sites to sample", "none", "Sample the model as it is.")
    used, values = set(), {}
    for site, (value, constraint) in params.items():
        paths, structure = jax.tree_util.tree_flatten_with_path(value)
        leaves, moved = [], False
        for path, leaf in paths:
            name = _leaf_name(site, path)
            key = next((one for one in (name, site, site.removesuffix(_OF_MODULE), "") if one in laws), None)
            if key is not None:
                used.add(key)
                moved = True
                leaf = numpyro.sample(name, _expanded(laws[key], constraint, jnp.shape(leaf), name))
            leaves.append(leaf)
        if moved:
            values[site] = jax.tree.unflatten(structure, leaves)
    unknown = sorted(set(laws) - used)
    if unknown:
        names = [
            _leaf_name(site, path)
            for site, (value, _) in params.items()
            for path, _ in jax.tree_util.tree_flatten_with_path(value)[0]
        ]
        raise InputError(message("the prior must name parameters of the model", unknown, f"Its: {', '.join(names)}."))
    return values


def _leaf_name(site: str, path: Any) -> str:
    """Return the name that NumPyro's random modules give a leaf."""
    attributes = any(isinstance(part, jax.tree_util.GetAttrKey) for part in path)  # of Equinox: layers[0].weight
    inner = jax.tree_util.keystr(path)[1:] if attributes else jax.tree_util.keystr(path, simple=True, separator=".")
    base = site.removesuffix(_OF_MODULE)
    return f"{base}/{inner}" if inner else base


def _expanded(law: dist.Distribution, constraint: Any, shape: tuple[int, ...], name: str) -> dist.Distribution:
    fits = constraint is constraints.real or law.support == constraint
    rule, advice = f"the prior of {name!r} must have the support of the parameter", "dist.HalfNormal(1.0) is positive."
    require(fits, rule, f"{law.support} for {constraint}", advice)
    return law.expand(shape).to_event(len(shape)) if shape else law

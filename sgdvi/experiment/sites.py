"""What the model of a problem says of its latent sites."""

from typing import Any

from numpyro import handlers

from sgdvi._tree import to_jax
from sgdvi.problem import Problem


def latent_sites(problem: Problem) -> dict[str, Any]:
    """Return the latent sites of the model, name -> law, by one trace of it."""
    trace = handlers.trace(handlers.seed(problem.model, 0)).get_trace(*to_jax(problem.data))
    return {name: site["fn"] for name, site in trace.items() if site["type"] == "sample" and not site["is_observed"]}

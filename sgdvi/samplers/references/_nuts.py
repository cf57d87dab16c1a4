"""The posterior by Hamiltonian Monte Carlo: NumPyro's NUTS on the same model and data."""

import time
from typing import TYPE_CHECKING

import jax
from numpyro.infer import MCMC, NUTS

from sgdvi._internal.check import require, whole
from sgdvi.draws.tree import NUTS_FIELDS, from_numpyro
from sgdvi.problem.all_rows import full_model
from sgdvi.problem.base import Problem, require_posterior

if TYPE_CHECKING:
    from sgdvi.draws.tree import DataTree

# Above NumPyro's 0.8: the posterior of a product u w is a curved ridge, on which longer steps diverge.
TARGET_ACCEPTANCE = 0.95


def nuts(
    problem: Problem,
    key: jax.Array,
    num_warmup: int = 1000,
    num_samples: int = 2000,
    num_chains: int = 4,
    target_acceptance: float = TARGET_ACCEPTANCE,
) -> "DataTree":
    """Draw from the posterior of a problem with NUTS.

    Parameters
    ----------
    problem
        Model and data.
    key
        JAX key: the same key gives the same draws.
    num_warmup, num_samples
        Steps of adaptation, and draws kept, per chain.
    num_chains
        Chains, run side by side on one device.
    target_acceptance
        Acceptance that the step size is adapted to, between 0 and 1; higher means shorter steps.

    Returns
    -------
    DataTree
        Kind ``"nuts"``, with energy, divergences and tree depth in ``sample_stats`` and the settings as JSON in the
        attribute ``config_json``. Draws have the caller's float type.

    Raises
    ------
    InputError
        If the posterior is known to be improper, a count is not a whole number above zero, or the acceptance is not
        between 0 and 1.
    """
    require_posterior(problem)
    settings = {
        "num_warmup": whole("num_warmup", num_warmup, least=1),
        "num_samples": whole("num_samples", num_samples, least=4),
        "num_chains": whole("num_chains", num_chains, least=1),
    }
    rule = "target_acceptance must be a number between 0 and 1"
    require(0 < target_acceptance < 1, rule, target_acceptance)
    args, kwargs = problem.arguments
    kernel = NUTS(full_model(problem.model, (args, kwargs)), target_accept_prob=target_acceptance)
    started = time.perf_counter()
    mcmc = MCMC(kernel, **settings, chain_method="vectorized", progress_bar=False)
    mcmc.run(key, *args, extra_fields=NUTS_FIELDS, **kwargs)
    config = {**settings, "target_acceptance": target_acceptance, "seconds": time.perf_counter() - started}
    return from_numpyro(mcmc, kind="nuts", dims=problem.dims, config=config)

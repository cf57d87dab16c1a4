"""SGD at the settings of a plan, plain or with something around every step."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import numpyro.distributions as dist

from sgdvi._internal.batches import Batching
from sgdvi._internal.check import InputError, message, require
from sgdvi.draws.tree import config, make_tree
from sgdvi.experiment.plan import Plan
from sgdvi.problem.base import Problem
from sgdvi.quotient import model_symmetries, quotient_model
from sgdvi.remedies import restore_signs
from sgdvi.samplers import SGD, GaugeNoise, sample
from sgdvi.samplers.quadratic import LocalQuadratic, draw_of
from sgdvi.samplers.recipes import GaussianLaw
from sgdvi.samplers.references import nuts
from sgdvi.samplers.targets.plates import latent_sites
from sgdvi.symmetry import Symmetry
from sgdvi.symmetry.orbits import resample_orbits


def plain(problem: Problem, plan: Plan) -> SGD:
    """Return SGD at the settings of the plan, whose chains start in the law that is foreseen of it."""
    sgd = SGD(problem.model, learning_rate=plan.learning_rate, batch_size=plan.batch_size, batching=plan.batching)
    near = None if plan.forecast is None else plan.forecast.near
    if near is not None:
        law = _law(near, plan)
        sgd.begin = lambda key: draw_of(near, law, key)
    return sgd


def descend(
    problem: Problem,
    plan: Plan,
    key: Any,
    *,
    around: Callable[[SGD], Any] = lambda sgd: sgd,
    fewer: int = 1,
    progress: bool = False,
) -> Any:
    """Return draws of SGD at the settings of the plan.

    Parameters
    ----------
    problem, plan, key
        What is run, how, and with which JAX key.
    around
        Makes another sampler of plain SGD.
    fewer
        Divides the steps, of warmup and between kept draws too: as many draws of a sampler whose steps cost more.
    progress
        Whether to show a progress bar.
    """
    return sample(
        around(plain(problem, plan)),
        problem.data,
        key=key,
        num_steps=max(plan.num_steps // fewer, 1),
        num_warmup=plan.num_warmup // fewer,
        num_chains=plan.num_chains,
        thinning=max(plan.thinning // fewer, 1),
        progress=progress,
        dims=dict(problem.dims),
    )


def _law(near: LocalQuadratic, plan: Plan) -> GaussianLaw:
    """Return the law that plain SGD has near the mode; the mode itself where it has none there."""
    independent = plan.batching in (Batching.REPLACEMENT, Batching.WITHOUT_REPLACEMENT)
    try:
        given = {"batch_size": plan.batch_size, "learning_rate": plan.learning_rate, "batching": plan.batching}
        recipe = near.recipe("plain", **given) if independent else None
        return near.law(recipe) if recipe is not None else replace(near.laplace, root=0 * near.laplace.root)
    except InputError:
        return replace(near.laplace, root=0 * near.laplace.root)


QUOTIENT, GAUGE = "NUTS on the quotient", "gauge noise"
# NUTS on the quotient: few draws, as it mixes well there and every gradient is a quadrature, and longer steps than on
# the ridge of u w, as there is none; shorter ones would all be spent at v = 0, where the density has a peak.
_WARMUP, _DRAWS, _ACCEPTANCE = 300, 500, 0.8
# A step with a move along every orbit costs as much as some ten without; a draw is kept as often.
_FEWER = 10


def find_orbits(problem: Problem, key: Any) -> tuple[Symmetry, ...]:
    """Return the rescalings of the likelihood of a problem.

    Raises
    ------
    InputError
        If it has none.
    """
    rescalings = [one for one in model_symmetries(problem.model, problem.data, key=key) if one.kind == "rescaling"]
    require(rescalings, "the model must have a rescaling symmetry", "none", "It has no orbits to move along.")
    return tuple(rescalings)


def on_quotient(problem: Problem, symmetries: tuple[Symmetry, ...], key: Any, most: int = _DRAWS) -> Any:
    """Return draws by NUTS on the quotient, at most `most` per chain, orbits refilled by the prior's law there.

    Raises
    ------
    InputError
        If a symmetry has no quotient that can be sampled, or the priors are not normal about 0 with one sd.
    """
    sites = latent_sites(problem)
    sds = set(_prior_sds(sites, symmetries).values())
    rule = "the priors of what the symmetries move must have one sd, or their orbits cannot be refilled"
    require(len(sds) == 1, rule, ", ".join(f"{sd:g}" for sd in sorted(sds)))
    model = quotient_model(problem.model, symmetries=symmetries)
    keys = jax.random.split(key, 3)
    counts: dict[str, Any] = {"num_warmup": min(_WARMUP, most // 2), "num_samples": min(_DRAWS, most)}
    tree = nuts(replace(problem, model=model), keys[0], target_acceptance=_ACCEPTANCE, **counts)
    draws = {site: np.asarray(tree["posterior"][site].values, np.float64) for site in sites}
    moved = {label: draws[label] for label in symmetries[0].loss.labels}
    draws |= resample_orbits(symmetries, moved, sds.pop(), key=keys[1])
    if problem.exact is not None:
        draws = restore_signs(draws, problem.exact.sites, keys[2])
    statistics = {str(name): values.values for name, values in tree["sample_stats"].data_vars.items()}
    return make_tree(draws, kind="nuts", dims=problem.dims, sample_stats=statistics, attrs={"config": config(tree)})


def with_noise(problem: Problem, symmetries: tuple[Symmetry, ...], plan: Plan, key: Any) -> Any:
    """Return draws of SGD at the settings of the plan with noise along the orbits after every step.

    Raises
    ------
    InputError
        If the priors of what the symmetries move are not normal about 0.
    """
    sds = _prior_sds(latent_sites(problem), symmetries)
    return descend(problem, plan, key, around=lambda sgd: GaugeNoise(sgd, symmetries, sds), fewer=_FEWER)


def _prior_sds(sites: Mapping[str, Any], symmetries: tuple[Symmetry, ...]) -> Mapping[str, float]:
    """Site that the symmetries move -> sd of its normal prior."""
    sds = {}
    for label in {group.label for symmetry in symmetries for group in symmetry.groups}:
        law = sites[label]
        while isinstance(law, dist.Independent | dist.ExpandedDistribution):
            law = law.base_dist
        rule = f"the prior of {label!r} must be N(0, sd^2) with one sd, or the law on its orbits is not known"
        if not isinstance(law, dist.Normal):
            raise InputError(message(rule, type(law).__name__))
        sd = np.unique(np.asarray(law.scale, np.float64))
        require(sd.size == 1 and bool(np.all(np.asarray(law.loc) == 0)), rule, f"N({law.loc}, {law.scale}^2)")
        sds[label] = float(sd[0])
    return sds

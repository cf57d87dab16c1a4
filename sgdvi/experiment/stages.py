"""The runs of an experiment, one after the other: each a name and a function that returns a run."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import jax

from sgdvi._internal.batches import Batching
from sgdvi._internal.check import InputError, message
from sgdvi.diagnostics import charges
from sgdvi.diagnostics.findings import Finding
from sgdvi.experiment.descent import GAUGE, QUOTIENT, descend, find_orbits, on_quotient, with_noise
from sgdvi.experiment.flavours import flavour_stages
from sgdvi.experiment.near_mode import AVERAGES, SHIFTED, averages, shifted_laplace
from sgdvi.experiment.plan import Plan
from sgdvi.laws.prior import known
from sgdvi.noise_balance import balance
from sgdvi.problem.base import Problem, require_posterior
from sgdvi.samplers.references import line_posterior, nuts, pathfinder, variational
from sgdvi.samplers.references.joint import Joint

# Those that run where none are named, and all that can be named.
REFERENCES = ("NUTS", "mean-field VI", "full-rank VI")
ALL_REFERENCES = (*REFERENCES, "low-rank VI", "Laplace", "IAF VI", "BNAF VI", "Pathfinder")
_FAMILIES = {
    "mean-field VI": "mean-field",
    "full-rank VI": "full-rank",
    "low-rank VI": "low-rank",
    "Laplace": "laplace",
    "IAF VI": "iaf",
    "BNAF VI": "bnaf",
}
_FITTED = {
    "Laplace": "a Gaussian at the mode of the posterior",
    "IAF VI": "a flow fitted to the posterior",
    "BNAF VI": "a flow fitted to the posterior",
}
# Fixed numbers, so that a key stays the same whichever runs are asked for.
_STREAMS = {
    "SGD": 1,
    "NUTS": 2,
    "mean-field VI": 3,
    "full-rank VI": 4,
    "checks": 5,
    "low-rank VI": 6,
    "Laplace": 7,
    "IAF VI": 8,
    "BNAF VI": 9,
    "Pathfinder": 10,
    QUOTIENT: 11,
    GAUGE: 12,
    "symmetries": 13,
    "balance": 14,
    "flavours": 16,
    "rows": 15,
    "remedies": 17,
    SHIFTED: 18,
    AVERAGES: 19,
}

# Flavours that are measured as remedies.
MEASURED = ("mandt", "completed", "sgld")

Todo = tuple[str, str, Callable[[], Any]]


def stages(
    problem: Problem,
    plan: Plan,
    references: Sequence[str],
    key: Any,
    progress: bool,
    say: Callable[[str], None] | None = None,
    flavours: Sequence[str] | None = None,
    explained: str = "",
) -> Iterator[Todo]:
    """Yield (name, what is being done, function that does it); `say` gets what a run says of itself."""
    flavours = ("plain",) if flavours is None else flavours
    if "plain" in flavours:
        text = f"not run: {explained}" if explained else _describe(plan)
        yield "SGD", text, _plain(problem, plan, stream(key, "SGD"), progress, explained)
    yield from flavour_stages(problem, plan, flavours, stream(key, "flavours"), progress)
    if problem.exact is not None:
        network = problem.exact
        temperature = plan.temperature
        if temperature is not None:
            yield "exact law", "what SGD ends in", lambda: network.law(temperature)
        if known(network.depth + 1, network.width):
            yield "exact posterior", "of v, in closed form", lambda: line_posterior(network)
    joint = cache(lambda: Joint(problem))  # its search for the mode is made once
    if "NUTS" in references:
        counts: dict[str, Any] = {"num_warmup": plan.nuts_draws // 2, "num_samples": plan.nuts_draws}
        counts |= {"progress": progress, "say": say}
        text = "the posterior by Hamiltonian Monte Carlo"
        yield "NUTS", text, lambda: nuts(problem, key=stream(key, "NUTS"), **counts)
    for name in references:
        if name in _FAMILIES:
            text = _FITTED.get(name, "a Gaussian fitted to the posterior")
            yield name, text, _variational(problem, name, stream(key, name), joint, progress)
    if "Pathfinder" in references:
        text = "a Gaussian along the way to the mode"
        yield "Pathfinder", text, lambda: pathfinder(problem, key=stream(key, "Pathfinder"))


def _plain(problem: Problem, plan: Plan, key: Any, progress: bool, explained: str) -> Callable[[], Any]:
    def run() -> Any:
        if explained:
            raise Explained(explained)
        return descend(problem, plan, key, progress=progress)

    return run


class Explained(InputError):
    """Why plain SGD is not run: its forecast says enough."""


def remedy_stages(problem: Problem, plan: Plan, flavours: Sequence[str], key: Any, progress: bool) -> Iterator[Todo]:
    """Yield the runs that are made for the remedies alone, `flavours` having been run.

    Without a rescaling symmetry those on its orbits say so.
    """
    near = None if plan.forecast is None else plan.forecast.near
    if near is not None:
        more = [flavour for flavour in MEASURED if flavour not in flavours]
        yield from flavour_stages(problem, plan, more, stream(key, "remedies"), progress)
        text = "the Gaussian at the mode, about the mean that its skewness gives"
        yield SHIFTED, text, lambda: shifted_laplace(problem, near, stream(key, SHIFTED))
        text = "SGD with a matrix, averaged over epochs"
        yield AVERAGES, text, lambda: averages(problem, near, plan, stream(key, AVERAGES), progress)

    @cache
    def orbits() -> Any:
        return find_orbits(problem, stream(key, "symmetries"))

    text = "the posterior on the quotient by the symmetries, orbits refilled"
    yield QUOTIENT, text, lambda: on_quotient(problem, orbits(), stream(key, QUOTIENT), plan.nuts_draws)
    if math.isfinite(plan.learning_rate):
        text = "SGD with noise along the orbits of the symmetries"
        yield GAUGE, text, lambda: with_noise(problem, orbits(), plan, stream(key, GAUGE))


def named_reference(name: str) -> str:
    """Return the name of a reference however it is spelt: "full-rank", "full rank vi" and "Full-Rank VI" are one.

    Raises
    ------
    InputError
        If there is none of this name.
    """
    by_spelling = {_spelling(one): one for one in ALL_REFERENCES}
    if _spelling(name) not in by_spelling:
        raise InputError(message("a reference is one of " + ", ".join(ALL_REFERENCES), repr(name)))
    return by_spelling[_spelling(name)]


def _spelling(name: str) -> str:
    return name.lower().replace("-", " ").replace("_", " ").strip().removesuffix(" vi").replace(" ", "")


def stream(key: Any, name: str) -> Any:
    """Return the key of one part of the experiment."""
    return jax.random.fold_in(key, _STREAMS[name])


def _variational(
    problem: Problem, name: str, key: Any, joint: Callable[[], Joint], progress: bool
) -> Callable[[], Any]:
    def fit() -> Any:
        require_posterior(problem)
        return variational(problem, key=key, family=_FAMILIES[name], joint=joint(), progress=progress)

    return fit


def _describe(plan: Plan) -> str:
    steps = f"{plan.num_warmup:,} + {plan.num_steps:,} steps" if plan.num_warmup else f"{plan.num_steps:,} steps"
    text = f"{plan.num_chains} chains, {steps}, learning rate {plan.learning_rate:.3g}, batch {plan.batch_size}"
    text += "" if plan.batching is Batching.REPLACEMENT else f" ({plan.batching})"
    if plan.temperature is None:
        return text
    critical = plan.critical_temperature
    share = f" = {plan.temperature / critical:.3g} Tc" if critical and math.isfinite(critical) else ""
    phase = f", phase {plan.phase}" if plan.phase else ""
    return f"{text}, T = {plan.temperature:.3g}{share}{phase}"


# Points of each chain; a pass over the data each.
_POINTS = 24
# Beyond this many parameters times rows the passes cost more than the run.
_MOST_NUMBERS = 20_000_000


def findings_of_balance(problem: Problem, draws: Any, key: Any) -> Sequence[Finding]:
    """Return what the law of balance says of a run of SGD: symmetries, drift, noise balance and norm ratios.

    Parameters
    ----------
    problem
        What was run.
    draws
        The draws of SGD.
    key
        JAX key of the search for symmetries.
    """
    group = draws["posterior"]
    numbers = sum(group[name][0, 0].size for name in group.data_vars) * problem.num_data
    if numbers > _MOST_NUMBERS:
        reason = "The model is large: run `sgdvi balance` on it."
        return [charges.not_measured("SGD", reason)]
    try:
        return balance(problem, trajectory=draws, key=key, points=_POINTS).findings
    except InputError as error:
        return [charges.not_measured("SGD", f"The symmetries are not known: {error}")]

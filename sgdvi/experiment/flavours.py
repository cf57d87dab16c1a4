"""The flavours of SGD in an experiment: which are run, with what, and what the verdict says of those that pass."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import jax

from sgdvi._internal.check import InputError, message
from sgdvi._internal.text import listed, number
from sgdvi.comparison import Comparison
from sgdvi.diagnostics.findings import Status
from sgdvi.experiment.as_foreseen import answers_as_foreseen
from sgdvi.experiment.forecast_result import MOST_STEPS, Forecast
from sgdvi.experiment.plan import KEPT_DRAWS, NUM_STEPS, Plan
from sgdvi.problem.base import Problem
from sgdvi.report.context import RECOMMENDED
from sgdvi.report.context import RUNS as RUNS
from sgdvi.samplers import SGLD, CompletedSGD, MandtSGD, Sampler, ScaledSGD, WhitenedSGD, sample
from sgdvi.samplers.recipes import FLAVOURS

_CLASSES = {"scaled": ScaledSGD, "whitened": WhitenedSGD, "mandt": MandtSGD, "completed": CompletedSGD}
# What is judged of a run that is mentioned for comparison.
_PASSING, _MIXED = ("distance.w1", "distance.ks"), ("mixing.rhat", "mixing.ess")
# Of the steps that make 100 autocorrelation times: R-hat of 8 chains is then below 1.01.
_LONGER, _LONGEST = 3, 200_000


def named_flavours(names: Sequence[str]) -> tuple[str, ...]:
    """Return the flavours of these names, in the order of the ladder.

    Raises
    ------
    InputError
        For another name.
    """
    asked = [name.strip().lower() for name in names]
    for name in asked:
        if name not in FLAVOURS:
            raise InputError(message("an algorithm is one of " + ", ".join(FLAVOURS), repr(name)))
    return tuple(name for name in FLAVOURS if name in asked)


def default_flavours(forecast: Forecast | None) -> tuple[str, ...]:
    """Return what runs where nothing was asked for: plain SGD, and completed SGD where there is a mode."""
    return ("plain", "completed") if forecast is not None and forecast.near is not None else ("plain",)


def run_of(flavour: str) -> str:
    """Return the name of the run of a flavour."""
    return "SGD" if flavour == "plain" else RUNS[flavour]


def why_not_plain(plan: Plan) -> str:
    """Say why plain SGD is not run; empty where it is."""
    forecast = plan.forecast
    if forecast is None or plan.as_asked:
        return ""
    if forecast.mode.unbounded:
        along = f" along {listed(forecast.mode.sites)}" if forecast.mode.sites else ""
        return f"plain SGD has no law here: the joint density has no mode, it rises without bound{along}"
    if not forecast.flavours or forecast["plain"].runs:
        return ""
    plain, slow = forecast["plain"], listed(forecast.slowest)
    needs = f"plain SGD needs {number(plain.steps, 2)} steps per chain, more than {number(MOST_STEPS)}"
    law = f"its law would be {number(plain.largest_w1, 2)} sd from the posterior's (W1)"
    return f"{needs}: its slowest direction is {slow}; {law}"


def what_to_do(forecast: Forecast) -> str:
    """Say what gives plain SGD a law, or makes it quick enough to be run."""
    anyway = "--learning-rate runs plain SGD all the same"
    if not forecast.mode.exists:
        forms = "Write the hierarchy in its non-centred form, or integrate the latent out (sgdvi.integrate_rows)"
        return f"{forms}; NUTS and variational inference need no mode. {anyway}."
    names, condition = forecast.scaling
    do = f"Centre and standardise {listed(names)} (condition {number(condition, 2)})" if names else "Reparametrise"
    return f"{do}, or take completed SGD; --learning-rate or --steps runs plain SGD all the same."


def flavour_stages(problem: Problem, plan: Plan, flavours: Sequence[str], key: Any, progress: bool) -> Iterator[Any]:
    """Yield (name, what is being done, function that does it) for all flavours but plain SGD."""
    for place, flavour in enumerate(flavours):
        if flavour != "plain":
            run_key = jax.random.fold_in(key, place)
            text = "SGD with a matrix from the curvature at the mode, started in its law"
            yield RUNS[flavour], text, _action(problem, plan, flavour, run_key, progress)


def _action(problem: Problem, plan: Plan, flavour: str, key: Any, progress: bool) -> Any:
    def run() -> Any:
        sampler: Sampler
        near = None if plan.forecast is None else plan.forecast.near
        if flavour == "sgld":
            if plan.forecast is None or near is None:
                rule = "preconditioned SGLD takes its rate from the forecast"
                raise InputError(message(rule, "no mode", "" if plan.forecast is None else plan.forecast.mode.reason))
            recipe = plan.forecast["sgld"]
            sampler = SGLD(problem.model, recipe.learning_rate, recipe.batch_size, preconditioner="curvature")
        else:
            sampler = _CLASSES[flavour](problem.model, near=near)
        wanted = plan.forecast[flavour].steps if near is not None and plan.forecast is not None else plan.num_steps
        # what plain SGD needs for its slowest direction is no measure of a flavour with a matrix
        least = plan.num_steps if plan.rules["steps"] == "as given" else min(plan.num_steps, NUM_STEPS)
        steps = int(max(least, min(_LONGER * wanted, _LONGEST)))
        return sample(
            sampler, problem.data, key=key, num_steps=steps, num_chains=plan.num_chains,
            thinning=max(1, steps // KEPT_DRAWS), progress=progress, dims=dict(problem.dims),
        )  # fmt: skip

    return run


def name_those_that_pass(comparison: Comparison, why_not: str, forecast: Forecast | None) -> Comparison:
    """Return the comparison whose verdict also says why plain SGD was not run, and which flavours are the posterior."""
    ran = [name for name in RUNS.values() if name in comparison.runs]
    passing = {}
    for name in ran:
        findings = {f.check: f for f in comparison.findings if f.run == name}
        w1 = findings.get("distance.w1")
        close = all(check in findings and findings[check].status is Status.PASS for check in _PASSING)
        mixed = all(check in findings and findings[check].status is not Status.FAIL for check in _MIXED)
        if close and mixed and w1 is not None and w1.value is not None:
            passing[name] = f"{name} (W1 = {number(w1.value, 2)} sd)"
    verdict = comparison.verdict
    sentence, status = verdict.sentence, verdict.status
    if why_not:
        sentence, status = f"No: {why_not}.", Status.FAIL
    elif not passing:
        return comparison
    if passing:
        sentence += f" Within every limit on all functionals: {listed([*passing.values()])}."
    reasons, changes = verdict.reasons, verdict.changes
    if why_not and forecast is not None:
        reasons, changes = (verdict.sentence, *reasons), (what_to_do(forecast),)
        # the answers were about the run that was judged, and the sentence is about plain SGD now
        answers, uses = answers_as_foreseen(why_not, forecast)
        verdict = replace(verdict, answers=answers, uses=uses)
    if passing and status is Status.FAIL and not any(text.startswith(RECOMMENDED) for text in changes):
        # of several the one that needs the least: no covariance of gradients that has an inverse
        best = RUNS["completed"] if RUNS["completed"] in passing else next(iter(passing))
        changes = (f"{RECOMMENDED}{best}, which is within every limit.", *changes)
    changed = replace(verdict, sentence=sentence, status=status, reasons=reasons, changes=changes)
    return replace(comparison, verdict=changed)

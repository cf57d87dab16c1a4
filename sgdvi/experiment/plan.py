"""The settings of an experiment: what the user gave, and a rule with words for everything else."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from sgdvi._internal.batches import NO_TEMPERATURE, Batching
from sgdvi._internal.check import InputError, message, non_negative, positive, require, whole
from sgdvi.experiment.curvature import Curvature, curvature
from sgdvi.experiment.forecast_result import Flavour, Forecast
from sgdvi.experiment.foresee import forecast
from sgdvi.laws import phase
from sgdvi.laws.multiples import parse_temperature as parse_temperature
from sgdvi.problem.base import Problem
from sgdvi.problem.loss import count_rows
from sgdvi.problem.network import LinearNetwork
from sgdvi.samplers import SGD, sample
from sgdvi.samplers.mode import LARGEST
from sgdvi.samplers.targets.make import make_target
from sgdvi.samplers.warmup import suggest_warmup
from sgdvi.variational.objective import matching_temperature as matching_temperature

NUM_CHAINS = 8
NUM_STEPS = 20_000
# A step of a linear network takes next to nothing, and near Tc a chain needs thousands of them for one effective draw.
NUM_STEPS_LINEAR = 200_000
BATCH_SIZE = 16
# Draws that are kept per chain: more of them are correlated and make the files large.
KEPT_DRAWS = 2_000
# Above this share of Tc the law differs visibly from a posterior in shape, so defaults stay below it.
MOST_OF_TC = 0.2
# Default step sizes keep 2 eta (typical x^2) below this; the gap to the flow's law is about a tenth of it.
LARGEST_STEP = 0.25
MOST_WARMUP = 1_000_000
NUTS_DRAWS = 2_000
# Learning rate times the largest curvature: steps overshoot from 1 on and diverge from 2 on.
FASTEST = 1.0
# Plain SGD near a checked mode takes the steps of 100 autocorrelation times, up to so many: a quarter of them at least.
_MOST_OF_NEEDED = 250_000
# Directions flatter than this share of the largest curvature, such as orbits of a symmetry, are not waited for.
FLATTEST = 1e-3


@dataclass(frozen=True)
class Plan:
    """Everything that a run of SGD needs.

    Attributes
    ----------
    learning_rate, batch_size, batching
        Of SGD on the negative log joint divided by the number of rows; how the rows of a minibatch are drawn. The rate
        is nan where there is no joint mode and none was given: plain SGD is not run.
    num_chains, num_steps, num_warmup, thinning, seed
        Chains, steps per chain after warmup, warmup steps, steps per kept draw, seed of all runs.
    nuts_draws
        Draws of NUTS per chain, after half as many steps of warmup.
    temperature, critical_temperature, phase
        Of the exact law; None where there is none, and for shuffled epochs.
    rules
        Setting -> the rule by which it was chosen.
    forecast
        What is foreseen of SGD; None for models with an exact law or without a posterior, and for large ones.
    as_asked
        Whether plain SGD runs whatever is foreseen of it, as its rate or its steps were given.
    """

    learning_rate: float
    batch_size: int
    batching: Batching
    num_chains: int
    num_steps: int
    num_warmup: int
    thinning: int
    seed: int
    nuts_draws: int
    temperature: float | None
    critical_temperature: float | None
    phase: str | None
    rules: dict[str, str]
    forecast: Forecast | None = None
    as_asked: bool = False


def make_plan(
    problem: Problem,
    *,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    batching: str = Batching.REPLACEMENT,
    temperature: float | str | None = None,
    num_chains: int | None = None,
    num_steps: int | None = None,
    num_warmup: int | None = None,
    seed: int = 0,
    nuts_draws: int | None = None,
) -> Plan:
    """Choose every setting that was not given.

    Raises
    ------
    InputError
        For settings out of range, for a temperature together with a learning rate, for a temperature where the
        problem has no exact law or minibatches have none, and for no learning rate where no rule gives one.
    """
    rules: dict[str, str] = {}
    way = Batching.of(batching)
    if way in (Batching.EPOCHS, Batching.FULL):
        why = NO_TEMPERATURE if way is Batching.EPOCHS else "The gradient on all rows has no noise."
        require(temperature is None, f"batching={way.value!r} has no temperature", temperature, why)
        advice = f"Give a learning rate: the default makes SGD as wide as the posterior by its temperature. {why}"
        require(learning_rate is not None, f"batching={way.value!r} needs a learning rate", "none", advice)
    chains = _given_or("chains", num_chains, NUM_CHAINS, rules)
    steps = _given_or("steps", num_steps, NUM_STEPS if problem.exact is None else NUM_STEPS_LINEAR, rules)
    if batch_size is not None:
        batch_size = whole("batch_size", batch_size, least=1)
    if learning_rate is not None:
        learning_rate = positive("learning_rate", learning_rate)
        advice = "Give one of them: the temperature is kappa * learning_rate / batch_size."
        require(temperature is None, "learning_rate and temperature exclude each other", "both", advice)
        rules["learning rate"] = "as given"
    as_asked = learning_rate is not None or num_steps is not None
    foreseen: Forecast | None = None
    actual: float | None = None
    critical: float | None = None
    label: str | None = None
    if problem.exact is not None:
        rate, size, warmup = _linear(problem.exact, learning_rate, batch_size, way, temperature, rules)
        critical = problem.exact.critical_temperature
        share = way.noise_share(problem.exact.num_data, size)
        if share:
            actual = problem.exact.flow_learning_rate(rate) * share
            label = _phase(problem.exact, actual)
    else:
        advice = "Give a learning rate instead."
        require(temperature is None, f"{problem.name!r} has no exact law, hence no temperature", temperature, advice)
        foreseen = None if problem.no_posterior else forecast_of(problem, seed)
        if foreseen is not None and foreseen.near is not None:
            rate, size, warmup = _near_mode(foreseen, learning_rate, batch_size, way, rules)
        elif foreseen is not None and foreseen.mode.unbounded and not as_asked:
            rate, warmup, size = math.nan, 0, batch_size or min(BATCH_SIZE, foreseen.num_data)
            rules["learning rate"] = "none follows from a rule: there is no joint mode"
            rules["batch size"] = "as given" if batch_size else f"{BATCH_SIZE}, or all rows where there are fewer"
            rules["warmup"] = "plain SGD is not run"
        else:
            choose = _of_loss if problem.no_posterior else _general
            rate, size, warmup = choose(problem, learning_rate, batch_size, way, seed, rules)
    if num_steps is None and learning_rate is None and foreseen is not None and foreseen.flavours:
        steps = _enough_steps(foreseen["plain"], steps, rules)
    if num_warmup is not None:
        warmup, rules["warmup"] = whole("num_warmup", num_warmup), "as given"
    return Plan(
        learning_rate=rate,
        batch_size=size,
        batching=way,
        num_chains=chains,
        num_steps=steps,
        num_warmup=min(warmup, MOST_WARMUP),
        thinning=_thinning(steps, way, size, problem, foreseen),
        seed=whole("seed", seed),
        nuts_draws=NUTS_DRAWS if nuts_draws is None else whole("nuts_draws", nuts_draws, least=4),
        temperature=actual,
        critical_temperature=critical,
        phase=label,
        rules=rules,
        forecast=foreseen,
        as_asked=as_asked,
    )


def _thinning(steps: int, batching: Batching, batch_size: int, problem: Problem, foreseen: Forecast | None) -> int:
    thinning = max(1, steps // KEPT_DRAWS)
    if batching is Batching.EPOCHS:
        known = problem.exact or foreseen
        rows = known.num_data if known else count_rows(problem.data)
        # draws stand at every place of an epoch in turn: at its ends alone they would spread less than the iterates
        while math.gcd(thinning, rows // batch_size) > 1:
            thinning -= 1
    return thinning


def rate_of(plan: Plan) -> float:
    """Return the learning rate of a plan.

    Raises
    ------
    InputError
        Where none was given and none follows from a rule, as there is no joint mode.
    """
    advice = "Give one." if plan.forecast is None else f"Give one: {plan.forecast.mode.reason}"
    require(math.isfinite(plan.learning_rate), "a learning rate must be given", "none", advice)
    return plan.learning_rate


def _linear(
    network: LinearNetwork,
    learning_rate: float | None,
    batch_size: int | None,
    batching: Batching,
    temperature: float | str | None,
    rules: dict[str, str],
) -> tuple[float, int, int]:
    target = math.nan
    if learning_rate is None:
        if temperature is not None:
            target = parse_temperature(temperature, network.critical_temperature)
            rules["learning rate"] = f"from the temperature asked for, {temperature}"
        else:
            target, rules["learning rate"] = _default_temperature(network)
    size = batch_size or _default_batch(network, target)
    rules["batch size"] = "as given" if batch_size else "largest power of 2 up to 16 at which steps stay small"
    size = _all_if_full(size, network.num_data, batching, rules)
    replace = batching is Batching.REPLACEMENT
    rate = network.learning_rate(target, size, replace) if learning_rate is None else learning_rate
    if learning_rate is None and temperature is None:
        rate = float(f"{rate:.2g}")  # a rate that a person can type again
    warmup = _linear_warmup(network, rate, size)
    rules["warmup"] = "from the balance time and the fit time"
    if batching in (Batching.EPOCHS, Batching.FULL):
        rules["warmup"] += ", as if minibatches were independent"
    return rate, size, warmup


def _all_if_full(size: int, num_data: int, batching: Batching, rules: dict[str, str]) -> int:
    if batching is not Batching.FULL:
        return size
    rules["batch size"] = "all rows"
    return num_data


def _default_temperature(network: LinearNetwork) -> tuple[float, str]:
    matched, critical = matching_temperature(network), network.critical_temperature
    if math.isfinite(matched) and not 0 < MOST_OF_TC * critical < matched:
        return matched, "SGD as wide as the posterior: its best chance to be one"
    if math.isfinite(critical) and critical > 0:
        return MOST_OF_TC * critical, f"{MOST_OF_TC:g} Tc, as a wider law would be near collapse"
    return 0.01 / float(network.moments.beta1), "0.01/E[x²]: no posterior width and no Tc to go by"


def _default_batch(network: LinearNetwork, temperature: float) -> int:
    if math.isnan(temperature):
        return min(BATCH_SIZE, network.num_data)
    moments = network.moments
    typical = float(moments.beta1) + 2 * math.sqrt(float(moments.alpha1))
    largest = LARGEST_STEP / (2 * temperature * typical)
    size = 2 ** math.floor(math.log2(max(1.0, min(BATCH_SIZE, largest))))
    return min(size, network.num_data)


def _linear_warmup(network: LinearNetwork, learning_rate: float, batch_size: int) -> int:
    return suggest_warmup(
        network.moments,
        learning_rate=network.flow_learning_rate(learning_rate),
        temperature=network.temperature(learning_rate, batch_size),
        depth=network.depth,
        width=network.width,
        weight_decay=network.weight_decay,
    )


def _phase(network: LinearNetwork, temperature: float) -> str | None:
    if network.depth != 1:
        return None
    return str(phase(network.moments, temperature, depth=network.depth, weight_decay=network.weight_decay))


def _general(
    problem: Problem,
    learning_rate: float | None,
    batch_size: int | None,
    batching: Batching,
    seed: int,
    rules: dict[str, str],
) -> tuple[float, int, int]:
    local: Curvature = curvature(problem, seed)
    size = batch_size or min(BATCH_SIZE, local.num_data)
    rules["batch size"] = "as given" if batch_size else f"{BATCH_SIZE}, or all rows where there are fewer"
    size = _all_if_full(size, local.num_data, batching, rules)
    if learning_rate is None:
        share = batching.noise_share(local.num_data, size)
        if not share:
            advice = "Give a learning rate, or a smaller batch."
            raise InputError(message("a default learning rate needs noise", "batches of all rows", advice))
        # Mandt, Hoffman and Blei 2017, eq. 14: the constant rate whose law is nearest to the posterior.
        learning_rate = 2 * local.dimension / (local.num_data * local.noise_trace * share)
        rules["learning rate"] = "2 S dim / (N tr C) at the mode: nearest to the posterior (Mandt et al. 2017)"
        if learning_rate * local.largest_curvature > FASTEST:
            fastest = FASTEST / local.largest_curvature
            learning_rate = stable_rate(problem, fastest, size, batching, jax.random.key(seed))
            rules["learning rate"] = f"{FASTEST:g} over the largest curvature at the mode: faster steps are not stable"
            if learning_rate < fastest:
                rules["learning rate"] += f"; 1/{fastest / learning_rate:g} of that, as short runs at more overflow"
        learning_rate = float(f"{learning_rate:.2g}")
    slowest = learning_rate * local.smallest_curvature
    rules["warmup"] = "ten times the slowest relaxation at the mode"
    if local.smallest_curvature < FLATTEST * local.largest_curvature:
        slowest = learning_rate * FLATTEST * local.largest_curvature
        rules["warmup"] = "for the directions with a thousandth of the largest curvature; flatter ones take longer"
    return learning_rate, size, math.ceil(10 / slowest) if slowest > 0 and np.isfinite(slowest) else NUM_STEPS


def forecast_of(problem: Problem, seed: int) -> Forecast | None:
    """Return the forecast; None for models that are too large for one."""
    if make_target(problem.model, problem.arguments, jax.random.key(0)).dimension > LARGEST:
        return None
    return forecast(problem, key=jax.random.key(seed))


def _near_mode(
    foreseen: Forecast, learning_rate: float | None, batch_size: int | None, batching: Batching, rules: dict[str, str]
) -> tuple[float, int, int]:
    """Choose by the quadratic at the checked mode, in whose law chains start."""
    near = foreseen.near
    assert near is not None
    size = batch_size or min(BATCH_SIZE, near.num_data)
    rules["batch size"] = "as given" if batch_size else f"{BATCH_SIZE}, or all rows where there are fewer"
    size = _all_if_full(size, near.num_data, batching, rules)
    if learning_rate is None:
        learning_rate = near.recipe("plain", batch_size=size, batching=batching).learning_rate
        rules["learning rate"] = (
            "2 S dim / (N tr C) at the mode, nearest to the posterior (Mandt et al. 2017), or half the stability limit"
        )
    relaxation = 1 / (learning_rate * foreseen.curvature[0])
    if foreseen.reliable:
        rules["warmup"] = "none: chains start in the law that is foreseen"
        return learning_rate, size, 0
    rules["warmup"] = "ten times the slowest relaxation at the mode"
    return learning_rate, size, math.ceil(min(10 * relaxation, MOST_WARMUP))


def _enough_steps(plain: Flavour, steps: int, rules: dict[str, str]) -> int:
    """Return the steps after which the chains say something of a law whose slowest direction needs many of them."""
    if not (plain.runs and plain.steps > steps):
        return steps
    rules["steps"] = "100 autocorrelation times of the slowest direction"
    if plain.steps > _MOST_OF_NEEDED:
        rules["steps"] = f"{100 * _MOST_OF_NEEDED / plain.steps:.0f} autocorrelation times of the slowest direction"
    return math.ceil(min(plain.steps, _MOST_OF_NEEDED))


def _of_loss(
    problem: Problem,
    learning_rate: float | None,
    batch_size: int | None,
    batching: Batching,
    seed: int,
    rules: dict[str, str],
) -> tuple[float, int, int]:
    advice = "Give a learning rate: there is no posterior that SGD could be as wide as."
    rate = positive("learning_rate", learning_rate, advice)
    rules["batch size"] = "as given" if batch_size else f"{BATCH_SIZE}, or all rows where there are fewer"
    rules["warmup"] = "default"
    rows = count_rows(problem.data)
    return rate, _all_if_full(batch_size or min(BATCH_SIZE, rows), rows, batching, rules), NUM_STEPS


def _given_or(name: str, value: int | None, default: int, rules: dict[str, str]) -> int:
    rules[name] = "default" if value is None else "as given"
    return default if value is None else whole(name, value, least=1)


def with_weight_decay(problem: Problem, weight_decay: float | None) -> Problem:
    """Return the problem with the prior that this weight decay gamma amounts to: sd = sqrt(sigma^2/(N gamma)).

    Raises
    ------
    InputError
        If the decay is negative or not finite, or if the problem is not a linear network.
    """
    if weight_decay is None:
        return problem
    gamma = non_negative("weight_decay", weight_decay)
    if problem.exact is None:
        rule = f"weight_decay is for linear networks; {problem.name!r} is not one"
        raise InputError(message(rule, weight_decay, "Change the prior in the model instead."))
    network = problem.exact
    sd = math.inf if gamma == 0 else network.noise_sd / math.sqrt(network.num_data * gamma)
    return problem.with_options(prior_sd=sd)


_CHAINS, _STEPS = 32, 512
_MOST_HALVINGS = 12


def stable_rate(problem: Problem, rate: float, batch_size: int, batching: Batching, key: Any) -> float:
    """Return a rate at which no chain of a short run from the problem's own starts overflows.

    The given one if it is; otherwise half of the first of its halves that is, as what one short run in two loses, a
    long one loses too.

    Parameters
    ----------
    problem
        What is run.
    rate
        The rate to begin with.
    batch_size, batching
        Of SGD.
    key
        JAX key.
    """
    for halvings in range(_MOST_HALVINGS):
        if _stays_finite(problem, rate / 2**halvings, batch_size, batching, key):
            return rate / 2 ** (halvings + 1) if halvings else rate
    return rate / 2**_MOST_HALVINGS


def _stays_finite(problem: Problem, rate: float, batch_size: int, batching: Batching, key: Any) -> bool:
    sampler = SGD(problem.model, learning_rate=rate, batch_size=batch_size, batching=batching)
    tree = sample(
        sampler, problem.data, key=key, num_steps=_STEPS, num_chains=_CHAINS, thinning=_STEPS, progress=False
    )  # fmt: skip
    return all(bool(np.isfinite(values).all()) for values in jax.tree.leaves(dict(tree["posterior"].data_vars)))

"""Temperature against the critical one, and collapse judged by falling log|v|."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sgdvi._internal.text import count, number
from sgdvi.diagnostics.case import Case
from sgdvi.diagnostics.declare import Outcome, Skip, check
from sgdvi.diagnostics.facts import Facts
from sgdvi.diagnostics.findings import Details, Status
from sgdvi.diagnostics.thresholds import ZIYIN, Thresholds


@check(
    "phase.temperature",
    "Temperature T / Tc",
    f"{ZIYIN}, phases I to III of depth 1; exact threshold of the discrete iteration near 0.",
    question="arrive",
    cites=("ziyin2025noise",),
    kinds=("judged",),
    of_chains=False,
    always=True,
)
def temperature(case: Case) -> Outcome:
    """The temperature is below the critical one of the flow, and the steps below their exact threshold."""
    facts, name = case.facts, case.facts.functional
    if facts.temperature is None:
        raise Skip(facts.no_temperature or facts.missing or "The temperature of this run is not known.")
    heat = number(facts.temperature)
    details: Details = {"temperature": facts.temperature}
    if math.isinf(facts.critical):
        meaning = f"T = {heat}. This model has no critical temperature: a law exists at every T."
        return Outcome(Status.NOT_APPLICABLE, meaning, None, 1.0, "", details, name)
    ratio = "above every critical temperature" if math.isinf(facts.ratio) else f"T/Tc = {number(facts.ratio)}"
    at = (
        f"T = {heat}, critical Tc = {number(facts.critical)} ({ratio}{f', phase {facts.phase}' if facts.phase else ''})"
    )
    if facts.flow_collapses:
        status, meaning = Status.FAIL, f"{at}: the only stationary law is the point mass at {name} = 0."
        advice = "Lower the learning rate or raise the batch size until T is below Tc."
    elif facts.ratio >= 1 / 3:
        status, meaning = Status.WARN, f"{at}: a law exists, but its density is infinite at {name} = 0. No posterior "
        meaning += "looks like this there."
        advice = "Below Tc/3 the density vanishes at 0: lower the learning rate or raise the batch size."
    else:
        status, meaning, advice = Status.PASS, f"{at}: far enough below collapse.", ""
    if facts.steps_collapse and not facts.flow_collapses:
        status = Status.FAIL
        advice = "Lower the learning rate: with steps of this size SGD collapses although the flow would not."
    ends = facts.thresholds
    details |= {
        "critical_temperature": facts.critical,
        "phase": facts.phase,
        "learning_rate": None if facts.known is None else facts.known.learning_rate,
        "discrete_threshold_low": ends[0][0] if ends else math.nan,
        "discrete_threshold_high": ends[-1][1] if ends else math.nan,
        "discrete_threshold_intervals": len(ends),
        "log_rate_per_step": facts.growth,
    }
    return Outcome(status, meaning + _discrete(facts), facts.ratio, 1.0, advice, details, name)


def _discrete(facts: Facts) -> str:
    """Say what the exact threshold of discrete SGD is."""
    if facts.steps_collapse is None or facts.known is None or facts.known.learning_rate is None:
        return ""
    ends, learning_rate = facts.thresholds, facts.known.learning_rate
    if not ends:
        return " Discrete SGD (exact threshold) collapses at no learning rate."
    between = f"between {number(ends[0][0])} and {number(ends[0][1])}"
    if len(ends) > 1:
        further = count(len(ends) - 1, "further interval")
        between += f", and in {further} up to {number(ends[-1][1])}"
    here = "collapses" if facts.steps_collapse else "does not collapse"
    return (
        f" Discrete SGD (exact threshold) collapses at learning rates {between}; this one is "
        f"{number(learning_rate)}, so it {here}."
    )


def log_magnitude(values: np.ndarray, factors: Sequence[np.ndarray] | None = None) -> np.ndarray:
    """Return log|v| (chain, draw), from the factors where given, so that it survives underflow of the product."""
    with np.errstate(divide="ignore"):
        if factors is None:
            return np.log(np.abs(np.asarray(values, dtype=np.float64)))
        logs = sum(np.log(np.abs(np.asarray(factor, dtype=np.float64))) for factor in factors)
    logs = np.asarray(logs)
    return logs if logs.ndim == 2 else np.logaddexp.reduce(logs.reshape(*logs.shape[:2], -1), axis=-1)


@dataclass(frozen=True)
class Fall:
    """How log|v| moved: per chain slopes (per step), falls over the whole run, and chains that reached exactly 0."""

    slopes: np.ndarray
    falls: np.ndarray
    vanished: int

    @property
    def mean(self) -> float:
        """Mean fall of log|v| over the run; inf where all chains reached 0."""
        return float(self.falls.mean()) if self.falls.size else math.inf

    @property
    def errors(self) -> float:
        """Mean slope in standard errors between chains, positive when falling; nan with fewer than 3 chains."""
        if self.slopes.size < 3:
            return math.nan
        error = self.slopes.std(ddof=1) / math.sqrt(self.slopes.size)
        return float(-self.slopes.mean() / error) if error > 0 else math.copysign(math.inf, -self.slopes.mean())


def measure_fall(logs: np.ndarray, thinning: int = 1) -> Fall:
    """Regress log|v| (chain, draw) on the step, chain by chain, over the finite part of each chain."""
    slopes, falls, vanished = [], [], 0
    for chain in logs:
        zeros = np.flatnonzero(np.isneginf(chain))
        vanished += int(zeros.size > 0)
        part = chain[: zeros[0]] if zeros.size else chain
        part = part[np.isfinite(part)]
        if part.size < 3:
            continue
        steps = np.arange(part.size) * float(thinning)
        slope = float(np.polyfit(steps - steps.mean(), part, 1)[0])
        slopes.append(slope)
        falls.append(-slope * steps[-1])
    return Fall(np.array(slopes), np.array(falls), vanished)


@check(
    "phase.collapse",
    lambda case: f"Collapse to {case.facts.functional or 'v'} = 0",
    f"{ZIYIN}; collapse is judged by the trend of log|v| and the exact threshold, never by the size of v.",
    question="arrive",
    thresholds=("collapse_fall", "collapse_errors"),
    kinds=("judged",),
    first=True,
)
def collapse(case: Case) -> Outcome:
    """The chains do not collapse to 0: log|v| does not fall steadily, or the exact threshold says that it need not."""
    factors = case.factors
    if factors is None or len(factors) < 2:
        raise Skip(case.facts.missing or "Only products of factors can collapse to 0.")
    name = case.facts.functional
    logs = log_magnitude(case.values(name), factors)
    return fallen(measure_fall(logs, case.draws.thinning), len(logs), case.facts, case.limits)


def fallen(fall: Fall, chains: int, facts: Facts, limits: Thresholds) -> Outcome:
    """Judge how log|v| moved in so many chains."""
    name, all_zero = facts.functional or "v", fall.vanished == chains
    falling = all_zero or _steadily(fall, limits)
    collapses = None
    if facts.temperature is not None:
        collapses = facts.flow_collapses if facts.steps_collapse is None else facts.steps_collapse
    rate = float(fall.slopes.mean()) if fall.slopes.size else math.nan
    speed = f"log|{name}| changes by {number(rate)} per step on average over {count(chains, 'chain')}"
    if not math.isnan(facts.growth):
        speed += f" (exact rate near 0: {number(facts.growth)})"
    zero = f"; {count(fall.vanished, 'chain')} reached exactly 0" if fall.vanished else ""
    if not fall.slopes.size and not all_zero:
        status, meaning, advice = Status.UNKNOWN, "Too few finite draws to see whether the chains fall to 0.", ""
    else:
        status, meaning, advice = _judged(name, falling, collapses, all_zero, speed, zero)
    details: Details = {
        "slope_per_step": rate,
        "standard_errors": fall.errors,
        "chains_at_zero": fall.vanished,
        "expected": collapses,
        "falling": falling,
    }
    return Outcome(status, meaning, fall.mean, limits.collapse_fall, advice, details, name)


def _steadily(fall: Fall, limits: Thresholds) -> bool:
    # Of fewer than 3 chains no spread is known: then the fall alone has to be larger than any stationary swing.
    if fall.slopes.size < 3:
        return fall.mean > 10 * limits.collapse_fall
    return fall.mean > limits.collapse_fall and fall.errors > limits.collapse_errors


def _judged(
    name: str, falling: bool, collapses: bool | None, all_zero: bool, speed: str, zero: str
) -> tuple[Status, str, str]:
    """Return status, meaning and advice: what the chains show beside what the exact threshold says (None: unknown)."""
    lower = "Lower the learning rate or raise the batch size."
    if falling and (collapses or (all_zero and collapses is None)):
        advice = f"{lower} What looks like a narrow posterior at 0 is not one."
        return Status.FAIL, f"The chains collapse to {name} = 0: {speed}{zero}.", advice
    if falling and collapses is None:
        meaning = (
            f"The chains fall towards {name} = 0: {speed}{zero}. No threshold is known for this model to confirm a "
        )
        return Status.WARN, f"{meaning}collapse.", f"{lower} What looks like a narrow posterior at 0 is not one."
    if falling:
        meaning = (
            f"The chains still fall ({speed}{zero}), though below the exact threshold a law exists: the run is not "
        )
        advice = "Run longer, with a longer warmup: near the threshold the way down to the law takes very long."
        return Status.WARN, f"{meaning}stationary yet.", advice
    if collapses:
        meaning = f"Above the exact threshold the chains must collapse to {name} = 0 in the end, but this run does not "
        advice = f"These draws are on their way, not draws of a law. {lower}"
        return Status.WARN, f"{meaning}show it yet: {speed}.", advice
    return Status.PASS, f"No collapse: {speed}{zero}, with no steady fall.", ""

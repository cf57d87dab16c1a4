"""Temperature against the critical one, and collapse judged by falling log|v|."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sgdvi._internal.text import count, number
from sgdvi.diagnostics.facts import Facts
from sgdvi.diagnostics.findings import Finding, Status
from sgdvi.diagnostics.thresholds import ZIYIN, Thresholds


def temperature(run: str, facts: Facts, functional: str = "v") -> Finding:
    """Check the temperature against the critical temperature of the flow and the exact discrete threshold."""
    value, advice = facts.ratio, ""
    lowest, highest = facts.thresholds
    if math.isinf(facts.critical):
        return Finding(
            check="phase.temperature",
            run=run,
            functional=functional,
            title="Temperature T / Tc",
            value=None,
            threshold=1.0,
            status=Status.NOT_APPLICABLE,
            meaning=(
                f"T = {number(facts.temperature or math.nan)}. This model has no critical temperature: a law exists at "
                "every T."
            ),
            source=ZIYIN,
            details={"temperature": facts.temperature},
        )
    at = f"T = {number(facts.temperature or math.nan)}, critical Tc = {number(facts.critical)}"
    ratio = "above every critical temperature" if math.isinf(value) else f"T/Tc = {number(value)}"
    phase = f", phase {facts.phase}" if facts.phase else ""
    if facts.flow_collapses:
        status = Status.FAIL
        meaning = f"{at} ({ratio}{phase}): the only stationary law is the point mass at {functional} = 0."
        advice = "Lower the learning rate or raise the batch size until T is below Tc."
    elif value >= 1 / 3:
        status = Status.WARN
        meaning = (
            f"{at} ({ratio}{phase}): a law exists, but its density is infinite at {functional} = 0. No posterior "
            "looks like this there."
        )
        advice = "Below Tc/3 the density vanishes at 0: lower the learning rate or raise the batch size."
    else:
        status = Status.PASS
        meaning = f"{at} ({ratio}{phase}): far enough below collapse."
    meaning += _discrete(facts)
    if facts.steps_collapse and not facts.flow_collapses:
        status, advice = (
            Status.FAIL,
            "Lower the learning rate: with steps of this size SGD collapses although the flow would not.",
        )
    return Finding(
        check="phase.temperature",
        run=run,
        functional=functional,
        title="Temperature T / Tc",
        value=value,
        threshold=1.0,
        status=status,
        meaning=meaning,
        advice=advice,
        source=f"{ZIYIN}, phases I to III of depth 1; exact threshold of the discrete iteration near 0.",
        details={
            "temperature": facts.temperature,
            "critical_temperature": facts.critical,
            "phase": facts.phase,
            "learning_rate": None if facts.known is None else facts.known.learning_rate,
            "discrete_threshold_low": lowest,
            "discrete_threshold_high": highest,
            "log_rate_per_step": facts.growth,
        },
    )


def _discrete(facts: Facts) -> str:
    """Say what the exact threshold of discrete SGD is."""
    if facts.steps_collapse is None or facts.known is None or facts.known.learning_rate is None:
        return ""
    (lowest, highest), learning_rate = facts.thresholds, facts.known.learning_rate
    if math.isnan(lowest):
        return " Discrete SGD (exact threshold) collapses at no learning rate."
    upper = "" if math.isinf(highest) or math.isnan(highest) else f" and {number(highest)}"
    between = f"between {number(lowest)}{upper}" if upper else f"above {number(lowest)}"
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
        spread = self.slopes.std(ddof=1) / math.sqrt(self.slopes.size)
        return float(-self.slopes.mean() / spread) if spread > 0 else math.copysign(math.inf, -self.slopes.mean())


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


def collapse(
    run: str,
    logs: np.ndarray,
    thresholds: Thresholds,
    facts: Facts | None = None,
    thinning: int = 1,
    functional: str = "v",
) -> Finding:
    """Check whether the chains collapse to 0: log|v| falls steadily, and the exact threshold says that it must.

    Parameters
    ----------
    run, functional
        Names.
    logs
        log|v|, shape (chain, draw); minus infinity where v is exactly 0.
    thresholds
        The thresholds.
    facts
        What is known of the temperature; None where nothing is.
    thinning
        Steps of SGD per draw.
    """
    fall = measure_fall(logs, thinning)
    chains = len(logs)
    all_zero = fall.vanished == chains
    # Of fewer than 3 chains no spread is known: then the fall alone has to be larger than any stationary swing.
    steady = (
        fall.errors > thresholds.collapse_errors if fall.slopes.size >= 3 else fall.mean > 10 * thresholds.collapse_fall
    )
    falling = bool(all_zero or (fall.mean > thresholds.collapse_fall and steady))
    expected = None
    if facts is not None:
        expected = facts.flow_collapses if facts.steps_collapse is None else facts.steps_collapse
    rate = float(fall.slopes.mean()) if fall.slopes.size else math.nan
    speed = f"log|{functional}| changes by {number(rate)} per step on average over {count(chains, 'chain')}"
    if facts is not None and not math.isnan(facts.growth):
        speed += f" (exact rate near 0: {number(facts.growth)})"
    zero = f"; {count(fall.vanished, 'chain')} reached exactly 0" if fall.vanished else ""
    advice = ""
    if not fall.slopes.size and not all_zero:
        status, meaning = Status.UNKNOWN, "Too few finite draws to see whether the chains fall to 0."
    elif falling and expected is not False:
        status = Status.FAIL if expected or all_zero else Status.WARN
        meaning = f"The chains collapse to {functional} = 0: {speed}{zero}."
        if status is Status.WARN:
            meaning = (
                f"The chains fall towards {functional} = 0: {speed}{zero}. No threshold is known for this model "
                "to confirm a collapse."
            )
        advice = "Lower the learning rate or raise the batch size. What looks like a narrow posterior at 0 is not one."
    elif falling:
        status = Status.WARN
        meaning = (
            f"The chains still fall ({speed}{zero}), though below the exact threshold a law exists: the run is "
            "not stationary yet."
        )
        advice = "Run longer, with a longer warmup: near the threshold the way down to the law takes very long."
    elif expected:
        status = Status.WARN
        meaning = (
            f"Above the exact threshold the chains must collapse to {functional} = 0 in the end, but this run "
            f"does not show it yet: {speed}."
        )
        advice = "These draws are on their way, not draws of a law. Lower the learning rate or raise the batch size."
    else:
        status, meaning = Status.PASS, f"No collapse: {speed}{zero}, with no steady fall."
    return Finding(
        check="phase.collapse",
        run=run,
        functional=functional,
        title=f"Collapse to {functional} = 0",
        value=fall.mean,
        threshold=thresholds.collapse_fall,
        status=status,
        meaning=meaning,
        advice=advice,
        source=(
            f"{ZIYIN}; collapse is judged by the trend of log|{functional}| and the exact threshold, never by the "
            f"size of {functional}."
        ),
        details={
            "slope_per_step": rate,
            "standard_errors": fall.errors,
            "chains_at_zero": fall.vanished,
            "expected": expected,
            "falling": falling,
        },
    )

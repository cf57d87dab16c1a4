"""Is a run stationary: no trend, no drift of one fresh step on average, and the bias identity of the exact law?"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from sgdvi._internal.text import number
from sgdvi.diagnostics.case import Case
from sgdvi.diagnostics.declare import NO_DRAWS, Outcome, Skip, check, usable
from sgdvi.diagnostics.findings import Status
from sgdvi.diagnostics.thresholds import ZIYIN
from sgdvi.laws import SGDStationary, StationaryLaw

_BATCHES = 32
_FEWEST = 8
_UNTESTABLE = "The identity cannot be tested: too few draws, or all are equal."


@dataclass(frozen=True)
class Mean:
    """A mean over batches of a run, its standard error, and the two-sided p-value of 0."""

    value: float
    error: float
    p_value: float


def batch_means(values: np.ndarray) -> Mean:
    """Test whether `values` (chain, draw) have mean 0, by the means of batches that are long beside the memory.

    Each chain is cut into as many batches as make about 32 in all; their means are taken as independent (Student's t).
    """
    chains, draws = values.shape
    each = max(1, min(_BATCHES // chains, draws))
    length = draws // each
    return _student(values[:, : each * length].reshape(chains * each, length).mean(axis=1))


def _student(means: np.ndarray) -> Mean:
    if means.size < 2:
        return Mean(math.nan, math.nan, math.nan)
    error, value = float(means.std(ddof=1)) / math.sqrt(means.size), float(means.mean())
    if not (math.isfinite(error) and error > 0):
        return Mean(value, error, math.nan)
    return Mean(value, error, float(2 * special.stdtr(means.size - 1, -abs(value) / error)))


@check(
    "stationarity.trend",
    "Trend over the run",
    "Difference of the two halves in normal scores, Student's t over chains (compare Geweke 1992).",
    question="arrive",
    thresholds=("trend_warn", "trend_fail", "null_quantile"),
    kinds=("draws",),
    each=usable,
    gate=True,
)
def trend(case: Case, name: str) -> Outcome:
    """The second half of the chains is where the first was.

    The chains' differences of the two halves, in normal scores, are held against 0: with fewer than four chains
    against the spread of batches within chains. No moments are needed.
    """
    if case.draws.independent:
        raise Skip("The draws are independent: there is no run in them.")
    if name in case.draws.still:
        raise Skip(f"All runs hold {name} at one value.")
    values, limits = case.values(name), case.limits
    chains, draws = values.shape
    half = draws // 2
    if half * chains < 2 * _FEWEST or half < _FEWEST or np.ptp(values) == 0:
        raise Skip(f"Too few draws of {name} to see a trend, or all are equal.", Status.UNKNOWN)
    scores = case.draws.scores[name]
    change = scores[:, draws - half :] - scores[:, :half]
    move = _student(change.mean(axis=1)) if chains >= 4 else batch_means(change)
    value, p_value = move.value, move.p_value
    if math.isnan(p_value):
        meaning = f"A trend of {name} cannot be tested."
        return Outcome(Status.UNKNOWN, meaning, value, limits.trend_warn, details={"p_value": None})
    words = f"from the first to the second half {name} moves by {number(abs(value), 2)} of its spread"
    chance, details = f"p = {number(p_value, 2)}", {"p_value": p_value}
    # the null level is that of all functionals together
    level = (1 - limits.null_quantile) / len(case.draws.points)
    if p_value >= level or abs(value) < limits.trend_warn:
        much = "no more than chance explains" if p_value >= level else "more than chance but too little to matter"
        return Outcome(Status.PASS, f"F{words[1:]}, {much} ({chance}).", value, limits.trend_warn, details=details)
    status = Status.FAIL if abs(value) > limits.trend_fail else Status.WARN
    meaning = f"Not stationary: {words}, {'up' if value > 0 else 'down'} ({chance})."
    advice = "Run a longer warmup: these draws are on their way, not draws of a law."
    return Outcome(status, meaning, value, limits.trend_warn, advice, details)


@dataclass(frozen=True)
class FreshStep:
    """Squared norms of the parameters at draws of a run, and after one more step with a fresh minibatch.

    Attributes
    ----------
    before
        Shape (chain, draw).
    after
        Shape (chain, draw, batch): the same after one step, with independent minibatches.
    """

    before: np.ndarray
    after: np.ndarray


def drift(step: FreshStep, second_moments: bool) -> np.ndarray:
    r"""Return the mean change of :math:`h(|\theta|^2)` over one fresh step, shape (chain, draw).

    h is the identity where E|g|^2 and its variance exist, which gives :math:`2\eta` times
    :math:`(\eta/2)\,|g|^2 - \langle\theta, g\rangle`; else the bounded :math:`h(r) = r/(c + r)`, c the median of r.
    """
    before, after = step.before, step.after
    if not second_moments:
        middle = float(np.median(before))
        with np.errstate(invalid="ignore"):  # 0/0 where most draws have collapsed to 0: NaN, which is no test
            before, after = before / (middle + before), after / (middle + after)
    return after.mean(axis=-1) - before


@check(
    "stationarity.identity",
    "Stationarity: drift of one step",
    "Yaida 2019, ICLR (fluctuation-dissipation relations); tested by the means of 32 batches. It holds for discrete "
    "SGD at any step size, unlike the law of the flow.",
    question="arrive",
    cites=("yaida2019fluctuation",),
    thresholds=("drift_fail", "null_quantile"),
    kinds=("judged",),
)
def identity(case: Case) -> Outcome:
    """One fresh step changes the squared norm by 0 on average: exact at any step size."""
    if case.fresh is None or not case.sgd:
        raise Skip("Needs a fresh step from each draw: give the sampler and its data with samplers=.")
    if not case.draws.keep.any():
        raise Skip(NO_DRAWS)
    step: FreshStep = case.fresh(case)
    # Var(|g|^2) takes the fourth moment of v at depth 0; from depth 1 on it never exists.
    moments = len(case.facts.factors) == 1 and case.facts.stationary_tail > 4
    mean, limits = batch_means(drift(step, moments)), case.limits
    value = mean.value / mean.error if mean.error > 0 else math.nan
    if math.isnan(mean.p_value):
        return Outcome(Status.UNKNOWN, _UNTESTABLE, value, limits.drift_fail, details={"p_value": None})
    test, details = "E<theta, g> = (eta/2) E|g|^2", {"p_value": mean.p_value}
    if not moments:
        test = "the same identity for a bounded function of |theta|^2, as E|g|^2 has no finite variance"
    off = f"{number(abs(value), 2)} standard errors"
    if mean.p_value >= 1 - limits.null_quantile:
        meaning = f"Stationary as far as {test} shows: {off} from it."
        return Outcome(Status.PASS, meaning, value, limits.drift_fail, details=details)
    meaning = f"Not stationary: |theta|^2 still {'grows' if value > 0 else 'shrinks'} ({test} is off by {off})."
    status = Status.FAIL if abs(value) > limits.drift_fail else Status.WARN
    return Outcome(status, meaning, value, limits.drift_fail, "Run a longer warmup.", details)


def bias_terms(v: np.ndarray, law: StationaryLaw | SGDStationary, tail: float) -> np.ndarray:
    r"""Return draws whose mean is 0 under the exact law, in units of v, from draws of v and its tail index.

    With :math:`m = (D-1)/(D+1)`, :math:`n = D + 1` and the bias identity's
    :math:`\varphi = \beta_1 v - \beta_2 + \gamma (d/v)^m + D T g(v) (v/d)^m`, the law has
    :math:`E[w \varphi - n T d^{-m} w' g v^{2D/n}] = 0` for smooth w. w = 1 is the identity itself; a window
    :math:`w = (1 + ((v - c)/s)^2)^{-2}` bounds it where :math:`\varphi` has no variance.
    """
    alpha1, alpha2, alpha3, beta1, beta2 = (
        float(getattr(law.moments, name)) for name in ("alpha1", "alpha2", "alpha3", "beta1", "beta2")
    )
    temperature, decay, sign = (float(np.asarray(leaf)) for leaf in (law.temperature, law.weight_decay, law.sign))
    if law.depth == 0:
        phi = (beta1 + decay / law.width) * v - beta2
        # The drift alone: the noise term of w needs the temperature of d units, T/d.
        heat, power, order, count, x = temperature * law.width, 0.0, 0.0, 1, v
        slope2, slope1 = alpha2, alpha1
    else:
        x = sign * v
        slope2, slope1, beta2 = sign * alpha2, alpha1, sign * beta2
        count, order = law.depth + 1, (law.depth - 1) / (law.depth + 1)
        power, heat = 2 * law.depth / count, temperature
        share = np.maximum(x / law.width, 1e-300)
        phi = beta1 * x - beta2 + decay * share**-order
        phi = phi + law.depth * heat * (slope1 * x**2 - 2 * slope2 * x + alpha3) * share**order
    needed = 2.0 if law.depth == 0 else 2 * (2 + order)
    if tail > needed:
        return phi / beta1
    centre, width = float(np.median(x)), 3 * float(np.subtract(*np.quantile(x, [0.75, 0.25])))
    if width <= 0:
        return np.full(v.shape, math.nan)
    at = (x - centre) / width
    window, falling = (1 + at**2) ** -2, -4 * at / width * (1 + at**2) ** -3
    noise = slope1 * x**2 - 2 * slope2 * x + alpha3
    flow = falling * noise * np.maximum(x, 0.0) ** power if law.depth else falling * noise
    scale = count * heat * (law.width**-order if law.depth else 1.0)
    return (window * phi - scale * flow) / beta1


@check(
    "stationarity.bias",
    "Bias identity of the exact law",
    f"{ZIYIN}; see sgdvi.bias. Bounded by a window where the identity has no finite variance.",
    question="arrive",
    cites=("ziyin2025noise",),
    thresholds=("bias_warn", "null_quantile"),
    kinds=("judged",),
)
def bias(case: Case) -> Outcome:
    """The draws of v keep the bias identity of the exact law of the flow."""
    facts, name, limits = case.facts, case.facts.functional, case.limits
    lawful = facts.temperature is not None and not facts.collapsed and not math.isnan(facts.stationary_tail)
    if not (lawful and case.sgd and case.factors is not None and name in case.draws.points):
        raise Skip(facts.missing or "Needs the exact law of SGD on a linear network, not collapsed.")
    v = case.values(name)
    mean = batch_means(bias_terms(v, facts.stationary_law, facts.stationary_tail))
    value = mean.value / float(np.std(v)) if np.ptp(v) > 0 else math.nan
    details = {"p_value": None if math.isnan(mean.p_value) else mean.p_value}
    if math.isnan(mean.p_value) or math.isnan(value):
        return Outcome(Status.UNKNOWN, _UNTESTABLE, value, limits.bias_warn, "", details, name)
    off = f"{number(abs(value), 2)} sd of {name} (p = {number(mean.p_value, 2)})"
    if mean.p_value >= 1 - limits.null_quantile or abs(value) < limits.bias_warn:
        meaning = f"The draws keep the bias identity of the exact law: off by {off}."
        return Outcome(Status.PASS, meaning, value, limits.bias_warn, "", details, name)
    meaning = f"The draws break the bias identity of the exact law, by {off}: the run is not stationary, or its steps "
    advice = "If the drift of one step passes, the run is stationary and the steps are what differs."
    meaning += "are too large for the flow."
    return Outcome(Status.WARN, meaning, value, limits.bias_warn, advice, details, name)

"""Is a run stationary: no trend, no drift of one fresh step on average, and the bias identity of the exact law?"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from sgdvi._internal.text import number
from sgdvi.diagnostics.facts import Facts
from sgdvi.diagnostics.findings import Finding, Status
from sgdvi.diagnostics.thresholds import ZIYIN, Thresholds
from sgdvi.laws import SGDStationary, StationaryLaw

_BATCHES = 32
_FEWEST = 8


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
    means = values[:, : each * length].reshape(chains * each, length).mean(axis=1)
    if means.size < 2:
        return Mean(math.nan, math.nan, math.nan)
    error = float(means.std(ddof=1)) / math.sqrt(means.size)
    value = float(means.mean())
    if not (math.isfinite(error) and error > 0):
        return Mean(value, error, math.nan)
    return Mean(value, error, float(2 * stats.t.sf(abs(value) / error, means.size - 1)))


def trend(run: str, functional: str, values: np.ndarray, level: float, thresholds: Thresholds) -> Finding:
    """Check that the second half of the chains is where the first was; `values` (chain, draw).

    The chains' differences of the two halves, in normal scores, are held against 0: with fewer than four chains
    against the spread of batches within chains. No moments are needed.
    """
    chains, draws = values.shape
    half, advice, value, p_value = draws // 2, "", None, math.nan
    if half * chains < 2 * _FEWEST or half < _FEWEST or np.ptp(values) == 0:
        status, meaning = Status.UNKNOWN, f"Too few draws of {functional} to see a trend, or all are equal."
    else:
        ranks = stats.rankdata(values).reshape(values.shape)
        scores = stats.norm.ppf((ranks - 0.375) / (values.size + 0.25))
        change = scores[:, draws - half :] - scores[:, :half]
        found = Mean(*_over_chains(change.mean(axis=1))) if chains >= 4 else batch_means(change)
        value, p_value = found.value, found.p_value
        words = f"from the first to the second half {functional} moves by {number(abs(value), 2)} of its spread"
        if math.isnan(p_value):
            status, meaning = Status.UNKNOWN, f"A trend of {functional} cannot be tested."
        elif p_value >= level or abs(value) < thresholds.trend_warn:
            status = Status.PASS
            meaning = f"No trend: {words} (p = {number(p_value, 2)})."
        else:
            status = Status.FAIL if abs(value) > thresholds.trend_fail else Status.WARN
            meaning = f"Not stationary: {words}, {'up' if value > 0 else 'down'} (p = {number(p_value, 2)})."
            advice = "Run a longer warmup: these draws are on their way, not draws of a law."
    return Finding(
        check="stationarity.trend",
        run=run,
        functional=functional,
        title="Trend over the run",
        value=value,
        threshold=thresholds.trend_warn,
        status=status,
        meaning=meaning,
        advice=advice,
        source="Difference of the two halves in normal scores, Student's t over chains (compare Geweke 1992).",
        details={"p_value": None if math.isnan(p_value) else p_value},
    )


def _over_chains(means: np.ndarray) -> tuple[float, float, float]:
    error = float(means.std(ddof=1)) / math.sqrt(means.size)
    p_value = float(2 * stats.t.sf(abs(means.mean()) / error, means.size - 1)) if error > 0 else math.nan
    return float(means.mean()), error, p_value


@dataclass(frozen=True)
class FreshStep:
    """Squared norms of the parameters at draws of a run, and after one more step with a fresh minibatch.

    Attributes
    ----------
    before
        Shape (chain, draw).
    after
        Shape (chain, draw, batch): the same after one step, with independent minibatches.
    second_moments
        Whether E|g|^2 and its variance exist, so that the identity itself can be used.
    """

    before: np.ndarray
    after: np.ndarray
    second_moments: bool


def drift(step: FreshStep) -> np.ndarray:
    r"""Return the mean change of :math:`h(|\theta|^2)` over one fresh step, shape (chain, draw).

    h is the identity where moments exist, which gives :math:`2\eta` times
    :math:`(\eta/2)\,|g|^2 - \langle\theta, g\rangle`; else the bounded :math:`h(r) = r/(c + r)`, c the median of r.
    """
    before, after = step.before, step.after
    if not step.second_moments:
        middle = float(np.median(before))
        before, after = before / (middle + before), after / (middle + after)
    return after.mean(axis=-1) - before


def identity(run: str, step: FreshStep | None, missing: str, thresholds: Thresholds) -> Finding:
    """Check that one fresh step changes the squared norm by 0 on average: exact at any step size."""
    value, p_value, advice, meaning = None, math.nan, "", missing
    status = Status.NOT_APPLICABLE
    if step is not None:
        found = batch_means(drift(step))
        p_value = found.p_value
        value = found.value / found.error if found.error > 0 else math.nan
        test = "E<theta, g> = (eta/2) E|g|^2"
        if not step.second_moments:
            test = "the same identity for a bounded function of |theta|^2, as E|g|^2 has no finite variance"
        if math.isnan(p_value):
            status, meaning = Status.UNKNOWN, "The identity cannot be tested: too few draws, or all are equal."
        elif p_value >= 1 - thresholds.null_quantile:
            status = Status.PASS
            meaning = f"Stationary as far as {test} shows: {number(abs(value), 2)} standard errors from it."
        else:
            status = Status.FAIL if abs(value) > thresholds.drift_fail else Status.WARN
            way = "grows" if value > 0 else "shrinks"
            meaning = (
                f"Not stationary: |theta|^2 still {way} ({test} is off by {number(abs(value), 2)} standard errors)."
            )
            advice = "Run a longer warmup."
    return Finding(
        check="stationarity.identity",
        run=run,
        title="Stationarity: drift of one step",
        value=value,
        threshold=thresholds.drift_fail,
        status=status,
        meaning=meaning,
        advice=advice,
        source=(
            "Yaida 2019, ICLR (fluctuation-dissipation relations); tested by the means of 32 batches. It holds for "
            "discrete SGD at any step size, unlike the law of the flow."
        ),
        details={"p_value": None if math.isnan(p_value) else p_value},
    )


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
        spread = np.maximum(x / law.width, 1e-300)
        phi = beta1 * x - beta2 + decay * spread**-order
        phi = phi + law.depth * heat * (slope1 * x**2 - 2 * slope2 * x + alpha3) * spread**order
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


def bias(run: str, functional: str, v: np.ndarray | None, facts: Facts, missing: str, limits: Thresholds) -> Finding:
    """Check the bias identity of the exact law of the flow on draws of v (chain, draw)."""
    value, p_value, advice, meaning, status = None, math.nan, "", missing, Status.NOT_APPLICABLE
    usable = facts.temperature is not None and not facts.collapsed and not math.isnan(facts.stationary_tail)
    if v is not None and usable:
        found = batch_means(bias_terms(v, facts.stationary_law, facts.stationary_tail))
        p_value, value = found.p_value, found.value / float(np.std(v)) if np.ptp(v) > 0 else math.nan
        if math.isnan(p_value) or math.isnan(value):
            status, meaning = Status.UNKNOWN, "The identity cannot be tested: too few draws, or all are equal."
        elif p_value >= 1 - limits.null_quantile or abs(value) < limits.bias_warn:
            status = Status.PASS
            meaning = (
                f"The draws keep the bias identity of the exact law: off by {number(abs(value), 2)} sd of {functional} "
                f"(p = {number(p_value, 2)})."
            )
        else:
            status = Status.WARN
            meaning = (
                f"The draws break the bias identity of the exact law, by {number(abs(value), 2)} sd of {functional} "
                f"(p = {number(p_value, 2)}): the run is not stationary, or its steps are too large for the flow."
            )
            advice = "If the drift of one step passes, the run is stationary and the steps are what differs."
    return Finding(
        check="stationarity.bias",
        run=run,
        functional=functional or None,
        title="Bias identity of the exact law",
        value=value,
        threshold=limits.bias_warn,
        status=status,
        meaning=meaning,
        advice=advice,
        source=f"{ZIYIN}; see sgdvi.bias. Bounded by a window where the identity has no finite variance.",
        details={"p_value": None if math.isnan(p_value) else p_value},
    )

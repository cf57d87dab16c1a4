"""Does a run of SGD with momentum spread as its steps say? Its law near the mode is known at any rate and momentum."""

import math

from sgdvi._internal.text import number
from sgdvi.diagnostics.case import Case
from sgdvi.diagnostics.declare import Outcome, Skip, beyond, check, usable
from sgdvi.diagnostics.findings import Status
from sgdvi.diagnostics.stationarity import batch_means


def _variances(case: Case) -> dict[str, float]:
    if case.near is None:
        raise Skip("Needs what made the run: give the sampler and its data with samplers=.")
    variances: dict[str, float] = case.near(case)
    return variances


def _names(case: Case) -> list[str]:
    known = case.once(_variances)
    return [name for name in usable(case) if name in known]


@check(
    "law.momentum",
    "Variance under momentum",
    "The covariance that SGD with momentum keeps near the mode, exact where gradients are linear in the parameters "
    "(Liu, Ziyin and Ueda 2021; sgdvi.laws.momentum_variance); tested by the means of 32 batches.",
    thresholds=("spread_warn", "spread_fail", "null_quantile"),
    kinds=("momentum",),
    each=_names,
    always=True,
)
def spread(case: Case, name: str) -> Outcome:
    """The variance of a functional is the one that eta, mu and the batch size give it near the mode."""
    want, values, limits = case.once(_variances)[name], case.values(name), case.limits
    squares = (values - values.mean()) ** 2
    mean = batch_means(squares - want)
    ratio = math.sqrt(squares.mean() / want) if want > 0 else math.nan
    if math.isnan(mean.p_value) or math.isnan(ratio):
        return Outcome(Status.UNKNOWN, f"The variance of {name} cannot be tested: too few draws, or all are equal.")
    mu, how = case.draws.settings["momentum"], "Nesterov's momentum" if case.draws.settings["nesterov"] else "momentum"
    words = f"with {how} {number(mu)} {name} has the sd {number(math.sqrt(squares.mean()))}, {number(ratio)} times what"
    words += f" its steps give it near the mode, {number(math.sqrt(want))}"
    chance, details = f"p = {number(mean.p_value, 2)}", {"p_value": mean.p_value, "predicted_sd": math.sqrt(want)}
    value = max(ratio, 1 / ratio) if ratio > 0 else math.inf
    status = beyond(value, limits.spread_warn, limits.spread_fail)
    if mean.p_value >= 1 - limits.null_quantile:
        status, words = Status.PASS, f"{words}: no more than chance explains"
    elif status is Status.PASS:
        words += ": more than chance, but too little to matter"
    advice = "Run a longer warmup. If it stays, the loss is not quadratic over the run: take a smaller rate."
    meaning = f"{words[0].upper()}{words[1:]} ({chance})."
    return Outcome(status, meaning, value, limits.spread_warn, "" if status is Status.PASS else advice, details, name)

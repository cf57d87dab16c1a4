"""Every remedy for one network and temperature: how far from the posterior before and after, and which to take."""

from dataclasses import dataclass

import numpy as np

from sgdvi._internal.check import InputError
from sgdvi._internal.pareto import pareto_shape
from sgdvi._internal.text import number, percent
from sgdvi.diagnostics.importance import efficiency
from sgdvi.diagnostics.thresholds import Thresholds
from sgdvi.laws.line import as_line_law
from sgdvi.problem.network import LinearNetwork
from sgdvi.remedies.between import LEVELS, FromPosterior
from sgdvi.variational.tuning import tune


@dataclass(frozen=True)
class Remedy:
    """One remedy and the distance to the posterior of v that it leaves.

    Attributes
    ----------
    name
        "none", "tune the temperature", "reweight" or "NUTS".
    ks, w1
        Kolmogorov distance, and Wasserstein distance in standard deviations of the posterior, between exact laws.
    helps
        Whether it can be relied on here and brings SGD nearer.
    meaning
        What it does here, in words.
    """

    name: str
    ks: float
    w1: float
    helps: bool
    meaning: str


@dataclass(frozen=True)
class Remedies:
    """The remedies for one network and temperature.

    Attributes
    ----------
    each
        "none" first, then the remedies by what they cost.
    recommended
        The cheapest that brings SGD within the thresholds of `sgdvi.diagnostics.Thresholds` of the posterior of v.
    """

    each: tuple[Remedy, ...]
    recommended: Remedy

    def __str__(self) -> str:
        rows = [f"{'remedy':22}{'KS':>10}{'W1/sd':>10}"]
        rows += [f"{one.name:22}{number(one.ks):>10}{number(one.w1):>10}" for one in self.each]
        return "\n".join([*rows, "", f"Recommended: {self.recommended.name}. {self.recommended.meaning}"])


def remedies(network: LinearNetwork, temperature: float | str) -> Remedies:
    """Say what each remedy makes of SGD at a temperature, by the exact laws on v.

    Parameters
    ----------
    network
        Network with its data and priors: depth 0 or 1 with any width, or deeper with width 1.
    temperature
        Temperature at which SGD runs; also "0.5Tc".

    Raises
    ------
    InputError
        Where the posterior is not known. A temperature without a law is no error: SGD has collapsed, and tuning helps.
    """
    posterior, limits = network.posterior, Thresholds()
    gap = FromPosterior(posterior)
    line, away = gap.line, gap.away

    sign, missed = network.side, network.missed_mass
    try:
        law = as_line_law(network.branch_law(temperature))
        points = law.icdf(LEVELS)
        none = Remedy("none", *away(points), False, f"SGD as it runs, at T = {number(temperature)}.")
    except InputError:
        law = None
        none = Remedy("none", *away(np.zeros_like(LEVELS)), False, "SGD collapses to v = 0 at this temperature.")
    best = tune(network)
    tuned = as_line_law(network.branch_law(best.temperature)).icdf(LEVELS)
    causes = {"missing sign": best.parts.missing_sign, "bias": best.parts.bias, "spread": best.parts.spread}
    causes["tail"] = best.parts.tail
    worst = max(causes, key=lambda name: causes[name])
    text = f"T = {number(best.temperature)} leaves KL = {number(best.kl)} nats, most of it {worst}."
    gaps = away(tuned)
    each = [none, Remedy("tune the temperature", *gaps, gaps[0] < 0.9 * none.ks, text)]
    if law is not None:
        logs = line.log_prob(points) - law.log_prob(points)
        khat, share = pareto_shape(logs), efficiency(logs)
        covered = line.icdf(missed + (1 - missed) * LEVELS if sign > 0 else (1 - missed) * LEVELS)
        text = f"k-hat {number(khat)}, {percent(share)} of the draws count"
        text += f"; {percent(missed)} of the posterior stay missing." if missed > 0 else "."
        each.append(Remedy("reweight", *away(covered), khat < limits.tail_khat and missed < none.ks, text))
    each.append(Remedy("NUTS", 0.0, 0.0, True, "Draws of the posterior itself with both signs, for more gradients."))
    usable = [one for one in each[1:] if one.helps and one.ks < limits.ks_warn and one.w1 < limits.w1_warn]
    good = none if none.ks < limits.ks_warn and none.w1 < limits.w1_warn else None
    return Remedies(tuple(each), good or usable[0])

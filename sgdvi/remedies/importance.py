"""Correct draws of SGD to the posterior of v: importance weights between two known laws."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from sgdvi._internal.check import InputError, message, require, whole
from sgdvi._internal.pareto import smoothed
from sgdvi.problem.network import LinearNetwork


@dataclass(frozen=True, eq=False)
class Reweighted:
    """Draws of v with weights that turn them into draws of the posterior, given the sign that SGD has.

    Attributes
    ----------
    values, weights
        Draws of SGD and their normalised weights, Pareto smoothed, shape (S,).
    khat
        Pareto shape of the raw weights: above min(1 - 1/log10(S), 0.7) do not rely on them.
    effective_draws
        Kish's effective number of draws.
    missed
        Posterior mass on the sign that SGD never has: no weight restores it.
    law
        Which law of SGD the weights use: "flow" or "discrete".
    gap
        Kolmogorov distance between the discrete law and that of the flow; nan where it was not computed.
    """

    values: np.ndarray
    weights: np.ndarray
    khat: float
    effective_draws: float
    missed: float
    law: str
    gap: float

    @property
    def reliable(self) -> bool:
        """Whether k-hat is small enough for this number of draws (Vehtari et al. 2024)."""
        return bool(self.khat < min(1 - 1 / np.log10(len(self.values)), 0.7))

    @property
    def mean(self) -> float:
        """Posterior mean of v given the sign."""
        return float(self.weights @ self.values)

    @property
    def variance(self) -> float:
        """Posterior variance of v given the sign."""
        return float(self.weights @ (self.values - self.mean) ** 2)

    def cdf(self, value: Any) -> np.ndarray:
        """Posterior P(V <= v) given the sign, of the shape of `value`."""
        order = np.argsort(self.values)
        below = np.concatenate([[0.0], np.cumsum(self.weights[order])])
        return below[np.searchsorted(self.values[order], np.asarray(value), side="right")]

    def sample(self, key: jax.Array, num_samples: int) -> np.ndarray:
        """Draws of the posterior given the sign, shape (num_samples,), by resampling with replacement."""
        count = whole("num_samples", num_samples, least=1)
        with jax.enable_x64(True):
            chosen = jax.random.choice(key, len(self.values), (count,), p=self.weights)
        return self.values[np.asarray(chosen)]


def reweight(
    network: LinearNetwork,
    draws: Any,
    temperature: float | str | None = None,
    *,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    replace: bool = True,
) -> Reweighted:
    r"""Give draws of SGD on v the weights :math:`p_{Bayes}(v)/p_{SGD}(v)`.

    Both laws are known on v, so the weights are exact. They are bounded in the tail, where SGD's law is the heavier
    one, and not towards v = 0, where it vanishes like v^e, e = B/(2 alpha3 T) - 3/2 at depth 1: the hotter SGD ran, the
    better they behave. In the space of the factors there are no weights at all.

    Parameters
    ----------
    network
        Network with its data and priors: depth 0 or 1 with any width, or deeper with width 1.
    draws
        Draws of v, any shape; all on the side of v = 0 where SGD ends.
    temperature
        Temperature of SGD: the weights use the law of the flow, exact to first order in the learning rate.
    learning_rate, batch_size, replace
        Instead of the temperature, of the optimizer: at depth 1 the weights use the exact law of the discrete steps,
        and ``gap`` tells what the flow would have missed. At other depths the temperature follows from them.

    Raises
    ------
    InputError
        For draws that are not finite or on the wrong side, and where one of the two laws is not known.
    """
    values = np.asarray(draws, dtype=np.float64).reshape(-1)
    sign = network.side
    require(values.size >= 25 and np.all(np.isfinite(values)), "draws must be at least 25 finite numbers", values.size)
    if network.depth > 0:
        wrong = int(np.sum(sign * values <= 0))
        advice = "Leave out chains that have not reached the stationary law, or that started balanced on that side."
        require(wrong == 0, f"draws of SGD must be on the side of sign {sign}", f"{wrong} that are not", advice)
    missed = network.missed_mass
    log_law, name, gap = _log_law(network, values, temperature, learning_rate, batch_size, replace)
    logs = network.posterior.log_prob(values) - log_law
    rule = "every draw must lie where the law of SGD has a density"
    require(np.all(np.isfinite(logs)), rule, f"{int(np.sum(~np.isfinite(logs)))} draws that do not")
    smooth, khat = smoothed(logs)
    weights = np.exp(smooth - smooth.max())
    weights /= weights.sum()
    return Reweighted(values, weights, float(khat), float(1 / (weights @ weights)), missed, name, gap)


def _log_law(
    network: LinearNetwork,
    values: np.ndarray,
    temperature: float | str | None,
    learning_rate: float | None,
    batch_size: int | None,
    replace: bool,
) -> tuple[np.ndarray, str, float]:
    """Log density of SGD at the draws, the name of the law, and its distance to the flow's."""
    settings = learning_rate is not None and batch_size is not None
    advice = "Give temperature=, or learning_rate= and batch_size=."
    got = f"temperature {temperature}, learning_rate {learning_rate}, batch_size {batch_size}"
    require(settings != (temperature is not None), "the settings of SGD must be given once", got, advice)
    if learning_rate is not None and batch_size is not None:
        temperature = network.temperature(learning_rate, batch_size, replace)
    assert temperature is not None  # one of the two was given
    with jax.enable_x64(True):
        flow = network.branch_law(temperature)
        if network.depth != 1 or learning_rate is None or batch_size is None:
            return np.asarray(flow.log_prob(values)), "flow", float("nan")
        law = network.discrete_law(learning_rate, batch_size, "replacement" if replace else "without-replacement")
        if law.table is None:
            rule = "discrete SGD must have a law at this learning rate"
            raise InputError(message(rule, law.status, "Take a smaller learning rate."))
        return np.asarray(law.log_prob(values)), "discrete", law.distance_to(flow)

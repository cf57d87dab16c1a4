"""A two-layer ReLU network on three features of 442 diabetes patients: one scaling symmetry for every neuron.

Body mass index, blood pressure and the serum measurement s5, standardised, explain the progression of diabetes through
six ReLU neurons with biases and an output bias. All parameters have N(0, 1) priors; the standard deviation of the noise
is fixed at 0.7.

What it teaches. A neuron's incoming weights and bias may be multiplied by a number that its outgoing weight is divided
by. The prior breaks this for the posterior, which spreads along the orbits; the noise of SGD never acts along them, and
pulls every neuron to the point where the noise on both sides is the same. ``sgdvi balance relu`` shows the six charges
on their way. Neurons can be exchanged too, so NUTS sees many equal modes: judge predictions, not parameters.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from sgdvi._internal.check import positive, whole
from sgdvi.models._data import columns, standardised
from sgdvi.problem import Problem

FEATURES = ("bmi", "bp", "s5")
NOISE_SD = 0.7


def problem(width: int = 6, prior_sd: float = 1.0) -> Problem:
    """Make the problem.

    Parameters
    ----------
    width
        Number of neurons.
    prior_sd
        Standard deviation of the normal prior on every parameter.
    """
    width, prior_sd = whole("width", width, least=1), positive("prior_sd", prior_sd)
    data = columns("diabetes.csv")
    x = standardised(np.column_stack([data[name] for name in FEATURES]))

    def relu_network(x: Any, y: Any = None) -> None:
        prior = dist.Normal(0.0, prior_sd)
        weights = numpyro.sample("weights", prior.expand([len(FEATURES), width]).to_event(2))
        biases = numpyro.sample("biases", prior.expand([width]).to_event(1))
        output = numpyro.sample("output", prior.expand([width]).to_event(1))
        offset = numpyro.sample("offset", prior)
        mean = jnp.dot(jax.nn.relu(jnp.dot(x, weights) + biases), output) + offset
        with numpyro.plate("data", len(x)):
            numpyro.sample("y", dist.Normal(mean, NOISE_SD), obs=y)

    def prediction(level: float) -> Any:
        def at(draws: Any) -> Any:
            hidden = level * draws["weights"].sum("feature") + draws["biases"]
            return (np.maximum(hidden, 0.0) * draws["output"]).sum("unit") + draws["offset"]

        return at

    return Problem(
        name="relu",
        model=relu_network,
        data=(x, standardised(data["progression"])),
        functionals={"average patient": prediction(0.0), "one sd above": prediction(1.0)},
        dims={"weights": ["feature", "unit"], "biases": ["unit"], "output": ["unit"]},
        description="Progression of diabetes from three features through a ReLU layer, 442 patients.",
        source=(
            "Efron, Hastie, Johnstone and Tibshirani (2004), Least Angle Regression, Annals of Statistics 32, 407-499; "
            "the source states no licence, see models/data/README.md."
        ),
        options={"width": width, "prior_sd": prior_sd},
        factory=problem,
    )

"""One line on the model: ``sgdvi compare my_model.py`` shows it.

A model of your own for sgdvi. Save this text as a file (``sgdvi models --template > my_model.py``), change it, run

    sgdvi compare my_model.py

The file needs one function, ``problem()``, that returns a ``sgdvi.Problem``. Its arguments, if any, are your options.
"""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

import sgdvi


def problem(prior_sd: float = 1.0) -> sgdvi.Problem:
    """Make the problem: 200 counts that depend on one feature."""
    # Your data. For a CSV file beside this one:
    #   table = np.loadtxt(pathlib.Path(__file__).with_name("my_data.csv"), delimiter=",", skiprows=1)
    rng = np.random.default_rng(1)
    x = rng.standard_normal(200)
    y = rng.poisson(np.exp(0.5 + 0.3 * x))

    # Your NumPyro model. The data come in as arguments, with one plate over their rows: minibatches are drawn from it.
    # Sites with one value per row cannot be sampled by SGD.
    def model(x: np.ndarray, y: np.ndarray | None = None) -> None:
        intercept = numpyro.sample("intercept", dist.Normal(0.0, prior_sd))
        slope = numpyro.sample("slope", dist.Normal(0.0, prior_sd))
        with numpyro.plate("data", len(x)):
            numpyro.sample("y", dist.Poisson(jnp.exp(intercept + slope * x)), obs=y)

    return sgdvi.Problem(
        name="my-model",
        model=model,
        data=(x, y),
        # The quantities on which SGD is compared with the posterior; ds["site"] has dimensions (chain, draw, ...).
        functionals={
            "slope": lambda ds: ds["slope"],
            "rate at x = 0": lambda ds: np.exp(ds["intercept"]),
        },
        description="Counts against one feature.",
        source="Simulated.",
        options={"prior_sd": prior_sd},
        factory=problem,
    )


# For a linear network v x on one feature, v = u w and its like, the exact law of SGD is known. It then takes one line:
#   return sgdvi.linear_problem("my-model", x, y, depth=1, noise_sd=1.0)

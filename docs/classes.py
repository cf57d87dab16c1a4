"""Partial pooling: the means of seven classes, drawn from one population.

Seven classes of 30 pupils each; the mean of a class comes from a normal population. Mean, spread and seven classes are
nine functionals.
"""

import numpy as np
import numpyro
import numpyro.distributions as dist

import sgdvi


def problem() -> sgdvi.Problem:
    """Make the problem: 210 marks in seven classes."""
    rng = np.random.default_rng(3)
    which = np.repeat(np.arange(7), 30)
    marks = (0.5 + 0.6 * rng.standard_normal(7))[which] + rng.standard_normal(210)

    def model(which: np.ndarray, marks: np.ndarray | None = None) -> None:
        mean = numpyro.sample("mean", dist.Normal(0.0, 2.0))
        spread = numpyro.sample("spread", dist.HalfNormal(1.0))
        effects = numpyro.sample("effects", dist.Normal(0.0, 1.0).expand([7]).to_event(1))
        with numpyro.plate("data", len(which)):
            numpyro.sample("marks", dist.Normal(mean + spread * effects[which], 1.0), obs=marks)

    def of_class(k: int):
        return lambda ds: ds["mean"] + ds["spread"] * ds["effects"][..., k]

    return sgdvi.Problem(
        name="classes",
        model=model,
        data=(which, marks),
        functionals={"mean": lambda ds: ds["mean"], "spread": lambda ds: ds["spread"]}
        | {f"class {k}": of_class(k) for k in range(7)},
        description="Marks of 210 pupils in seven classes, partially pooled.",
        source="Simulated.",
        factory=problem,
    )

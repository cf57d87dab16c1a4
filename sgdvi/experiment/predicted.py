"""What a Gaussian law near the mode says of the functionals of a problem, against the posterior's near the mode."""

from collections.abc import Mapping

import jax
import numpy as np

from sgdvi.diagnostics.read import evaluated, scalar_functionals
from sgdvi.draws.tree import from_samples
from sgdvi.experiment.forecast_result import Flavour
from sgdvi.experiment.tried import with_row_values
from sgdvi.problem.base import Problem
from sgdvi.samplers.quadratic import LocalQuadratic
from sgdvi.samplers.recipes import GaussianLaw, Recipe, normal_points

# Relaxations that make 100 autocorrelation times.
RELAXATIONS = 200


class Predicted:
    """The functionals of a problem under laws near its mode.

    Parameters
    ----------
    problem
        Model, data and functionals.
    near
        What is known near the mode.

    Attributes
    ----------
    points
        Standard normal points that stand for a law, with their mirror images, (2 K, D).
    posterior
        Functional -> its values under the posterior in the same approximation, (2 K,).
    """

    def __init__(self, problem: Problem, near: LocalQuadratic) -> None:
        self._problem, self._near = problem, near
        self.points = normal_points(near.near.size)
        self.posterior = self.values(near.laplace)

    def values(self, law: GaussianLaw) -> dict[str, np.ndarray]:
        """Return the scalar functionals by name under a law, (2 K,) each."""
        problem = self._problem
        sites = self._near.flat.constrain(law.mean + self.points @ law.root.T)
        tree = from_samples(sites, kind="predicted", dims=problem.dims)
        tree = with_row_values(problem, {"predicted": tree}, jax.random.key(0)).get("predicted", tree)
        named = scalar_functionals({"predicted": tree}, problem.functionals, None)
        return {name: values[0] for name, values in evaluated(tree["posterior"].to_dataset(), named).items()}

    def flavour(self, recipe: Recipe) -> Flavour:
        """Return what SGD by a recipe will be.

        Raises
        ------
        InputError
            Where it has no law.
        """
        law = self._near.law(recipe)
        draws, posterior = self.values(law), self.posterior
        return Flavour(
            name=recipe.flavour,
            batch_size=recipe.batch_size,
            learning_rate=recipe.learning_rate,
            relaxation=law.relaxation,
            steps=RELAXATIONS * law.relaxation,
            sd_ratio={key: float(draws[key].std() / posterior[key].std()) for key in posterior},
            w1={key: _distance(draws[key], posterior[key]) for key in posterior},
            summary=summaries(draws),
        )


def summaries(draws: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Return mean, sd, 5 % and 95 % quantile by functional."""
    return {name: _summary(values) for name, values in draws.items()}


def _summary(values: np.ndarray) -> dict[str, float]:
    low, high = np.quantile(values, [0.05, 0.95])
    return {"mean": float(values.mean()), "sd": float(values.std()), "q5": float(low), "q95": float(high)}


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    """W1 in standard deviations of the second."""
    return float(np.abs(np.sort(one) - np.sort(other)).mean() / other.std())

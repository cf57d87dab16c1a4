"""Valid models of other authors run: the minibatch loss on all rows is NumPyro's density, and SGD takes steps."""

from typing import Any

import jax
import numpy as np
import pytest
from numpyro.infer.util import potential_energy
from valid_models import VALID, integrated

import sgdvi
from sgdvi.draws import make_tree
from sgdvi.experiment.tried import try_functionals
from sgdvi.problem.all_rows import AllRows
from sgdvi.samplers.references.joint import Joint
from sgdvi.samplers.targets.base import find_start
from sgdvi.samplers.targets.make import as_arguments

# minutes for all; one of each kind by default
LONG = {
    "correlated",
    "reparametrised",
    "group_effects",
    "two_likelihoods",
    "keywords",
    "masked",
    "vmapped",
    "integrated",
    "overdispersed",
    "factor_in_plate",
    "mixture",
    "horseshoe",
    "two_plates",
    "ordinal",
}
MODELS = [pytest.param(one, marks=[pytest.mark.slow] * (one.__name__ in LONG), id=one.__name__) for one in VALID]


@pytest.mark.parametrize("model", MODELS)
def test_model_runs(model: Any, key: jax.Array, x64: None) -> None:
    data = VALID[model]
    model = sgdvi.integrate_rows(model, ["value"]) if model is integrated else model
    sampler = sgdvi.SGD(model, learning_rate=1e-3, batch_size=5)
    arguments = as_arguments(model, data)
    target = sampler.prepare(arguments)
    rows = target.rows(arguments)
    z, fine = find_start(target, key, rows)
    assert fine
    assert target.num_data == 24
    sampler.check(target, z, rows)
    problem = sgdvi.Problem("model", model, data, {"first": lambda ds: next(iter(ds.data_vars.values()))})
    args, kwargs = problem.arguments

    # a mean over single rows is the whole
    @jax.jit
    def losses(z: Any) -> Any:
        singles = jax.vmap(lambda row: target.loss(z, tuple(leaf[None] for leaf in row)))(rows)
        return potential_energy(AllRows(model), args, kwargs, z), 24 * target.loss(z, rows), 24 * singles.mean()

    whole, *ours = losses(z)
    np.testing.assert_allclose(ours, [whole, whole], rtol=1e-9)
    try_functionals(problem)


def test_what_draws_hold(key: jax.Array, x64: None) -> None:
    scoped = next(model for model in VALID if model.__name__ == "scoped")
    sampler = sgdvi.SGD(scoped, learning_rate=1e-3, batch_size=5)
    options = {"init": {"line.a": 0.5, "line/b": 0.1}, "functionals": {"sum": lambda ds: ds["line/a"] + ds["line.b"]}}
    run = sgdvi.sample(sampler, VALID[scoped], key=key, num_steps=3, num_chains=2, progress=False, **options)
    # a slash is written as a dot, what stands in the data plate is dropped, a curve is kept
    assert set(run["posterior"].data_vars) == {"line.a", "line.b", "curve", "sum"}
    assert run["posterior"]["curve"].shape == (2, 3, 24)
    np.testing.assert_allclose(run["posterior"]["sum"], run["posterior"]["line.a"] + run["posterior"]["line.b"])


SUBSAMPLED = next(model for model in VALID if model.__name__ == "subsampled_by_index")


@pytest.mark.slow
def test_nuts_has_all_rows_of_a_plate_that_subsamples(key: jax.Array, x64: None) -> None:
    x, y = VALID[SUBSAMPLED]
    problem = sgdvi.Problem("rows", SUBSAMPLED, (x, y), {"b": lambda ds: ds["b"]})
    b = sgdvi.samplers.references.nuts(problem, key, num_warmup=200, num_samples=400)["posterior"]["b"].values
    precision = 1 + x @ x
    assert b.mean() == pytest.approx(x @ y / precision, abs=0.25 * precision**-0.5)
    assert b.std() == pytest.approx(precision**-0.5, rel=0.15)  # six rows would have twice the spread


def test_a_plate_that_subsamples_has_all_rows_everywhere(key: jax.Array, x64: None) -> None:
    x, y = VALID[SUBSAMPLED]
    problem = sgdvi.Problem("rows", SUBSAMPLED, (x, y), {"b": lambda ds: ds["b"]})
    precision = 1 + x @ x
    run = make_tree({"b": np.linspace(0.0, 1.0, 40).reshape(4, 10)}, kind="nuts")
    assert Joint(problem).curved(np.zeros(1))[2] == pytest.approx(precision)
    full = sgdvi.with_predictions(run, problem, key=key, num_draws=8)
    assert full["log_likelihood"]["y"].shape[-1] == 24
    expected = -0.5 * (y - full["posterior"]["b"].values[0, 0] * x) ** 2 - 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(full["log_likelihood"]["y"].values[0, 0], expected, rtol=1e-6)

"""What draws say of the data, against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

import sgdvi
from sgdvi.draws import make_tree

X = np.linspace(-1, 1, 30)
Y = 0.5 * X + 0.1


def model(x, y=None):
    v = numpyro.sample("v", dist.Normal(0, 1))
    with numpyro.plate("data", len(x)):
        numpyro.sample("y", dist.Normal(v * x, 0.5), obs=y)


def problem(**changes):
    given = {"name": "line", "model": model, "data": (X, Y), "functionals": {"v": lambda ds: ds.v}}
    return sgdvi.Problem(**given | changes)


def test_predictions_are_those_of_the_likelihood(key, x64):
    v = np.random.default_rng(0).normal(size=(4, 1000))
    run = make_tree({"v": v}, kind="sgd", sample_stats={"loss": v})
    full = sgdvi.with_predictions(run, problem(), key=key, num_draws=2000)
    some = v[:, ::2]
    expected = -0.5 * ((Y - some[..., None] * X) / 0.5) ** 2 - np.log(0.5 * np.sqrt(2 * np.pi))
    assert np.allclose(full["log_likelihood"]["y"].values, expected)
    noise = (full["posterior_predictive"]["y"].values - some[..., None] * X) / 0.5
    assert abs(noise.mean()) < 5 / noise.size**0.5
    assert abs(noise.var() - 1) < 5 * (2 / noise.size) ** 0.5
    assert np.array_equal(full["observed_data"]["y"].values, Y)
    assert full["posterior"].attrs["kind"] == "sgd"
    assert "loss" in full["sample_stats"]


def test_comparison_uses_them(key, x64):
    rng = np.random.default_rng(1)
    runs = {name: make_tree({"v": 0.5 + 0.1 * rng.normal(size=(4, 500))}, kind=name) for name in ("sgd", "nuts")}
    runs = {name: sgdvi.with_predictions(run, problem(), key=key) for name, run in runs.items()}
    compared = sgdvi.compare(runs, reference="nuts", functionals={"v": lambda ds: ds.v})
    found = {finding.check: finding for finding in compared.findings if finding.run == "sgd"}
    assert found["predictive.loo"].status is sgdvi.Status.PASS
    assert found["predictive.coverage"].value is not None


def test_what_cannot_be_predicted(key):
    run = make_tree({"w": np.zeros((2, 10))}, kind="sgd")
    with pytest.raises(sgdvi.InputError, match="every site"):
        sgdvi.with_predictions(run, problem(), key=key)
    loss = sgdvi.Loss(lambda p, batch: (p["w"] * batch[0] - batch[1]) ** 2, {"w": jnp.zeros(())})
    with pytest.raises(sgdvi.InputError, match="NumPyro model"):
        sgdvi.with_predictions(run, problem(model=loss), key=key)
    run = make_tree({"v": np.zeros((2, 10))}, kind="sgd")
    with pytest.raises(sgdvi.InputError, match="observe"):
        sgdvi.with_predictions(run, problem(data=(X,)), key=jax.random.key(0))


def subsampled(x, y, scale=1.0):
    v = numpyro.sample("v", dist.Normal(0, scale))
    with numpyro.plate("data", len(x), subsample_size=10):
        some = numpyro.subsample(x, event_dim=0), numpyro.subsample(y, event_dim=0)
        numpyro.sample("y", dist.Normal(v * some[0], 0.5), obs=some[1])


def prior_of_rows(x, y):
    subsampled(x, y, len(x) ** -0.5)


def with_a_param(x, y):
    numpyro.param("unused", 0.3)
    numpyro.deterministic("of_param", numpyro.param("slope", 0.5) * 2)
    model(x, y)


@pytest.mark.filterwarnings("ignore:The numpyro.param sites")
@pytest.mark.parametrize("other", [subsampled, prior_of_rows, with_a_param])
def test_all_rows_are_predicted_as_by_the_plain_model(other, key, x64):
    run = make_tree({"v": np.full((4, 50), 0.5)}, kind="sgd")
    given, plain = (
        sgdvi.with_predictions(run, problem(model=each, data=(X, Y)), key=key)["log_likelihood"]["y"].values
        for each in (other, model)
    )
    assert given.shape == (4, 50, len(X))
    assert np.ptp(given, axis=(0, 1)).max() == 0  # the same rows in every draw: all draws are equal
    np.testing.assert_array_equal(given, plain)

"""The minibatch convention: every measured pitfall of minibatches in NumPyro models is a test here."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from numpyro.infer.util import potential_energy
from scipy.stats import norm

import sgdvi
from sgdvi._internal.tree import take
from sgdvi.samplers.targets.model import ModelTarget

N = 12
RNG = np.random.default_rng(1)
X = RNG.normal(size=N).astype(np.float32)
Y = (0.5 * X + RNG.normal(size=N)).astype(np.float32)


def latents() -> Any:
    return numpyro.sample("a", dist.Normal(0, 2)) * numpyro.sample("b", dist.Normal(1, 1))


def plate_of_length(x: Any, y: Any) -> None:
    v = latents()
    with numpyro.plate("data", len(x)):
        numpyro.sample("y", dist.Normal(v * x, 0.7), obs=y)


def plate_of_fixed_size(x: Any, y: Any) -> None:
    v = latents()
    with numpyro.plate("data", N):
        numpyro.sample("y", dist.Normal(v * x, 0.7), obs=y)


def indexed(x: Any, y: Any) -> None:
    v = latents()
    with numpyro.plate("data", N, subsample_size=3) as rows:
        numpyro.sample("y", dist.Normal(v * x[rows], 0.7), obs=y[rows])


def subsampled(x: Any, y: Any) -> None:
    v = latents()
    with numpyro.plate("data", len(x), subsample_size=3):
        x, y = numpyro.subsample(x, event_dim=0), numpyro.subsample(y, event_dim=0)
        numpyro.sample("y", dist.Normal(v * x, 0.7), obs=y)


def subsampled_fixed(x: Any, y: Any) -> None:
    v = latents()
    with numpyro.plate("data", N):
        x, y = numpyro.subsample(x, event_dim=0), numpyro.subsample(y, event_dim=0)
        numpyro.sample("y", dist.Normal(v * x, 0.7), obs=y)


def by_factor(x: Any, y: Any) -> None:
    v = latents()
    with numpyro.plate("data", len(x)):
        numpyro.factor("y", dist.Normal(v * x, 0.7).log_prob(y))


WRITINGS = [plate_of_length, plate_of_fixed_size, indexed, subsampled, subsampled_fixed, by_factor]
Z = {"a": jnp.float32(0.3), "b": jnp.float32(-1.2)}


def target_of(
    model: Callable[..., Any], *args: Any, batch_size: int = 3, check: bool = True, **kwargs: Any
) -> tuple[ModelTarget, Any]:
    kernel = sgdvi.SGD(model, learning_rate=0.01, batch_size=batch_size)
    if check:
        kernel.init(jax.random.key(0), 0, None, args, kwargs)  # checks the minibatches
    target = kernel.prepare((args, kwargs))
    assert isinstance(target, ModelTarget)
    return target, target.rows((args, kwargs))


def expected_loss(rows: np.ndarray) -> float:
    a, b = float(Z["a"]), float(Z["b"])
    fit = norm(a * b * X[rows], 0.7).logpdf(Y[rows]).sum() * N / len(rows)
    return -float(fit + norm(0, 2).logpdf(a) + norm(1, 1).logpdf(b)) / N


BLOCKS = {"one": [7], "three": [3, 11, 5], "all": list(range(N)), "repeated": [2] * 5}


@functools.cache
def written(model: Callable[..., Any]) -> tuple[dict[str, Any], Any, Any]:
    """Return losses of the blocks, gradients of single rows and the gradient of all: one program for all tests."""
    target, data = target_of(model, X, Y)

    @jax.jit
    def evaluated(data: Any) -> Any:
        gradient = jax.grad(target.loss)
        losses = {name: target.loss(Z, take(data, jnp.array(rows))) for name, rows in BLOCKS.items()}
        each = jax.vmap(lambda row: gradient(Z, take(data, row[None])))(jnp.arange(N))
        return losses, each, gradient(Z, data)

    return evaluated(data)


@pytest.mark.parametrize("model", WRITINGS, ids=lambda model: model.__name__)
@pytest.mark.parametrize("rows", BLOCKS)
def test_loss_on_a_minibatch_counts_n_over_s_once(model: Callable[..., Any], rows: str) -> None:
    np.testing.assert_allclose(written(model)[0][rows], expected_loss(np.array(BLOCKS[rows])), rtol=2e-6)


@pytest.mark.parametrize("model", WRITINGS, ids=lambda model: model.__name__)
def test_gradient_is_unbiased(model: Callable[..., Any]) -> None:
    _, each, whole = written(model)
    for site, value in whole.items():
        np.testing.assert_allclose(np.mean(each[site]), value, rtol=1e-5)


def test_scale_and_mask_of_the_user_stay() -> None:
    def model(x: Any, y: Any) -> None:
        v = latents()
        with numpyro.plate("data", len(x)), handlers.scale(scale=0.25), handlers.mask(mask=x > 0):
            numpyro.sample("y", dist.Normal(v * x, 0.7), obs=y)

    target, data = target_of(model, X, Y)
    rows = np.array([0, 1, 2, 3])
    a, b = float(Z["a"]), float(Z["b"])
    fit = 0.25 * np.sum(norm(a * b * X[rows], 0.7).logpdf(Y[rows]) * (X[rows] > 0)) * N / 4
    prior = norm(0, 2).logpdf(a) + norm(1, 1).logpdf(b)
    got = jax.jit(lambda data: target.loss(Z, take(data, jnp.array(rows))))(data)
    np.testing.assert_allclose(got, -(fit + prior) / N, rtol=1e-5)


def test_unconstrained_coordinates_with_the_jacobian() -> None:
    def model(x: Any, y: Any) -> None:
        sd = numpyro.sample("sd", dist.HalfNormal(1))
        weights = numpyro.sample("weights", dist.Dirichlet(jnp.ones(3)))
        with numpyro.plate("data", len(x)):
            numpyro.sample("y", dist.Normal(weights[0] * x, sd), obs=y)

    target, data = target_of(model, X, Y, check=False)
    assert target.shapes == {"sd": (), "weights": (2,)}
    z = {"sd": jnp.float32(-0.4), "weights": jnp.array([0.2, -0.9])}
    np.testing.assert_allclose(target.loss(z, data), potential_energy(model, (X, Y), {}, z) / N, rtol=1e-6)
    params = target.constrain(z, data)
    np.testing.assert_allclose(params["sd"], np.exp(-0.4), rtol=1e-6)
    np.testing.assert_allclose(target.unconstrain(params, data)["weights"], z["weights"], rtol=1e-5)


def test_plates_beside_the_data_plate_and_matrices() -> None:
    x = RNG.normal(size=(N, 2)).astype(np.float32)
    y = RNG.normal(size=(N, 3)).astype(np.float32)

    def model(x: Any, *, y: Any, link: str) -> None:
        assert link == "identity"
        with numpyro.plate("features", 2, dim=-2), numpyro.plate("outputs", 3, dim=-1):
            weight = numpyro.sample("weight", dist.Normal(0, 1))
        with numpyro.plate("data", len(x), dim=-2), numpyro.plate("outputs", 3, dim=-1):
            numpyro.sample("y", dist.Normal(x @ weight, 1), obs=y)

    target, data = target_of(model, x, y=y, link="identity")
    z = {"weight": jnp.arange(6.0).reshape(2, 3) / 5}
    rows = jnp.array([4, 9])
    weight, some = np.asarray(z["weight"]), np.asarray(rows)
    wanted = -(norm(x[some] @ weight).logpdf(y[some]).sum() * N / 2 + norm.logpdf(weight).sum()) / N
    np.testing.assert_allclose(jax.jit(lambda data: target.loss(z, take(data, rows)))(data), wanted, rtol=1e-5)


def test_draws_hold_deterministic_sites_outside_the_data_plate() -> None:
    def model(x: Any, y: Any) -> None:
        a = numpyro.sample("a", dist.Normal(0, 1))
        numpyro.deterministic("double", 2 * a)
        numpyro.deterministic("fitted", a * x)
        with numpyro.plate("data", len(x)):
            numpyro.deterministic("inside", a * x)
            numpyro.sample("y", dist.Normal(a * x, 1), obs=y)

    target, data = target_of(model, X, Y, check=False)
    assert target.outputs == ("a", "double", "fitted")
    assert float(target.constrain({"a": jnp.float32(1.5)}, data)["double"]) == 3.0


def test_a_plate_of_as_many_features_as_rows_is_no_data_plate() -> None:
    x = RNG.normal(size=(N, N)).astype(np.float32)

    def model(x: Any, y: Any) -> None:
        with numpyro.plate("features", N):
            weight = numpyro.sample("weight", dist.Normal(0, 1))
        with numpyro.plate("data", len(x)):
            numpyro.sample("y", dist.Normal(x @ weight, 1), obs=y)

    target, _ = target_of(model, x, Y)
    assert target.plates == {"data"}


def no_plate(x: Any, y: Any) -> None:
    numpyro.sample("y", dist.Normal(latents() * x, 1), obs=y)


def rows_closed_over(x: Any) -> None:
    v = latents()
    with numpyro.plate("data", len(x)):
        numpyro.sample("y", dist.Normal(v * x, 1), obs=Y)


def first_rows_closed_over(x: Any) -> None:
    v = latents()
    with numpyro.plate("data", len(x)):
        numpyro.sample("y", dist.Normal(v * x, 1), obs=Y[: len(x)])


def all_closed_over() -> None:
    v = latents()
    with numpyro.plate("data", N):
        numpyro.sample("y", dist.Normal(v * X, 1), obs=Y)


def standardised_inside(x: Any, y: Any) -> None:
    v = latents()
    x = (x - x.mean()) / (1e-3 + x.std())
    with numpyro.plate("data", len(x)):
        numpyro.sample("y", dist.Normal(v * x, 1), obs=y)


def latent_per_row(x: Any, y: Any) -> None:
    with numpyro.plate("data", len(x)):
        a = numpyro.sample("a", dist.Normal(0, 1))
        numpyro.sample("y", dist.Normal(a * x, 1), obs=y)


def latent_with_rows(x: Any, y: Any) -> None:
    a = numpyro.sample("a", dist.Normal(jnp.zeros(len(x)), 1).to_event(1))
    with numpyro.plate("data", len(x)):
        numpyro.sample("y", dist.Normal(a * x, 1), obs=y)


def discrete(x: Any, y: Any) -> None:
    k = numpyro.sample("k", dist.Bernoulli(0.5))
    with numpyro.plate("data", len(x)):
        numpyro.sample("y", dist.Normal(k * x, 1), obs=y)


def factor_over_all_rows(x: Any, y: Any) -> None:
    v = latents()
    numpyro.factor("likelihood", dist.Normal(v * x, 1).log_prob(y).sum())
    with numpyro.plate("data", len(x)):
        numpyro.sample("y", dist.Normal(v * x, 1), obs=y)


def two_sizes(x: Any, y: Any) -> None:
    v = latents()
    with numpyro.plate("data", len(x)):
        numpyro.sample("x", dist.Normal(v, 1), obs=x)
    with numpyro.plate("other", len(y)):
        numpyro.sample("y", dist.Normal(v, 1), obs=y)


def nothing_latent(x: Any, y: Any) -> None:
    with numpyro.plate("data", len(x)):
        numpyro.sample("y", dist.Normal(x, 1), obs=y)


@pytest.mark.parametrize(
    ("model", "data", "text", "batch_size"),
    [
        (no_plate, (X, Y), "must have a data plate", 3),
        (rows_closed_over, (X,), "Pass all data to the model as arguments", 3),
        # a batch of one row broadcasts against the full data without an error
        (rows_closed_over, (X,), "Pass all data to the model as arguments", 1),
        (first_rows_closed_over, (X,), "every row must weigh the same", 3),
        (first_rows_closed_over, (X,), "every row must weigh the same", 1),
        (all_closed_over, (), "must have a data plate", 3),
        (standardised_inside, (X, Y), "every row must weigh the same", 3),
        (latent_per_row, (X, Y), "'a' must not have one value per row.*sgdvi.integrate_rows", 3),
        (latent_with_rows, (X, Y), "'a' must not have one value per row.*unconstrained shape", 3),
        (discrete, (X, Y), "'k' must be continuous", 3),
        (factor_over_all_rows, (X, Y), "terms of the model that depend on the rows must stand in the data plate", 3),
        (two_sizes, (X, Y[:7]), "data plates must have the same size", 3),
        (nothing_latent, (X, Y), "at least one latent site", 3),
        (plate_of_length, (X,), "must run on the data; got TypeError", 3),
        (plate_of_length, (X, Y[:7]), "must run on the data", 3),
        (plate_of_length, (X, np.where(Y > 1, np.nan, Y)), "must be finite at the start of every chain", 3),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_models_that_cannot_be_minibatched_are_refused(
    model: Callable[..., Any], data: tuple[Any, ...], text: str, batch_size: int
) -> None:
    with pytest.raises(sgdvi.InputError, match=text):
        target_of(model, *data, batch_size=batch_size)

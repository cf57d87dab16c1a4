"""What the ways of drawing rows make of a run: exact variances on a quadratic loss, the same draws in any chunks."""

import functools
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sgdvi
from sgdvi._internal.batches import Batching
from sgdvi.samplers.driver import run

N, SIZE, RATE = 22, 4, 0.3
X = np.random.default_rng(1).normal(size=N)
# the mean of the rows: every step is z' = (1 - eta) z + eta (mean of the minibatch)
LOSS = sgdvi.Loss(lambda z, x: (z - x) ** 2 / 2, float(X.mean()))
STEPS, CHAINS = 50, 16_000


@functools.cache
def sampler_of(batching: str) -> sgdvi.SGD:
    """Return one sampler for all runs: they share what is compiled."""
    return sgdvi.SGD(LOSS, learning_rate=RATE, batch_size=SIZE, batching=batching)


def sample(batching: str, **options: Any) -> Any:
    settings: dict[str, Any] = {"key": jax.random.key(0), "num_steps": 60, "progress": False}
    return sgdvi.sample(sampler_of(batching), X, **(settings | options))


@pytest.mark.parametrize(
    ("batching", "share"),
    [("replacement", 1 / 4), ("without-replacement", 6 / 9 / 4), ("epochs", None), ("full", 0.0)],
)
def test_share_of_the_noise_of_one_row(batching: str, share: float | None) -> None:
    assert Batching(batching).noise_share(10, 4) == (share if share is None else pytest.approx(share))
    assert Batching(batching).noise_share(10, 10) == (pytest.approx(1 / 10) if batching == "replacement" else 0.0)


def exact_variance(batching: str) -> float:
    """Variance after 50 steps, ten epochs of floor(22/4) = 5 steps, from the covariances of the minibatch means."""
    same = {"replacement": 1.0, "full": 0.0}.get(batching, (N - SIZE) / (N - 1)) / SIZE
    step = np.arange(STEPS)
    within = (step[:, None] // 5 == step // 5) & (batching == "epochs")
    covariance = np.where(np.eye(STEPS, dtype=bool), same, np.where(within, -1 / (N - 1), 0.0))
    weights = RATE * (1 - RATE) ** step[::-1]
    return float(X.var() * weights @ covariance @ weights)


@pytest.mark.parametrize(
    "batching", [pytest.param(way, marks=() if way == "epochs" else pytest.mark.slow) for way in Batching]
)
def test_variance_of_the_iterates(batching: str) -> None:
    tree = sample(batching, num_steps=STEPS, thinning=STEPS, num_chains=CHAINS)
    draws = tree["posterior"]["params"].values.astype(float)
    exact = exact_variance(batching)
    # chains are independent: five standard errors are 5.6 %; the factor (N-S)/(N-1) is 14 %
    assert draws.var() == pytest.approx(exact, rel=5 * np.sqrt(2 / CHAINS), abs=1e-13)
    assert draws.mean() == pytest.approx(X.mean(), abs=5 * np.sqrt(exact / CHAINS) + 1e-6)
    config = json.loads(tree["posterior"].attrs["config_json"])
    assert config["batching"] == batching
    assert config["num_data"] == N
    if batching == "epochs":
        assert exact < 0.6 * exact_variance("without-replacement")
        assert config["noise_scale"] is None
        assert "Shuffled epochs have no temperature" in config["noise_note"]
    else:
        share = {"replacement": 1 / SIZE, "full": 0.0}.get(batching, (N - SIZE) / (N - 1) / SIZE)
        assert config["noise_scale"] == pytest.approx(RATE * share)
        assert not config["noise_note"]


def test_epochs_are_the_same_in_any_chunks_and_after_a_resumption(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def draws(**options: Any) -> np.ndarray:
        return sample("epochs", num_chains=2, **options)["posterior"]["params"].values

    whole, path = draws(), tmp_path / "draws.zarr"
    draws(num_steps=13, store=path)
    np.testing.assert_array_equal(draws(store=path, resume=True), whole)
    with pytest.raises(sgdvi.InputError, match="batching"):
        sample("without-replacement", num_chains=2, num_steps=70, store=path, resume=True)
    monkeypatch.setattr(run, "_FIRST_STEPS", 3)
    monkeypatch.setattr(run, "_CALL_SECONDS", 1e-9)
    monkeypatch.setattr(run, "_LONGEST_SECONDS", 1e-9)
    np.testing.assert_array_equal(draws(num_warmup=7, num_steps=53), whole[:, 7:])


def test_all_rows_are_no_minibatch() -> None:
    full = sgdvi.SGD(LOSS, learning_rate=RATE, batching="full")
    assert full.batch_size is None
    assert full.noise_scale(N) == 0
    start = {"init": jnp.float32(3.0)}
    by_size = sgdvi.SGD(LOSS, learning_rate=RATE, batch_size=N, batching="epochs")
    assert by_size.noise_scale(N) == 0
    options: dict[str, Any] = {"key": jax.random.key(0), "num_steps": 5, "progress": False, **start}
    one, two = (sgdvi.sample(sampler, X, **options)["posterior"]["params"].values for sampler in (full, by_size))
    np.testing.assert_array_equal(one, two)
    np.testing.assert_allclose(one[0], X.mean() + (3 - X.mean()) * 0.7 ** np.arange(1, 6), rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"batching": "shuffled"},
            "batching must be one of 'replacement', 'without-replacement', 'epochs'",
        ),
        ({"batching": "epochs", "batch_size": N + 1}, "at most N = 22 with batching='epochs'; got 23"),
        ({"batching": "without-replacement", "batch_size": N + 1}, "at most N = 22 with batching='without-repl"),
        ({"batching": "epochs", "batch_size": 0}, "batch_size must be a whole number of at least 1"),
    ],
)
def test_ways_that_are_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(sgdvi.InputError, match=text):
        sgdvi.sample(sgdvi.SGD(LOSS, learning_rate=RATE, **options), X, key=jax.random.key(0), num_steps=1)


@pytest.mark.parametrize("batching", [pytest.param("full", marks=pytest.mark.slow), "without-replacement"])
def test_covariance_under_injected_noise(batching: str) -> None:
    """The loss (z - x)^T A (z - x)/2 makes z' = z - eta (A (z - xbar) + s n), whose covariance obeys a recursion."""
    hessian, noise = np.array([[1.0, 0.4], [0.4, 0.5]]), 0.7
    x = np.random.default_rng(2).normal(size=(N, 2))
    loss = sgdvi.Loss(lambda z, x: jnp.einsum("ni,ij,nj->n", z - x, jnp.asarray(hessian), z - x) / 2, x.mean(0))
    sampler = sgdvi.SGD(loss, learning_rate=RATE, batch_size=SIZE, batching=batching, injected_noise=noise)
    tree = sgdvi.sample(sampler, x, key=jax.random.key(3), num_steps=STEPS, thinning=STEPS, num_chains=CHAINS)
    draws = tree["posterior"]["params"].values[:, 0].astype(float)
    share = (N - SIZE) / (N - 1) / SIZE if batching != "full" else 0.0
    step = noise**2 * np.eye(2) + share * hessian @ np.cov(x.T, bias=True) @ hessian
    kept, exact = np.eye(2) - RATE * hessian, np.zeros((2, 2))
    for _ in range(STEPS):
        exact = kept @ exact @ kept + RATE**2 * step
    found = np.cov(draws.T, bias=True)
    error = np.sqrt((exact**2 + np.outer(np.diag(exact), np.diag(exact))) / CHAINS)
    assert np.all(np.abs(found - exact) < 5 * error)
    config = json.loads(tree["posterior"].attrs["config_json"])
    assert config["injected_noise"] == noise
    assert config["noise_scale"] is None
    assert "Injected noise" in config["noise_note"]


@pytest.mark.slow
def test_injected_noise_is_a_function_of_key_and_step() -> None:
    def draws(noise: float, **options: Any) -> np.ndarray:
        sampler = sgdvi.SGD(LOSS, learning_rate=RATE, batching="full", injected_noise=noise)
        settings: dict[str, Any] = {"key": jax.random.key(0), "num_steps": 20, "progress": False} | options
        return sgdvi.sample(sampler, X, **settings)["posterior"]["params"].values

    one = draws(0.5)
    np.testing.assert_array_equal(draws(0.5, num_chains=3, thinning=2)[:1], one[:, 1::2])
    np.testing.assert_allclose(draws(1.0) - X.mean(), 2 * (one - X.mean()), atol=1e-5)
    with pytest.raises(sgdvi.InputError, match="injected_noise must be a finite number of at least 0"):
        draws(-1.0)

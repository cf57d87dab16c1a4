"""What the ways of drawing rows make of a run: exact variances on a quadratic loss, the same draws in any chunks."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sgdvi
from sgdvi.samplers import run

N, SIZE, RATE = 22, 4, 0.3
X = np.random.default_rng(1).normal(size=N)
# the mean of the rows: every step is z' = (1 - eta) z + eta (mean of the minibatch)
LOSS = sgdvi.Loss(lambda z, x: (z - x) ** 2 / 2, float(X.mean()))
STEPS, CHAINS = 50, 40_000


def sample(batching: str, **options: Any) -> Any:
    sampler = sgdvi.SGD(LOSS, learning_rate=RATE, batch_size=SIZE, batching=batching)
    return sgdvi.sample(sampler, X, **({"key": jax.random.key(0), "num_steps": 60, "progress": False} | options))


def exact_variance(batching: str) -> float:
    """Variance after 50 steps, ten epochs of floor(22/4) = 5 steps, from the covariances of the minibatch means."""
    same = {"replacement": 1.0, "full": 0.0}.get(batching, (N - SIZE) / (N - 1)) / SIZE
    step = np.arange(STEPS)
    within = (step[:, None] // 5 == step // 5) & (batching == "epochs")
    covariance = np.where(np.eye(STEPS, dtype=bool), same, np.where(within, -1 / (N - 1), 0.0))
    weights = RATE * (1 - RATE) ** step[::-1]
    return float(X.var() * weights @ covariance @ weights)


@pytest.mark.parametrize("batching", ["replacement", "without-replacement", "epochs", "full"])
def test_variance_of_the_iterates(batching: str) -> None:
    tree = sample(batching, num_steps=STEPS, thinning=STEPS, num_chains=CHAINS)
    draws = tree["posterior"]["params"].values.astype(float)
    exact = exact_variance(batching)
    # chains are independent: five standard errors are 3.5 %; the factor (N-S)/(N-1) is 14 %
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

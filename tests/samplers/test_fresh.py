"""A fresh step from each draw: of models and losses, and refused where a draw is not the whole state."""

import jax
import numpy as np
import optax
import pytest

from sgdvi import SGD, Loss, compare, sample
from sgdvi._internal.check import InputError
from sgdvi.comparison import Comparison
from sgdvi.diagnostics import Status
from sgdvi.samplers.fresh import fresh_norms

RATE = 0.2


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100, 2)).astype(np.float32)
    return x, (x @ np.array([1.0, -0.5]) + 0.5 * rng.normal(size=100)).astype(np.float32)


def half_squares(params: dict, batch: tuple) -> jax.Array:
    x, y = batch
    return 0.5 * (x @ params["w"] - y) ** 2


def loss() -> Loss:
    return Loss(half_squares, {"w": np.zeros(2, np.float32)})


def test_a_step_of_a_loss_is_that_of_its_minibatch() -> None:
    x, y = data()
    draws = {"w": np.random.default_rng(1).normal(size=(3, 4, 2)).astype(np.float32)}
    full = SGD(loss(), learning_rate=RATE, batching="full")
    before, after = fresh_norms(full, data(), draws, jax.random.key(0))
    w = draws["w"].astype(np.float64)
    step = w - RATE * ((w @ x.T - y) @ x) / len(y)
    np.testing.assert_allclose(before, (w**2).sum(-1), rtol=1e-6)
    np.testing.assert_allclose(after, np.repeat((step**2).sum(-1)[..., None], 8, axis=-1), rtol=1e-4)


@pytest.mark.parametrize(("slope", "stationary"), [(1.0, True), (1.5, False)])
def test_a_loss_is_seen_to_be_stationary_on_its_own_data_only(slope: float, stationary: bool) -> None:
    sgd = SGD(loss(), learning_rate=RATE, batch_size=2)
    settings = {"num_steps": 4000, "num_warmup": 200, "num_chains": 4, "thinning": 4, "progress": False}
    tree = sample(sgd, data(), key=jax.random.key(2), **settings)
    x, y = data()
    result: Comparison = compare({"SGD": tree}, reference=None, samplers={"SGD": (sgd, (x, slope * y))})
    (identity,) = (finding for finding in result.findings if finding.check == "stationarity.identity")
    assert (identity.status is Status.PASS) == stationary, identity.meaning
    assert identity.status is not Status.NOT_APPLICABLE


def test_a_sampler_with_a_memory_is_refused_and_said_to_be() -> None:
    momentum = SGD(loss(), optax.sgd(0.1, momentum=0.9), batch_size=2)
    draws = {"w": np.random.default_rng(1).normal(size=(2, 9, 2)).astype(np.float32)}
    with pytest.raises(InputError, match="momenta"):
        fresh_norms(momentum, data(), draws, jax.random.key(0))
    result = compare({"SGD": draws}, reference=None, samplers={"SGD": (momentum, data())})
    (identity,) = (finding for finding in result.findings if finding.check == "stationarity.identity")
    assert identity.status is Status.NOT_APPLICABLE
    assert "momenta" in identity.meaning
    with pytest.raises(InputError, match="must be of runs"):
        compare({"SGD": draws}, reference=None, samplers={"VI": (momentum, data())})

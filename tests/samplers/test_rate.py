"""The learning rate of an optimizer is found from what it does, or it is unknown."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import optax
import pytest

import sgdvi
from sgdvi.laws.momentum import PLAIN
from sgdvi.samplers.algorithms.sgd import probe_rate


def model(x: Any) -> None:
    a = numpyro.sample("a", dist.Normal(0, 1))
    with numpyro.plate("data", len(x)):
        numpyro.sample("x", dist.Normal(a, 1), obs=x)


def test_plain_sgd() -> None:
    assert probe_rate(optax.sgd(0.0123)) == (0.0123, "", PLAIN)
    assert probe_rate(optax.chain(optax.scale(0.5), optax.sgd(0.02))) == (0.01, "", PLAIN)
    assert probe_rate(optax.sgd(jnp.float32(0.01))).value == pytest.approx(0.01, rel=1e-7)


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_has_the_temperature_of_its_rate_and_says_when(nesterov: bool) -> None:
    value, note, memory = probe_rate(optax.sgd(0.01, momentum=0.9, nesterov=nesterov))
    assert value == pytest.approx(0.1)
    assert memory is not None
    assert (memory.mu, memory.nesterov) == (pytest.approx(0.9), nesterov)
    assert "approximate" not in note
    assert "far below 1 - mu = 0.1" in note
    assert sgdvi.SGD(model, optax.sgd(0.01, momentum=0.9), batch_size=5).noise_scale(10) == pytest.approx(0.02)


def test_other_tails_are_neither() -> None:
    # quasi-hyperbolic momentum: half of each step is plain
    half = optax.chain(optax.trace(0.9), optax.scale(-0.005))
    both = optax.GradientTransformation(
        half.init,
        lambda g, state, params=None: (lambda u: (jax.tree.map(lambda a, b: a - 0.005 * b, u[0], g), u[1]))(
            half.update(g, state, params)
        ),
    )
    value, note, memory = probe_rate(both)
    assert value == pytest.approx(0.005 + 0.05)
    assert memory is None
    assert "exact beyond" not in note


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.adam(0.01),
        optax.adamw(0.01),
        optax.rmsprop(0.01),
        optax.sgd(optax.cosine_decay_schedule(0.1, 1000)),
        optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.1)),
        optax.chain(optax.normalize_by_update_norm(), optax.sgd(0.1)),
        optax.chain(optax.add_decayed_weights(0.1), optax.sgd(0.1)),
        optax.MultiSteps(optax.sgd(0.1), 2),
        optax.partition({"a": optax.sgd(0.1)}, {"site": "a"}),
    ],
    ids=["adam", "adamw", "rmsprop", "schedule", "clipped", "normalised", "decay", "multi", "partition"],
)
def test_other_optimizers_have_no_known_rate(optimizer: Any) -> None:
    value, note, _ = probe_rate(optimizer)
    assert value is None
    assert "give learning_rate=" in note


@pytest.mark.parametrize("bend", [1e-3, 3e-4])
def test_a_rate_that_bends_a_little_is_not_constant(bend: float) -> None:
    """The rate falls by `bend` from small gradients to large ones: the probe sees a part in a thousand, and less."""

    def update(gradient: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        return jax.tree.map(lambda g: -0.01 * g * (1 - bend * jnp.abs(g) / (1 + jnp.abs(g))), gradient), state

    bent = optax.GradientTransformation(lambda params: optax.EmptyState(), update)
    assert probe_rate(bent).value is None


@pytest.mark.parametrize("rate", [0.0, -0.1, np.nan, np.inf])
def test_rates_that_are_none(rate: float) -> None:
    with pytest.raises(sgdvi.InputError, match="must be a finite number above 0"):
        sgdvi.SGD(model, optax.sgd(rate))
    with pytest.raises(sgdvi.InputError, match="learning_rate must be a finite number above 0"):
        sgdvi.SGD(model, learning_rate=rate)


def test_the_kernel_knows_its_rate() -> None:
    assert sgdvi.SGD(model, learning_rate=0.3).learning_rate == 0.3
    adam = sgdvi.SGD(model, optax.adam(0.1), learning_rate=0.05)
    assert adam.learning_rate == 0.05
    assert adam.rate_note
    assert sgdvi.SGD(model, optax.adam(0.1)).noise_scale(10) is None
    with pytest.raises(sgdvi.InputError, match="must be the rate of the optimizer"):
        sgdvi.SGD(model, optax.sgd(0.1), learning_rate=0.2)


def test_noise_scale() -> None:
    assert sgdvi.SGD(model, learning_rate=0.2, batch_size=4).noise_scale(10) == pytest.approx(0.05)
    without = sgdvi.SGD(model, learning_rate=0.2, batch_size=4, batching="without-replacement")
    assert without.noise_scale(10) == pytest.approx(0.05 * 6 / 9)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "needs an optimizer or a learning rate"),
        ({"optimizer": 0.1}, "must be an optax GradientTransformation"),
        ({"learning_rate": 0.1, "batch_size": 0}, "batch_size must be a whole number of at least 1"),
        ({"learning_rate": 0.1, "batch_size": 2.5}, "batch_size must be a whole number"),
        ({"learning_rate": "fast"}, "learning_rate must be a number"),
    ],
)
def test_bad_settings(options: dict[str, Any], text: str) -> None:
    with pytest.raises(sgdvi.InputError, match=text):
        sgdvi.SGD(model, **options)


def test_a_model_must_be_callable() -> None:
    with pytest.raises(sgdvi.InputError, match="model must be a NumPyro model"):
        sgdvi.SGD("model", learning_rate=0.1)  # type: ignore[arg-type]

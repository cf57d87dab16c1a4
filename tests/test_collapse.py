"""Top Lyapunov exponents at zero, dead and duplicated neurons, against sums over the rows and known constants."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sgdvi

RNG = np.random.default_rng(0)


def product(params: Any, batch: Any) -> Any:
    return (params["u"] * (batch[0] @ params["w"]) - batch[1]) ** 2


def no_signal(inputs: int) -> tuple[sgdvi.Loss, Any]:
    x, y = RNG.normal(size=(2000, inputs)), RNG.normal(size=2000)
    data = np.concatenate([x, x]), np.concatenate([y, -y])
    return sgdvi.Loss(product, {"u": np.array(1.0), "w": np.ones(inputs)}), data


@pytest.mark.parametrize("rate", [0.1, pytest.param(0.3, marks=pytest.mark.slow)])
def test_one_feature_is_the_sum_over_its_rows(rate: float) -> None:
    """The larger of the two sides' exponents, each E log|1 +- 2 eta x y|."""
    x = RNG.normal(size=(30, 1))
    y = 0.2 * x[:, 0] + 0.8 * RNG.normal(size=30)
    loss = sgdvi.Loss(product, {"u": np.array(1.0), "w": np.ones(1)})
    result = sgdvi.collapse(loss, (x, y), learning_rate=rate, batch_size=1)
    sides = [np.log(np.abs(1 + sign * 2 * rate * x[:, 0] * y)).mean() for sign in (1, -1)]
    assert abs(result.exponent - max(sides)) < 3.5 * result.error
    # the test has power where the exponent is not near its change of sign
    if rate == 0.1:
        assert abs(result.exponent - 1.3 * max(sides)) > 5 * result.error
        assert result.attracts is bool(max(sides) < 0)


@pytest.mark.parametrize(("inputs", "known", "attracts"), [(1, -0.5, True), (3, 0.1418, False)])
def test_noise_alone_collapses_one_input_and_no_three(inputs: int, known: float, attracts: bool) -> None:
    loss, data = no_signal(inputs)
    rate = 0.05
    result = sgdvi.collapse(loss, data, learning_rate=rate, batch_size=1, num_steps=6000)
    unit = rate**2 * np.mean((2 * data[1][:, None] * data[0]) ** 2)
    assert result.exponent / unit == pytest.approx(known, abs=3.5 * result.error / unit + 0.02)
    assert result.attracts is attracts
    assert "says nothing of several" in str(result)


def test_weight_decay_and_batches_count() -> None:
    x = RNG.normal(size=(40, 1))
    y, rate, gamma = 0.6 * RNG.normal(size=40), 0.3, 0.05
    loss = sgdvi.Loss(product, {"u": np.array(1.0), "w": np.ones(1)})
    given = {"learning_rate": rate, "batch_size": 40, "batching": "without-replacement", "weight_decay": gamma}
    result = sgdvi.collapse(loss, (x, y), **given)
    slope = abs(np.mean(2 * x[:, 0] * y))
    assert result.exponent == pytest.approx(np.log(1 - 2 * rate * gamma + rate * slope), abs=1e-3)


def tanh(params: Any, batch: Any) -> Any:
    return (jnp.tanh(batch[0] @ params["w"]) @ params["u"] - batch[1]) ** 2


def test_dead_and_duplicated_neurons() -> None:
    """A neuron beside others that have learned: a signal that is left repels, noise alone on one input attracts."""
    x = RNG.normal(size=(60, 1))
    loss = sgdvi.Loss(tanh, {"u": np.array([0.5, 0.7, -0.3]), "w": RNG.normal(size=(1, 3))})
    places = [{"u": number, "w": (slice(None), number)} for number in range(3)]
    data = x, np.tanh(x[:, 0]) + 0.9 * RNG.normal(size=60)
    dead = sgdvi.collapse(loss, data, learning_rate=0.3, batch_size=1, where=places[2])
    assert "A dead neuron" in str(dead)
    twins = sgdvi.collapse(loss, data, learning_rate=0.05, batch_size=2, where=(places[0], places[1]))
    assert "A duplicated neuron" in str(twins)
    # across equal neurons the perturbation sees the curvature of its own activation, not the whole loss's
    assert abs(twins.exponent) < 0.05
    with pytest.raises(sgdvi.InputError, match="must be tangent to the set"):
        sgdvi.collapse(loss, data, learning_rate=0.05, batch_size=2, where={"u": 2})


def test_a_dead_relu_is_told_from_its_homogeneity_and_balance_asks_for_it() -> None:
    x, y = RNG.normal(size=(60, 2)), RNG.normal(size=60)

    def relu(params: Any, batch: Any) -> Any:
        return (jax.nn.relu(batch[0] @ params["w"]) @ params["u"] - batch[1]) ** 2

    loss = sgdvi.Loss(relu, {"u": np.array([0.5, 0.7]), "w": RNG.normal(size=(2, 2))})
    found = sgdvi.balance(loss, (x, y), learning_rate=0.05, batch_size=2, num_steps=200, num_chains=2)
    result = found.collapse(0, num_steps=400)
    assert (result.learning_rate, result.batch_size) == (0.05, 2)
    assert result.exponent != 0
    assert "A dead neuron" in str(result)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"where": "one"}, 'where must be "zero"'),
        ({"where": {"v": 0}}, "where must name leaves of the parameters"),
        ({"where": {"w": 9}}, "with indices that fit"),
        ({"where": ({"u": ()}, {"w": ()})}, "two parts of the same shapes"),
        ({"batching": "epochs"}, "batching must be"),
        ({"num_chains": 2}, "num_chains must be"),
    ],
)
def test_bad_input(change: dict[str, Any], text: str) -> None:
    loss, data = no_signal(2)
    with pytest.raises(sgdvi.InputError, match=text):
        sgdvi.collapse(loss, data, **{"learning_rate": 0.1, "batch_size": 1, **change})


def test_a_bowl_attracts_at_the_rate_of_its_rows() -> None:
    x = np.random.default_rng(4).normal(size=30)
    loss = sgdvi.Loss(lambda params, batch: (params["w"] * batch[0]) ** 2, {"w": np.array(1.0)})
    result = sgdvi.collapse(loss, (x,), learning_rate=0.05, batch_size=1)
    exact = np.log(np.abs(1 - 0.1 * x**2)).mean()  # the other sign of the curvature would repel
    assert abs(result.exponent - exact) < 3.5 * result.error
    assert result.attracts
    assert exact < -30 * result.error

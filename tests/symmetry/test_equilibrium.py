"""Where SGD comes to rest on orbits, predicted from one minimum, against runs of SGD in plain JAX."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import sgdvi
from sgdvi.symmetry._slices import Group
from sgdvi.symmetry.equilibrium import _balance_family

RNG = np.random.default_rng(0)


def sgd(loss: Any, start: Any, data: Any, rate: float, steps: int, measure: Callable, gamma: float = 0.0) -> Any:
    """Mean and its error, over 32 chains, of a measure of the second half of SGD with one row per step."""
    # rows from NumPy: JAX's generator in the loop takes longer to compile than all the rest
    rows = np.random.default_rng(5).integers(0, len(data[0]), (32, steps, 1))
    means = np.asarray(_chains(loss, measure, jax.tree.map(jnp.asarray, start), data, rows, rate, gamma))
    return means.mean(0), means.std(0) / np.sqrt(32)


@partial(jax.jit, static_argnums=(0, 1))
def _chains(loss: Any, measure: Callable, start: Any, data: Any, rows: Any, rate: Any, gamma: Any) -> Any:
    def step(params: Any, row: jax.Array) -> Any:
        slope = jax.grad(lambda p: loss(p, jax.tree.map(lambda a: a[row], data)).mean())(params)
        params = jax.tree.map(lambda a, b: (1 - 2 * rate * gamma) * a - rate * b, params, slope)
        return params, measure(params)

    def chain(rows: jax.Array) -> Any:
        return jax.lax.scan(step, start, rows)[1][rows.shape[0] // 2 :].mean(0)

    return jax.vmap(chain)(rows)


@pytest.fixture(autouse=True)
def double() -> Any:
    with jax.enable_x64(True):
        yield


def squared(params: Any, batch: Any) -> Any:
    return (params["u"] * (batch[0] @ params["w"]) ** 2 - batch[1]) ** 2


@pytest.fixture(scope="module")
def quartic() -> tuple[sgdvi.Symmetry, Any]:
    x = RNG.normal(size=(60, 3))
    data = x, (x @ [1.0, -0.5, 0.4]) ** 2 + 0.5 * RNG.normal(size=60)
    start = {"u": np.array(1.0), "w": np.array([1.0, -0.4, 0.3])}
    return sgdvi.find_symmetries(squared, start, data, key=jax.random.key(0))[0], data


@pytest.mark.parametrize("gamma", [pytest.param(0.0, marks=pytest.mark.slow), 0.05])
def test_other_exponents_come_to_rest_where_it_is_predicted(quartic: Any, gamma: float) -> None:
    """u (w.x)^2, exponents 2 and -1: the place on the orbit, log(u^2/|w|^2)/6 up to a constant, within 0.02."""
    symmetry, data = quartic
    rate = 0.002
    predicted = symmetry.equilibrium(rate, gamma, learning_rate=rate)
    end = predicted.params
    aim = np.log(float(end["u"]) ** 2 / float(end["w"] @ end["w"])) / 6
    assert predicted.norm_ratio == pytest.approx(float(end["u"]) ** 2 / float(end["w"] @ end["w"]))
    # the noise of both sides balances there, to rounding
    noise = sgdvi.gradient_noise(squared, end, data)
    pulls = [
        rate * np.sum(v) - 4 * gamma * np.sum(q**2) for v, q in zip(noise.variance, (end["u"], end["w"]), strict=True)
    ]
    assert 2 * pulls[0] == pytest.approx(pulls[1], abs=1e-9 * rate * np.sum(noise.variance[0]))
    # from elsewhere on the orbit
    start = symmetry.transform(end, np.exp(0.15))
    steps = int(6 * predicted.relaxation_steps)
    seen, error = sgd(squared, start, data, rate, steps, lambda p: jnp.log(p["u"] ** 2 / (p["w"] @ p["w"])) / 6, gamma)
    assert abs(seen - aim) < 0.02 + 3 * error
    assert abs(seen - (aim + 0.15)) > 0.08


def test_a_matrix_family_comes_to_rest_at_the_geometric_mean() -> None:
    x = RNG.normal(size=(100, 4))
    data = x, x @ RNG.normal(size=(4, 3)) + RNG.normal(size=(100, 3))

    def loss(params: Any, batch: Any) -> Any:
        return ((batch[0] @ params["W"].T @ params["U"].T - batch[1]) ** 2).sum(-1)

    start = {"U": RNG.normal(size=(3, 2)) * 3, "W": RNG.normal(size=(2, 4)) * 0.3}
    found = sgdvi.find_symmetries(loss, start, data, key=jax.random.key(0))
    (family,) = found.families
    gamma, rate = 0.05, 0.005
    predicted = found.equilibrium(rate, gamma, learning_rate=rate)
    u, w = predicted.params["U"], predicted.params["W"]
    # by the formula itself: R = Q where P = I, of the noise and the decay
    error = data[0] @ w.T @ u.T - data[1]
    of_u = 2 * np.einsum("ni,na->nia", error, data[0] @ w.T)
    of_w = 2 * np.einsum("na,ni->nai", error @ u, data[0])
    r = np.einsum("nia,nib->ab", of_u - of_u.mean(0), of_u - of_u.mean(0)) / 100
    q = np.einsum("nai,nbi->ab", of_w - of_w.mean(0), of_w - of_w.mean(0)) / 100
    pull = 4 * gamma / rate
    np.testing.assert_allclose(r + pull * w @ w.T, q + pull * u.T @ u, rtol=1e-7)
    minimum = found.equilibrium(rate, gamma, params=predicted.params).params
    np.testing.assert_allclose(minimum["U"], u, rtol=1e-6)
    alone = family.equilibrium(rate, gamma, params=found[0].transform(predicted.params, 3.0))
    np.testing.assert_allclose(alone.params["U"] @ alone.params["U"].T, u @ u.T, rtol=1e-6)
    off = found[0].transform(predicted.params, 1.3)
    seen, error = sgd(loss, off, data, rate, 6000, lambda p: p["U"].T @ p["U"], gamma)
    np.testing.assert_allclose(np.diag(seen), np.diag(u.T @ u), rtol=0.04)
    assert abs(float(off["U"][:, 0] @ off["U"][:, 0]) / float(u[:, 0] @ u[:, 0]) - 1) > 0.5


def test_a_scale_invariance_with_decay_has_its_radius() -> None:
    """c* = sqrt(T kappa / 4 gamma), and 8 gamma is the rate of coming there."""
    x = RNG.normal(size=(80, 3))
    data = x, np.sign(x @ [1.0, 0.5, -0.2] + 0.8 * RNG.normal(size=80))

    def loss(params: Any, batch: Any) -> Any:
        w = params["w"]
        return (batch[0] @ w / jnp.sqrt(w @ w) - batch[1]) ** 2

    (symmetry,) = sgdvi.find_symmetries(loss, {"w": np.array([1.0, 0.4, 0.1])}, data, key=jax.random.key(0))
    gamma, rate = 0.02, 0.05
    predicted = symmetry.equilibrium(rate, gamma, learning_rate=rate)
    w = predicted.params["w"]
    kappa = (w @ w) * sum(np.sum(v) for v in sgdvi.gradient_noise(loss, predicted.params, data).variance)
    assert predicted.charge == pytest.approx(np.sqrt(rate * kappa / (4 * gamma)), rel=1e-9)
    assert predicted.charge == pytest.approx(w @ w, rel=1e-12)
    assert predicted.relaxation_steps == pytest.approx(1 / (8 * gamma * rate), rel=1e-9)
    assert "steps to come there" in str(predicted)
    seen, error = sgd(loss, {"w": 1.3 * w}, data, rate, 3000, lambda p: p["w"] @ p["w"], gamma)
    assert seen == pytest.approx(predicted.charge, rel=0.12)
    with pytest.raises(sgdvi.InputError, match="the orbit must have a point at rest"):
        symmetry.equilibrium(rate)


def test_chains_of_layers_come_to_rest_together() -> None:
    """u w z x: two scalings share w, and all three sides pull alike at rest."""
    x = RNG.normal(size=50)
    data = x, 1.5 * x + RNG.normal(size=50)

    def loss(params: Any, batch: Any) -> Any:
        return (params["u"] * params["w"] * params["z"] * batch[0] - batch[1]) ** 2

    found = sgdvi.find_symmetries(loss, {"u": 3.0, "w": 0.5, "z": 1.2}, data, key=jax.random.key(0))
    assert len(found) == 2
    end = found.equilibrium(0.01).params
    size = float(end["u"] * end["w"] * end["z"]) ** (1 / 3)
    np.testing.assert_allclose([float(end[name]) for name in "uwz"], size, rtol=1e-8)
    np.testing.assert_allclose(found.equilibrium(0.01).charge, 0, atol=1e-8)


def test_adam_rests_where_square_roots_of_its_second_moments_balance() -> None:
    """u w.x, Adam at 0.02, from its own state: sums of roots within 5 %, sums of squares a factor apart."""
    x = np.random.default_rng(0).normal(size=(60, 3)) * [1.0, 0.7, 0.4]
    y = x @ [1.0, -0.6, 0.5] + 0.5 * np.random.default_rng(1).normal(size=60)

    def loss(params: Any, batch: Any) -> Any:
        return (params["u"] * (batch[0] @ params["w"]) - batch[1]) ** 2

    start = {"u": np.array(2.0), "w": np.array([0.4, -0.2, 0.1])}
    (symmetry,) = sgdvi.find_symmetries(loss, start, (x, y), key=jax.random.key(0))
    optimizer, data = optax.adam(0.02), (jnp.asarray(x), jnp.asarray(y))

    def step(carry: Any, row: jax.Array) -> Any:
        params, state = carry
        slope = jax.grad(lambda p: loss(p, (data[0][row], data[1][row])).mean())(params)
        updates, state = optimizer.update(slope, state)
        return (optax.apply_updates(params, updates), state), None

    def chain(rows: jax.Array) -> Any:
        begin = jax.tree.map(jnp.asarray, start)
        return jax.lax.scan(step, (begin, optimizer.init(begin)), rows)[0][1][0].nu

    ends = jax.jit(jax.vmap(chain))(np.random.default_rng(2).integers(0, 60, (32, 40_000, 1)))
    moments = [jax.tree.map(lambda leaf, k=k: np.asarray(leaf[k]), ends) for k in range(32)]
    above, below = np.array([symmetry.adam_terms(each) for each in moments]).T
    assert np.mean(above / below) == pytest.approx(1, abs=0.06)
    squares = [float(each["u"]) / each["w"].sum() for each in moments]
    assert np.mean(squares) > 2
    with pytest.raises(sgdvi.InputError, match="at least 0"):
        symmetry.adam_terms({"u": -1.0, "w": np.zeros(3)})


@pytest.mark.slow
def test_balance_shows_predicted_beside_measured() -> None:
    x = np.linspace(-1.0, 2.0, 20)
    loss = sgdvi.Loss(lambda p, batch: (p["u"] * p["w"] * batch[0] - batch[1]) ** 2, {"u": 2.0, "w": 0.5})
    found = sgdvi.balance(loss, (x, 2 * x + np.cos(5 * x)), learning_rate=0.05, batch_size=2, num_steps=4000)
    (row,) = found.table()
    assert row["norm_ratio_rest"] == pytest.approx(1, rel=1e-6)
    assert abs(row["norm_ratio"] - 1) < 0.02 + 4 * row["norm_ratio_error"]
    text = str(found)
    assert "at rest, from one minimum" in text
    assert "steps to it" in text
    assert 10 < row["relaxation_steps"] < 4000


def test_a_direction_that_a_family_hardly_uses_is_balanced_too() -> None:
    """Noise in the second of two directions 1e-5 of that in the first, on both sides, mixed by a rotation."""
    rng = np.random.default_rng(0)
    mix = np.array([[0.8, -0.6], [0.6, 0.8]]) * [1.0, 1e-5]
    gradients = [np.einsum("ab,nbe->nae", mix, rng.normal(size=(40, 2, 3))) for _ in range(2)]
    leaves = [rng.normal(size=(2, 3)), rng.normal(size=(2, 3))]
    family = [[Group(0, "u", (row, None), 1.0), Group(1, "w", (row, None), -1.0)] for row in range(2)]
    assert _balance_family(leaves, gradients, family, 0.0) > 0.01
    above, below = (np.einsum("nae,nbe->ab", each, each) for each in gradients)
    weak = np.linalg.eigh(above)[1][:, 0]
    assert weak @ below @ weak == pytest.approx(weak @ above @ weak, rel=1e-4)
    np.testing.assert_allclose(above, below, rtol=1e-8)
    with pytest.raises(sgdvi.InputError, match="noise on both sides"):
        _balance_family(leaves, [gradients[0], np.zeros_like(gradients[1])], family, 0.0)

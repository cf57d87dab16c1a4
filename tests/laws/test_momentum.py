"""Momentum near a minimum: closed forms against recursions, against the doubled matrix equation, and against SGD."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import sgdvi
from sgdvi.laws.momentum import Momentum, momentum_variance
from sgdvi.laws.near_minimum import NearMinimum

RNG = np.random.default_rng(5)
N, S = 60, 4
X = RNG.normal(size=(N, 3)) * [1.0, 0.5, 0.2]
RESIDUAL = RNG.normal(size=N)
RESIDUAL -= X @ np.linalg.lstsq(X, RESIDUAL, rcond=None)[0]
ROWS = X[:, :, None] * X[:, None, :]
HESSIAN = ROWS.mean(0)
GRADIENTS = X * RESIDUAL[:, None]
NEAR = NearMinimum(HESSIAN, GRADIENTS.T @ GRADIENTS / N, N, ROWS)
KINDS = [Momentum(0.0), Momentum(0.5), Momentum(0.9), Momentum(0.5, nesterov=True), Momentum(0.95, nesterov=True)]


def response_in_time(memory: Momentum, a: float, steps: int = 3000) -> np.ndarray:
    """Iterates after one unit of gradient noise, rate 1."""
    place, velocity, noise, path = 0.0, 0.0, 1.0, []
    for _ in range(steps):
        gradient = a * place + noise
        velocity, noise = memory.mu * velocity + gradient, 0.0
        place -= gradient + memory.mu * velocity if memory.nesterov else velocity
        path.append(place)
    return np.array(path)


@pytest.mark.parametrize("memory", KINDS)
@pytest.mark.parametrize("pair", [(0.1, 0.3), (0.05, 0.9), (0.02, 0.02)])
def test_the_response_is_that_of_the_recursion(memory: Momentum, pair: tuple[float, float]) -> None:
    one, two = (response_in_time(memory, a) for a in pair)
    assert memory.response(np.array(pair))[0, 1] == pytest.approx(one @ two, rel=1e-10)


@pytest.mark.parametrize("memory", KINDS)
def test_slow_directions_lose_no_digits(memory: Momentum) -> None:
    """To first order in a, response = 1/((1 - mu) (a + b))."""
    small = memory.response(np.array([1e-13, 3e-13]))[0, 1]
    assert small == pytest.approx(memory.gain / 4e-13, rel=1e-9)
    assert memory.decay(np.array([1e-13]))[0] == pytest.approx(memory.gain * 1e-13, rel=1e-9)


def doubled(memory: Momentum, rate: float, hessian: np.ndarray) -> np.ndarray:
    """The step of (theta, r) at one Hessian, (6, 6)."""
    one, mu = np.eye(3), memory.mu
    if memory.nesterov:
        return np.block([[one - rate * (1 + mu) * hessian, -rate * mu**2 * one], [hessian, mu * one]])
    return np.block([[one - rate * hessian, -rate * mu * one], [hessian, mu * one]])


@pytest.mark.parametrize("memory", KINDS)
@pytest.mark.parametrize("rate", [0.01, 0.3])
def test_covariance_solves_the_equation_of_positions_and_velocities(memory: Momentum, rate: float) -> None:
    mean = doubled(memory, rate, HESSIAN)
    apart = np.array([doubled(memory, rate, row) - mean for row in ROWS])
    operator = np.kron(mean, mean) + np.einsum("nij,nkl->ikjl", apart, apart).reshape(36, 36) / N / S
    gain = -rate * (1 + memory.mu if memory.nesterov else 1.0)
    push = np.vstack([gain * np.eye(3), np.eye(3)])
    forced = push @ (GRADIENTS.T @ GRADIENTS / N) @ push.T / S
    want = np.linalg.solve(np.eye(36) - operator, forced.ravel()).reshape(6, 6)[:3, :3]
    got = NEAR.covariance(rate * np.eye(3), 1 / S, memory=memory)
    np.testing.assert_allclose(got, want, rtol=1e-8)
    limit = rate * NEAR.limit(rate * np.eye(3), 1 / S, memory)
    mean = doubled(memory, limit, HESSIAN)
    apart = np.array([doubled(memory, limit, row) - mean for row in ROWS])
    operator = np.kron(mean, mean) + np.einsum("nij,nkl->ikjl", apart, apart).reshape(36, 36) / N / S
    assert np.abs(np.linalg.eigvals(operator)).max() == pytest.approx(1, abs=1e-5)
    assert NEAR.slowest(rate * np.eye(3), memory) == pytest.approx(
        1 - np.abs(np.linalg.eigvals(doubled(memory, rate, HESSIAN))).max()
        if memory
        else rate * np.linalg.eigvalsh(HESSIAN)[0]
    )


@pytest.mark.parametrize("nesterov", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_sgd_with_momentum_has_the_covariance(nesterov: bool) -> None:
    """optax itself; the effective temperature alone is refused. To 2 % in test_within_two_percent.py."""
    rate, mu, chains = 0.15, 0.9, 8_000
    optimizer = optax.sgd(rate, momentum=mu, nesterov=nesterov)
    x, residual = jnp.asarray(X), jnp.asarray(RESIDUAL)

    def step(carry: tuple, key: jax.Array) -> tuple:
        theta, state = carry
        rows = jax.random.randint(key, (chains, S), 0, N)
        error = jnp.einsum("cbd,cd->cb", x[rows], theta) - residual[rows]
        updates, state = optimizer.update(jnp.einsum("cb,cbd->cd", error, x[rows]) / S, state)
        return (theta + updates, state), None

    start = jnp.zeros((chains, 3))
    keys = jax.random.split(jax.random.key(3), 250)
    theta = np.asarray(jax.jit(lambda c: jax.lax.scan(step, c, keys)[0][0])((start, optimizer.init(start))), float)
    products = theta[:, :, None] * theta[:, None, :]
    error = products.std(0) / np.sqrt(chains)
    want = NEAR.covariance(rate * np.eye(3), 1 / S, memory=Momentum(mu, nesterov))
    assert want is not None
    assert (np.abs(products.mean(0) - want) < 4.5 * error).all(), (products.mean(0) / want, error / want)
    plain = NEAR.covariance(rate / (1 - mu) * np.eye(3), 1 / S)
    assert plain is None or (np.abs(products.mean(0) - plain) > 10 * error).any()


def test_linear_regression_in_closed_form() -> None:
    x = RNG.normal(size=40)
    y, gamma, rate = 0.7 * x + RNG.normal(size=40), 0.1, 0.02
    moments, mu = sgdvi.Moments.from_data(x, y), 0.8
    b = moments.beta1 + gamma
    v = moments.beta2 / b
    g = moments.alpha1 * v**2 - 2 * moments.alpha2 * v + moments.alpha3
    heat = rate / (2 * (1 - mu))
    want = heat * g / (b * (1 - rate * b / (1 + mu)) - heat * moments.alpha1)
    assert momentum_variance(moments, rate, 2, momentum=mu, weight_decay=gamma) == pytest.approx(want, rel=1e-12)
    rows = 2 * (x**2 + gamma)[:, None, None]
    near = NearMinimum(rows.mean(0), np.array([[4 * g]]), 40, rows)
    for memory in KINDS:
        got = momentum_variance(moments, rate, 2, momentum=memory.mu, nesterov=memory.nesterov, weight_decay=gamma)
        covariance = near.covariance(np.array([[rate]]), 0.5, memory=memory)
        assert covariance is not None
        assert got == pytest.approx(covariance[0, 0], rel=1e-10)


def test_nesterov_is_colder_than_its_temperature_where_steps_are_not_small() -> None:
    """Rate 0.01, mu = 0.99, h = 1.5: the response to noise is 2.4 times less than T_e says."""
    memory = Momentum(0.99, nesterov=True)
    ratio = memory.response(np.array([0.015]))[0, 0] / (memory.gain / (2 * 0.015))
    assert 1 / ratio == pytest.approx(2.4, abs=0.01)


@pytest.mark.parametrize("nesterov", [False, True])
def test_charges_move_by_the_exact_identity(nesterov: bool) -> None:
    x, y = RNG.normal(size=(30, 2)), RNG.normal(size=30)

    def loss(params: dict, batch: tuple) -> jax.Array:
        fit = (batch[0] @ params["w"] * params["u"] - batch[1]) ** 2
        return fit + 0.03 * (params["w"] @ params["w"] + params["u"] ** 2)

    with jax.enable_x64(True):
        params = {"u": jnp.asarray(2.0), "w": jnp.asarray([0.3, 0.2])}
        symmetry = sgdvi.find_symmetries(loss, params, (x, y), key=jax.random.key(0))[0]
        assert symmetry.weight_decay == pytest.approx(0.03)
        optimizer = optax.sgd(0.03, momentum=0.9, nesterov=nesterov)
        state = optimizer.init(params)
        for _ in range(20):
            rows = RNG.integers(30, size=3)
            gradient = jax.grad(lambda p, rows=rows: loss(p, (x[rows], y[rows])).mean())(params)
            want = symmetry.next_charge(
                params, gradient, 0.03, velocity=state[0].trace, momentum=0.9, nesterov=nesterov
            )
            updates, state = optimizer.update(gradient, state, params)
            params = optax.apply_updates(params, updates)
            assert symmetry.charge(params) == pytest.approx(want, rel=1e-12)
        with pytest.raises(sgdvi.InputError, match="momentum goes with the velocity"):
            symmetry.next_charge(params, gradient, 0.03, momentum=0.9)


@pytest.mark.parametrize("memory", [Momentum(0.8), Momentum(0.8, nesterov=True)])
def test_the_mean_gradient_moves_charges_by_its_weight(memory: Momentum) -> None:
    """Without noise, once velocities rest, a charge moves by eta_e^2 slope_gain g'Ag per step, eta_e = eta/(1 - mu)."""
    rate, mu = 1e-5, memory.mu
    optimizer = optax.sgd(rate, momentum=mu, nesterov=memory.nesterov)
    with jax.enable_x64(True):
        params = {"u": jnp.asarray(2.0), "w": jnp.asarray(0.5)}
        state = optimizer.init(params)
        charges = []
        for _ in range(120):
            error = params["u"] * params["w"] - 3.0
            gradient = {"u": error * params["w"], "w": error * params["u"]}
            updates, state = optimizer.update(gradient, state, params)
            params = optax.apply_updates(params, updates)
            charges.append(float(params["u"] ** 2 - params["w"] ** 2))
        pull = float(gradient["u"] ** 2 - gradient["w"] ** 2)
    want = (rate * memory.gain) ** 2 * memory.slope_gain * pull
    assert charges[-1] - charges[-2] == pytest.approx(want, rel=0.01)
    assert memory.slope_gain == pytest.approx(9.0 if not memory.nesterov else (1 - mu + 2 * mu**2) / (1 - mu))


@pytest.mark.parametrize("mu", [1.0, -0.1, np.nan])
def test_momenta_that_are_none(mu: float) -> None:
    with pytest.raises(sgdvi.InputError, match="momentum must be"):
        Momentum(mu)
    with pytest.raises(sgdvi.InputError, match="variance must shrink"):
        momentum_variance(sgdvi.Moments.linear(slope=1.0, noise=1.0), 5.0, 1, momentum=0.5)

"""Reshuffled epochs near a minimum: closed forms, all orders of few rows, and SGD over epochs."""

import itertools
import math

import numpy as np
import pytest

import sgdvi
from sgdvi.laws.epochs import epoch_law
from sgdvi.laws.near_minimum import NearMinimum

RNG = np.random.default_rng(7)


def regression(count: int, scales: list[float]) -> tuple[NearMinimum, np.ndarray, np.ndarray]:
    """Linear regression at its minimum: laws, gradients (N, D) and Hessians (N, D, D) of the rows."""
    x = RNG.normal(size=(count, len(scales))) * scales
    residual = RNG.normal(size=count)
    residual -= x @ np.linalg.lstsq(x, residual, rcond=None)[0]
    rows, gradients = x[:, :, None] * x[:, None, :], -x * residual[:, None]
    return NearMinimum(rows.mean(0), gradients.T @ gradients / count, count, rows), gradients, rows


def all_orders(gradients: np.ndarray, rows: np.ndarray, rate: float, size: int) -> tuple[np.ndarray, ...]:
    """Mean and covariances of one parameter by every order of the rows, exactly."""
    count, length = len(gradients), len(gradients) // size
    p, q = np.ones((math.factorial(count), length + 1)), np.zeros((math.factorial(count), length + 1))
    for number, order in enumerate(itertools.permutations(range(count))):
        for place in range(length):
            batch = list(order[place * size : (place + 1) * size])
            keep = 1 - rate * rows[batch, 0, 0].mean()
            p[number, place + 1] = keep * p[number, place]
            q[number, place + 1] = keep * q[number, place] - rate * gradients[batch, 0].mean()
    ep, eq = p.mean(0), q.mean(0)
    mean = eq[-1] / (1 - ep[-1])
    second = ((q[:, -1] ** 2).mean() + 2 * mean * (p[:, -1] * q[:, -1]).mean()) / (1 - (p[:, -1] ** 2).mean())
    means = ep * mean + eq
    seconds = (p**2).mean(0) * second + 2 * mean * (p * q).mean(0) + (q**2).mean(0)
    return mean, second - mean**2, seconds[1:].mean() - means[1:].mean() ** 2


@pytest.mark.parametrize(("count", "size", "rate"), [(6, 1, 0.1), (6, 2, 0.4), (7, 2, 0.4)])
def test_it_is_the_mean_over_all_orders(count: int, size: int, rate: float) -> None:
    near, gradients, rows = regression(count, [1.0])
    law = epoch_law(near, np.array([[rate]]), size, gradients, rows)
    assert law is not None
    mean, ends, steps = all_orders(gradients, rows, rate, size)
    assert law.ends[0, 0] == pytest.approx(ends, rel=0.02)
    assert law.steps[0, 0] == pytest.approx(steps, rel=0.02)
    assert law.bias[0] == pytest.approx(mean, abs=0.02 * abs(mean) + 0.01 * np.sqrt(ends))


@pytest.mark.parametrize(("count", "size", "rate"), [(6, 1, 0.3), (6, 2, 1.2), (7, 2, 0.01)])
def test_one_hessian_for_all_rows_is_exact(count: int, size: int, rate: float) -> None:
    gradients, rows = RNG.normal(size=(count, 1)), np.ones((count, 1, 1))
    gradients -= gradients.mean(0)
    near = NearMinimum(np.eye(1), gradients.T @ gradients / count, count)
    law = epoch_law(near, np.array([[rate]]), size)
    assert law is not None
    _, ends, steps = all_orders(gradients, rows, rate, size)
    np.testing.assert_allclose([law.ends[0, 0], law.steps[0, 0]], [ends, steps], rtol=1e-10)


@pytest.mark.parametrize("kappa", [1e-5, 0.9, 3.0])
def test_many_rows_have_the_closed_form(kappa: float) -> None:
    count = 20_000
    law = epoch_law(NearMinimum(np.eye(1), np.eye(1), count), kappa / count * np.eye(1), 1)
    assert law is not None
    ends, steps = law.ratios
    small = kappa < 1e-3
    want_ends = kappa**2 / 12 if small else 1 - 2 / kappa * np.tanh(kappa / 2)
    want_steps = kappa / 3 if small else 1 - 2 / kappa + 2 * (1 - np.exp(-kappa)) / kappa**2
    assert ends[0] == pytest.approx(want_ends, rel=2e-3)
    assert steps[0] == pytest.approx(want_steps, rel=2e-3)


def test_sgd_over_epochs_has_the_law_in_every_direction() -> None:
    near, gradients, rows = regression(32, [1.0, 0.5])
    rate, size, chains = 0.25, 4, 12_000
    law = epoch_law(near, rate * np.eye(2), size, gradients, rows)
    assert law is not None
    rng, theta = np.random.default_rng(1), np.zeros((chains, 2))
    places = np.tile(np.arange(32), (chains, 1))
    for epoch in range(30):
        order, seconds, means = rng.permuted(places, axis=1), np.zeros((2, 2)), np.zeros(2)
        for place in range(8):
            batch = order[:, place * size : (place + 1) * size]
            pull = np.einsum("cbij,cj->ci", rows[batch], theta) / size + gradients[batch].mean(axis=1)
            theta = theta - rate * pull
            if epoch == 29:
                seconds, means = seconds + theta.T @ theta / chains / 8, means + theta.mean(0) / 8
    error = np.sqrt(2 / chains)
    scale = np.sqrt(np.outer(np.diag(law.ends), np.diag(law.ends)))
    assert (np.abs(np.cov(theta.T) - law.ends) < (4 * error + 0.01) * scale).all(), np.cov(theta.T) / law.ends
    seen = seconds - np.outer(means, means)
    np.testing.assert_allclose(np.diag(seen), np.diag(law.steps), rtol=4 * error + 0.01)
    assert (np.abs(theta.mean(0) - law.bias) < 4 * np.sqrt(np.diag(law.ends) / chains)).all()
    # without the rows' own Hessians it is not this law
    rough = epoch_law(near, rate * np.eye(2), size)
    assert rough is not None
    assert not rough.exact
    assert (np.abs(np.diag(rough.ends) / np.diag(np.cov(theta.T)) - 1) > 0.05).any()
    assert "one draw per epoch" in str(law)


def test_averages_of_iterates() -> None:
    near, *_ = regression(40, [1.0, 0.3])
    step, share = 0.2 * np.eye(2), 0.25
    sigma = near.covariance(step, share)
    keep = np.eye(2) - step @ near.hessian
    assert sigma is not None
    count = 7
    want = sum(
        sigma @ np.linalg.matrix_power(keep, j - i).T if j > i else np.linalg.matrix_power(keep, i - j) @ sigma
        for i in range(count)
        for j in range(count)
    )
    np.testing.assert_allclose(near.average(step, share, count), want / count**2, rtol=1e-9)


def test_one_draw_per_epoch_is_warned_of() -> None:
    loss = sgdvi.Loss(lambda params, y: (y - params["m"]) ** 2 / 2, {"m": 0.0})
    sampler = sgdvi.SGD(loss, learning_rate=0.1, batch_size=2, batching="epochs")
    with pytest.warns(UserWarning, match=r"One draw per epoch of 5 steps.*no multiple of 5"):
        sampler.check_run(11, 100, 0, 10)
    sampler.check_run(11, 100, 0, 3)
    with pytest.raises(sgdvi.InputError, match="batch_size must be below N = 6"):
        epoch_law(NearMinimum(np.eye(1), np.eye(1), 6), np.eye(1), 6)

"""The two figures of the paper: the charge under three kinds of descent, and a ReLU network that comes to balance."""

import jax
import numpy as np
import pytest

import sgdvi
from sgdvi.symmetry import find_symmetries

rng = np.random.default_rng(11)
X = rng.normal(size=100)
Y = X + rng.normal(size=100)
M = sgdvi.Moments.from_data(X, Y)
RATE, STEPS, CHAINS = 0.01, 2000, 400
U, W = 1.4, 0.5


def descend(kind: str, rate: float = RATE, heat: float = RATE, steps: int = STEPS) -> tuple[np.ndarray, np.ndarray]:
    """Charge u^2 - w^2 and v along the loss (u w x - y)^2, shape (steps + 1, chains)."""
    draw = np.random.default_rng(3)
    u, w = np.full(CHAINS, U), np.full(CHAINS, W)
    charge, product = [u**2 - w**2], [u * w]
    for _ in range(steps):
        if kind == "SGD":
            row = draw.integers(100, size=CHAINS)
            slope = 2 * X[row] * (u * w * X[row] - Y[row])
        else:
            slope = 2 * (float(M.beta1) * u * w - float(M.beta2))
        du, dw = -rate * slope * w, -rate * slope * u
        if kind == "injected":
            size = np.sqrt(2 * heat * rate)
            du, dw = du + size * draw.normal(size=CHAINS), dw + size * draw.normal(size=CHAINS)
        u, w = u + du, w + dw
        charge.append(u**2 - w**2)
        product.append(u * w)
    return np.array(charge), np.array(product)


def test_gradient_descent_conserves_the_charge() -> None:
    """What is lost is of first order in the step, and all of it in the transient."""
    lost = []
    for rate in (RATE, RATE / 4):
        charge, _ = descend("GD", rate, steps=int(20 / rate))
        lost.append(float(abs(charge[-1] / charge[0] - 1).max()))
    assert lost[0] < 0.03
    assert lost[1] == pytest.approx(lost[0] / 4, rel=0.1)


def test_sgd_balances_at_the_predicted_rate() -> None:
    """Without averages of gradients the charge falls by exactly 1 - (eta slope)^2 at each step."""
    charge, v = descend("SGD")
    fall = np.log(charge[0] / charge[-1])
    # log(1 - (eta s)^2) summed along each run, its mean over rows at each v: the prediction
    squares = 4 * ((X[:, None] * (v[:-1].ravel()[None, ::50] * X[:, None] - Y[:, None])) ** 2)
    assert np.all(charge > 0)  # never through zero
    predicted = -np.log1p(-(RATE**2) * squares).mean() * STEPS
    error = fall.std() / np.sqrt(CHAINS)
    assert abs(fall.mean() - predicted) < 5 * error + 0.01 * predicted
    # at least as fast as the smallest noise allows (batch 1: T = eta)
    low = 4 * RATE * float(M.alpha3 - M.alpha2**2 / M.alpha1)
    assert fall.mean() > low * RATE * STEPS
    assert charge[-1].mean() < 0.7 * charge[0].mean()


def test_injected_noise_diffuses_along_the_orbit() -> None:
    """dc = 2 sqrt(2 tau) (u dW - w dW'): the charge is a martingale whose variance grows by 8 tau (u^2 + w^2)."""
    draw_steps = 1000
    charge, v = descend("injected", steps=draw_steps)
    moved = charge[-1] - descend("GD", steps=draw_steps)[0][-1]
    spread = moved.std() / np.sqrt(CHAINS)
    assert abs(moved.mean()) < 5 * spread
    # u^2 + w^2 = sqrt(c^2 + 4 v^2)
    growth = 8 * RATE * RATE * np.sqrt(charge[:-1] ** 2 + 4 * v[:-1] ** 2).sum(0)
    assert moved.var() == pytest.approx(growth.mean(), rel=5 * np.sqrt(2 / CHAINS))
    half = charge[draw_steps // 2].std()
    assert charge[-1].std() > 1.2 * half  # no contraction: SGD at the same temperature has one
    assert descend("SGD", steps=draw_steps)[0][-1].std() < 0.5 * charge[-1].std()


@pytest.mark.slow
def test_a_relu_network_balances_its_noise_and_nearly_its_norms() -> None:
    """20-d-20 on x ~ N(0, I), y = x + noise, from norms that are ten times too large on one side and more."""
    draw, rows, width = np.random.default_rng(0), 1000, 200
    x = draw.normal(size=(rows, 20))
    y = x + draw.normal(size=(rows, 20))
    params = {
        "w": 2 * draw.normal(size=(20, width)) / np.sqrt(20),
        "u": draw.normal(size=(width, 20)) / np.sqrt(width),
    }
    loss = sgdvi.Loss(lambda p, b: ((jax.nn.relu(b[0] @ p["w"]) @ p["u"] - b[1]) ** 2).sum(-1), params)
    symmetries = find_symmetries(loss, None, (x, y), key=jax.random.key(0))
    assert len(symmetries) == width
    found = sgdvi.balance(
        loss, (x, y), learning_rate=0.004, batch_size=2, num_steps=20_000, num_chains=2, points=24,
        symmetries=symmetries,
    )  # fmt: skip
    assert np.abs(found.drift.z).max() < 5
    one, two = found.measured.terms
    apart = (one - two) / (one + two)
    norms = found.measured.norms[0] / found.measured.norms[1]
    ratio = np.where(np.median(norms[:, :, 0]) < 1, norms, 1 / norms)
    assert np.median(ratio[:, :, 0]) < 0.15
    assert np.median(np.abs(apart[:, :, 0])) > 0.7
    # noise: balanced, neuron by neuron; what is left of each shrinks with averaging over points and chains
    late = apart[:, :, -3:]
    assert np.median(np.abs(late[:, :, -1])) < 0.06
    assert np.median(np.abs(late.mean((1, 2)))) < np.median(np.abs(late[:, :, -1]))
    # norms: approximately, with a spread over neurons that the noise does not have
    final = ratio[:, :, -1]
    assert 0.85 < np.median(final) < 1.15
    assert np.quantile(np.abs(np.log(final)), 0.95) < 0.4

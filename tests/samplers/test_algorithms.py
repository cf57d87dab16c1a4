"""Every algorithm against the exact law of its discrete chain, on a loss that is quadratic with constant noise."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from quadratic_model import BEST, COVARIANCE, CURVATURE, NOISE, ROWS, SD, N, S, model

import sgdvi
from sgdvi.samplers.algorithms import _settings


def draw(sampler: sgdvi.Sampler, **options: Any) -> np.ndarray:
    settings: dict[str, Any] = {"num_steps": 1, "num_warmup": 60, "num_chains": 4000, "init": {"theta": BEST}}
    tree = sgdvi.sample(sampler, ROWS, key=jax.random.key(1), progress=False, **(settings | options))
    assert (tree["chain_status"]["status"] == "ok").all()
    return tree["posterior"]["theta"].values


def deviation(draws: np.ndarray, covariance: np.ndarray, mean: np.ndarray = BEST) -> np.ndarray:
    """How far mean and covariance are from the exact ones, in standard errors; chains are independent."""
    centred = draws - mean
    products = (centred[..., None] * centred[..., None, :]).mean(1)
    first = centred.mean(1)
    of_mean = first.mean(0) / (first.std(0) / np.sqrt(len(first)))
    return np.append(of_mean, (products.mean(0) - covariance) / (products.std(0) / np.sqrt(len(products))))


def stationary(rate: np.ndarray, injected: np.ndarray) -> np.ndarray:
    """Covariance of z' = (1 - rate h) z + rate noise + injected noise, each direction with its rate."""
    shrink = 1 - rate * CURVATURE
    return (np.outer(rate, rate) * NOISE + np.diag(injected)) / (1 - np.outer(shrink, shrink))


@pytest.mark.parametrize("heat", [1.0, pytest.param(0.3, marks=pytest.mark.slow)])
def test_sgld(heat: float) -> None:
    rate = np.full(2, 0.2)
    draws = draw(sgdvi.SGLD(model, 0.2, S, temperature=heat), num_steps=160, thinning=20, num_chains=2500)
    assert np.abs(deviation(draws, stationary(rate, 2 * rate * heat / N))).max() < 5
    # the test has power: it sees the continuous-time covariance, and a temperature that is wrong by half
    assert np.abs(deviation(draws, np.diag(heat / N / CURVATURE))).max() > 5
    assert np.abs(deviation(draws, stationary(rate, 3 * rate * heat / N))).max() > 5


@pytest.mark.slow
def test_preconditioned_sgld() -> None:
    """With decay 1 the preconditioner settles where E g^2 = h^2 Var z + noise."""
    sampler = sgdvi.PreconditionedSGLD(model, 0.3, S, decay=1.0, damping=0.5)
    draws = draw(sampler, num_warmup=3000, num_steps=300, thinning=30, num_chains=1000)
    variance = 1 / N / CURVATURE
    for _ in range(100):
        rate = 0.3 / (0.5 + np.sqrt(CURVATURE**2 * variance + np.diag(NOISE)))
        variance = np.diag(stationary(rate, 2 * rate / N))
    assert rate[0] / rate[1] > 1.3
    assert np.abs(deviation(draws, stationary(rate, 2 * rate / N))).max() < 5
    assert np.abs(deviation(draws, stationary(rate[::-1], 2 * rate[::-1] / N))).max() > 5


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the sampling part")
@pytest.mark.parametrize("friction", [1.0, 0.3])
def test_cyclical_follows_its_exact_covariance(friction: float) -> None:
    length, steps, start = 40, 110, np.array([0.0, 2.0])
    sampler = sgdvi.CyclicalSGMCMC(model, 0.3, S, cycle_length=length, exploration=0.5, friction=friction)
    tree = sgdvi.sample(
        sampler, ROWS, key=jax.random.key(2), num_steps=steps, num_chains=4000, init={"theta": start}, progress=False
    )
    draws = tree["posterior"]["theta"].values
    part = np.arange(steps) % length / length
    np.testing.assert_array_equal(tree["sample_stats"]["sampling"][0], part >= 0.5)
    rates = 0.15 * (1 + np.cos(np.pi * part))
    np.testing.assert_allclose(tree["sample_stats"]["learning_rate"][0], rates, rtol=1e-5)
    mean, covariance = np.append(start - BEST, [0, 0]), np.zeros((4, 4))
    h = np.diag(CURVATURE)
    for t, rate in enumerate(rates):
        velocity = np.hstack([-rate * h, (1 - friction) * np.eye(2)])
        move = np.vstack([np.hstack([np.eye(2), np.zeros((2, 2))]) + velocity, velocity])
        spread = rate**2 * NOISE + (part[t] >= 0.5) * 2 * friction * rate / N * np.eye(2)
        mean, covariance = move @ mean, move @ covariance @ move.T + np.tile(spread, (2, 2))
        if t in (1, 15, 25, 39, 41, 79, 109):
            own = mean[:2]
            found = deviation(draws[:, t : t + 1], covariance[:2, :2] + 0 * np.outer(own, own), BEST + own)
            assert np.abs(found).max() < 5, t
    assert np.abs(deviation(draws[:, 79:80], 1.15 * covariance[:2, :2])).max() > 3


def averages(rate: float, window: int) -> np.ndarray:
    """Covariance of the mean of `window` successive iterates of stationary SGD."""
    shrink, own = 1 - rate * CURVATURE, stationary(np.full(2, rate), np.zeros(2))
    lags = np.arange(1, window)
    one_way = np.array([((window - lags) * s**lags).sum() for s in shrink])
    return own / window**2 * (window + one_way[:, None] + one_way[None, :])


@pytest.mark.parametrize("rate", [0.5, pytest.param(0.15, marks=pytest.mark.slow)])
def test_averages_over_windows(rate: float) -> None:
    window = 60
    sampler = sgdvi.IterateAverage(sgdvi.SGD(model, learning_rate=rate, batch_size=S), window)
    draws = draw(sampler, num_warmup=90, num_steps=3 * window, thinning=window)
    # windows count from the first step: the draws are those of steps 61-120, 121-180 and 181-240
    assert np.abs(deviation(draws, averages(rate, window))).max() < 5
    assert np.abs(deviation(draws, averages(rate, window + 6))).max() > 3
    # Mandt, Hoffman and Blei: A^-1 C A^-1 / (S W), whatever the rate
    sandwich = COVARIANCE / np.outer(CURVATURE, CURVATURE) / (S * window)
    np.testing.assert_allclose(averages(rate, window), sandwich, rtol=0.05 if rate == 0.5 else 0.15)


@pytest.mark.slow
def test_averages_over_an_epoch_are_the_posterior_of_a_well_specified_model() -> None:
    """Rows whose spread is that of the model: A = C, and one epoch gives A^-1 / N."""
    rows = np.array([[a, b] for a in (-1.0, 1.0) for b in (-0.6, 0.6)] * 100)

    def flat(rows: Any) -> None:
        theta = numpyro.sample("theta", dist.Normal(jnp.zeros(2), 1e3).to_event(1))
        with numpyro.plate("data", len(rows)):
            numpyro.sample("rows", dist.Normal(theta, SD).to_event(1), obs=rows)

    tree = sgdvi.sample(
        sgdvi.IterateAverage(sgdvi.SGD(flat, learning_rate=0.3, batch_size=2)), rows, key=jax.random.key(3),
        num_steps=400, num_warmup=100, thinning=200, num_chains=2000, init={"theta": [0.0, 0.0]}, progress=False,
    )  # fmt: skip
    variance = tree["posterior"]["theta"].values[:, 1].var(0)
    np.testing.assert_allclose(variance, SD**2 / len(rows), rtol=5 * np.sqrt(2 / 2000))


@pytest.mark.slow
def test_swag() -> None:
    """Total covariance of the draws over chains, with independent snapshots of a known covariance."""
    snapshots, rank = 8, 3
    sgd = sgdvi.SGD(model, learning_rate=0.5, batch_size=S)
    sampler = sgdvi.SWAG(sgd, burn_in=30, period=20, snapshots=snapshots, rank=rank)
    draws = draw(sampler, num_warmup=30 + 20 * snapshots, num_steps=2, num_chains=6000)
    own = stationary(np.full(2, 0.5), np.zeros(2))
    last = np.arange(snapshots - rank + 1, snapshots + 1)
    columns = own * (1 - 1 / last).sum() / (rank - 1)
    expected = own / snapshots + np.diag(np.diag(own)) * (1 - 1 / snapshots) / 2 + columns / 2
    assert np.abs(deviation(draws, expected)).max() < 5
    assert np.abs(deviation(draws, expected - 0.1 * columns)).max() > 3


def test_a_schedule_and_what_is_said_of_a_step() -> None:
    sampler = sgdvi.SGLD(model, lambda t: 0.1 / (1 + t), None)
    tree = sgdvi.sample(sampler, ROWS, key=jax.random.key(0), num_steps=5, progress=False)
    np.testing.assert_allclose(tree["sample_stats"]["learning_rate"][0], 0.1 / np.arange(1, 6), rtol=1e-6)
    assert tree["posterior"].attrs["kind"] == "sgld"


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: sgdvi.SGLD(model, -0.1), "learning_rate must be a finite number above 0"),
        (lambda: sgdvi.SGLD(model, 0.1, temperature=-1), "temperature must be a finite number of at least 0"),
        (lambda: sgdvi.SGLD(model, lambda: 0.1), "learning_rate must be a number or a function of the number of steps"),
        (lambda: sgdvi.PreconditionedSGLD(model, 0.1, decay=1.5), "decay must be at most 1"),
        (lambda: sgdvi.SGHMC(model, 0.1, friction=2.0), "friction must be at most 1"),
        (lambda: sgdvi.CyclicalSGMCMC(model, 0.1, cycle_length=9, exploration=1.0), "exploration must be below 1"),
        (lambda: sgdvi.IterateAverage(model), "must be the sampler whose iterates are taken"),
        (lambda: sgdvi.SWAG(sgdvi.SGD(model, learning_rate=0.1), burn_in=0, period=1, rank=50), "rank must be at most"),
        (lambda: sgdvi.StochasticGradientFlow(model, 0.1, 0.0), "step_size must be a finite number above 0"),
    ],
)
def test_bad_settings(make: Any, text: str) -> None:
    with pytest.raises(sgdvi.InputError, match=text):
        make()


def test_runs_that_are_too_short() -> None:
    sgd = sgdvi.SGD(model, learning_rate=0.1, batch_size=S)
    with pytest.raises(sgdvi.InputError, match="the window must not be longer than the run: 10 steps; got 9"):
        draw(sgdvi.IterateAverage(sgd), num_steps=9)
    with pytest.raises(sgdvi.InputError, match="thinning must be a multiple of the window of 10 steps; got 15"):
        draw(sgdvi.IterateAverage(sgd), num_steps=30, thinning=15)
    with pytest.raises(sgdvi.InputError, match="the warmup must hold all snapshots.*= 405"):
        draw(sgdvi.SWAG(sgd, burn_in=5, period=10), num_warmup=400)
    with pytest.raises(sgdvi.InputError, match="the run must be at least one cycle long"):
        draw(sgdvi.CyclicalSGMCMC(model, 0.1, cycle_length=100), num_steps=10)
    with pytest.warns(UserWarning, match="sampling part of a cycle is too short: in the flattest direction"):
        draw(sgdvi.CyclicalSGMCMC(model, 0.1, cycle_length=20), num_chains=1)


def test_a_friction_that_is_too_small_is_refused_with_the_largest_rate() -> None:
    """Largest rate: 2 f tau / ((1 - f/2) K N V), with V the largest variance of a minibatch's gradient."""
    friction, moves = 0.2, 6
    largest = 2 * friction / (1 - friction / 2) / (moves * N * np.linalg.eigvalsh(NOISE)[-1])
    settings: dict[str, Any] = {"friction": friction, "num_integration_steps": moves}
    with pytest.raises(sgdvi.InputError, match=f"at most {largest:.2g}.* of minibatches of 4 rows over 6 moves"):
        draw(sgdvi.SGHMC(model, 1.05 * largest, S, **settings))
    draw(sgdvi.SGHMC(model, 0.95 * largest, S, **settings), num_chains=1, num_warmup=0)


def test_without_blackjax(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(_settings.importlib, "import_module", absent)
    with pytest.raises(sgdvi.InputError, match=r"pip install 'sgdvi\[blackjax\]'"):
        sgdvi.SGLD(model, 0.1)

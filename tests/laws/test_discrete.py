import numpy as np
import pytest
import scipy.stats

from sgdvi import InputError, discrete_threshold
from sgdvi.laws import lyapunov_exponent


def gaussian(slope, count=400):
    """x ~ N(0,1), y = slope x + N(0,1) as a product grid of quantiles, close to the population."""
    z = scipy.stats.norm.ppf((np.arange(count) + 0.5) / count)
    x, e = np.meshgrid(z, z)
    return x.ravel(), (slope * x + e).ravel()


@pytest.mark.parametrize(
    ("slope", "batch_size", "want"), [(0.1, 1, 0.0916), (0.2, 1, 0.212), (0.2, 4, np.inf)], ids=str
)
def test_published_thresholds(slope, batch_size, want):
    found = discrete_threshold(*gaussian(slope), batch_size)
    assert found.temperature == pytest.approx(want, rel=0.02)
    assert found.attracts(1.01 * found.lower) == np.isfinite(want)
    assert not found.attracts(0.99 * min(found.lower, 1.0))


@pytest.mark.parametrize("batch_size", [1, 2, 5, 30])
def test_exponent_against_simulation(batch_size):
    rng = np.random.default_rng(batch_size)
    x = rng.normal(size=80)
    y = 0.3 * x + rng.normal(size=80)
    z = (x * y)[rng.integers(0, 80, size=(400_000, batch_size))].mean(1)
    for rate in (0.1, 0.7):
        terms = np.log(np.abs(1 - 2 * rate * 0.05 + 2 * rate * z))
        got = lyapunov_exponent(x, y, rate, batch_size, 0.05)
        assert abs(got - terms.mean()) < 5 * terms.std() / np.sqrt(terms.size)


def test_pairs_exactly():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=40), rng.normal(size=40)
    y *= np.sign((x * y).mean())
    z = (x * y)[:, None] / 2 + (x * y)[None, :] / 2
    want = np.mean(np.log(np.abs(1 + 2 * 0.4 * z)))
    assert lyapunov_exponent(x, y, 0.4, 2) == pytest.approx(want, abs=2e-5)


def test_small_steps_reach_the_flow():
    """As the rate falls the exponent turns into the flow's: 2 eta (beta2 - gamma) - 2 eta^2 E z^2."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=300)
    y = 0.2 * x + rng.normal(size=300)
    z, rate, decay = x * y, 1e-4, 0.01
    want = 2 * rate * (z.mean() - decay) - 2 * rate**2 * np.mean((z - decay) ** 2)
    assert lyapunov_exponent(x, y, rate, 1, decay) == pytest.approx(want, rel=1e-3)


def test_decay_beyond_the_signal_always_collapses():
    rng = np.random.default_rng(5)
    x = rng.normal(size=100)
    y = 0.2 * x + rng.normal(size=100)
    assert discrete_threshold(x, y, 1, weight_decay=1.0).lower == 0


def test_bad_input():
    x = np.arange(5.0)
    with pytest.raises(InputError, match="same length"):
        discrete_threshold(x, x[:3])
    with pytest.raises(InputError, match="batch_size"):
        discrete_threshold(x, x, 0)
    with pytest.raises(InputError, match="learning_rate must be"):
        lyapunov_exponent(x, x, -0.1)
    with pytest.raises(InputError, match="must not be 0 in every row"):
        discrete_threshold(x, 0 * x)

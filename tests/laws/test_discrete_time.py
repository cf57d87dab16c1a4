"""The exact law of discrete SGD: against its own chain, against itself by other routes, and against the flow."""

import itertools
from functools import cache

import jax
import numpy as np
import pytest
import scipy.stats
from discrete_chains import kolmogorov, simulate

from sgdvi import InputError, Moments, SGDStationary, discrete_law, discrete_threshold
from sgdvi.laws import lyapunov_exponent

pytestmark = pytest.mark.usefixtures("optimised")

CHAINS = 200_000


def gaussian(slope=1.0, rows=200, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=rows)
    return x, slope * x + rng.normal(size=rows)


def chance(number):
    """Distance that independent draws exceed once in ten million times (Dvoretzky, Kiefer, Wolfowitz, Massart)."""
    return np.sqrt(np.log(2e7) / (2 * number))


@cache
def law_of(rate, size=1):
    """Return the law of the Gaussian data, which many tests ask, made once."""
    return discrete_law(*gaussian(), rate, size)


WEAK = gaussian(0.1, 1000, 3)
THRESHOLD = discrete_threshold(*WEAK).lower


@pytest.mark.parametrize(
    ("data", "rate", "size", "decay", "steps", "chains"),
    [
        (gaussian(), 0.01, 1, 0.0, 500, CHAINS),
        pytest.param(gaussian(), 0.03, 1, 0.0, 200, 10 * CHAINS, marks=pytest.mark.slow),
        pytest.param(gaussian(), 0.1, 4, 0.0, 100, 10 * CHAINS, marks=pytest.mark.slow),
        (gaussian(-1.0), 0.03, 1, 0.1, 250, CHAINS),
        (WEAK, 0.5 * THRESHOLD, 1, 0.0, 5_000, CHAINS),
        (gaussian(1.0, 40), 0.2, 20, 0.05, 100, CHAINS),
    ],
    ids=["0.01", "0.03, more", "S = 4, more", "decay", "weak", "S = 20"],
)
def test_the_chain_follows_the_law(data, rate, size, decay, steps, chains):
    law = discrete_law(*data, rate, size, decay)
    draws = law.sign * simulate(*data, rate, size, decay, chains=chains, steps=steps, seed=1)
    distance, number = kolmogorov(law, draws)
    assert law.status == "proper"
    assert law.error_estimate < 5e-4  # well below the level of chance
    assert number == chains
    assert distance < chance(chains) + law.error_estimate


def test_survivors_of_a_chain_that_overflows():
    data, rate, every = gaussian(), 0.2, 50
    law = law_of(rate)
    first, last = simulate(*data, rate, chains=CHAINS, steps=150, every=every, draws=2, limit=law.escape_at)
    assert law.status == "quasi-stationary"
    distance, number = kolmogorov(law, last)
    assert distance < chance(number) + law.error_estimate
    survivors, want = number / np.isfinite(first).sum(), law.survival_rate**every
    assert abs(survivors - want) < 5 * np.sqrt(want * (1 - want) / np.isfinite(first).sum())
    assert law.horizon == pytest.approx(1 / (1 - law.survival_rate))


def test_survivors_may_run_off_to_zero():
    """Near the threshold of a strong signal chains overflow faster than they come back from near 0."""
    data = gaussian(0.2, 200, 1)
    rate = 0.9 * max(discrete_threshold(*data).intervals, key=np.ptp)[0]
    law = discrete_law(*data, rate)
    assert law.status == "no law: overflows"
    assert law.growth > 0
    with pytest.raises(InputError, match="must have a density; got no law: overflows"):
        law.cdf(1.0)
    draws = simulate(*data, rate, chains=20_000, steps=500, every=500, draws=4, limit=law.escape_at)
    medians = [np.median(np.log(row[np.isfinite(row)])) for row in draws]
    assert np.all(np.diff(medians) < -2)


def pairs_of(x, y):
    """All ordered pairs of rows, as rows of another data set."""
    first, second = (part.ravel() for part in np.meshgrid(np.arange(len(x)), np.arange(len(x))))
    squares, products = (x[first] ** 2 + x[second] ** 2) / 2, (x[first] * y[first] + x[second] * y[second]) / 2
    return np.sqrt(squares), products / np.sqrt(squares)


def test_pairs_of_rows_are_gone_through_to_the_last_sliver():
    """By arithmetic of 40 digits: 44 intervals, of which five are wider than 1e-5 of their rate."""
    x = -1.5 + 3 * (np.arange(16) + 0.5) / 16
    found = discrete_threshold(x, 0.2 * x + 0.8 * np.sqrt(2) * np.cos(5 * np.arange(16)), batch_size=2)
    known = [(0.5073769908, 0.5121886462), (0.5725604874, 1.024527806), (1.037174474, 1.038577429)]
    known += [(1.080349496, 1.081203572), (1.161626567, 1.161672892)]
    np.testing.assert_allclose(found.intervals, known, rtol=2e-9)
    assert len(found.intervals) + found.slivers == 44


@pytest.mark.slow
def test_batches_of_two_are_rows_of_another_data_set():
    """Two routes to one law: the Fourier transform, and all pairs one by one."""
    x, y = gaussian(1.0, 100)  # too many pairs for them to be listed
    pairs = discrete_law(*pairs_of(x, y), 0.05, 1, 0.1)
    law = discrete_law(x, y, 0.05, 2, 0.1)
    assert law.distance_to(pairs) < law.error_estimate + pairs.error_estimate < 3e-4
    assert law.growth == pytest.approx(pairs.growth, abs=1e-9)


def test_batches_are_listed_where_they_are_few():
    x, y = gaussian(1.0, 20)
    law, want = discrete_law(x, y, 0.05, 2, 0.1), discrete_law(*pairs_of(x, y), 0.05, 1, 0.1)
    assert law.distance_to(want) < 2e-4  # few rows have rough laws, and pairs that are twice there a coarser grid
    assert law.growth == pytest.approx(want.growth, abs=1e-12)


def test_batches_without_replacement_are_rows_of_another_data_set():
    x, y = gaussian(1.0, 9)
    rows = np.array(list(itertools.combinations(range(9), 4)))
    squares, products = (x**2)[rows].mean(1), (x * y)[rows].mean(1)
    want = discrete_law(np.sqrt(squares), products / np.sqrt(squares), 0.1)
    law = discrete_law(x, y, 0.1, 4, replace=False)
    assert law.distance_to(want) < 1e-12
    assert law.variance < 0.8 * discrete_law(x, y, 0.1, 4).variance
    assert 2 * lyapunov_exponent(x, y, 0.1, 4, replace=False) == pytest.approx(law.growth, rel=1e-14)
    weak = gaussian(0.1, 12, 1)
    ratio = discrete_threshold(*weak, 2).lower / discrete_threshold(*weak, 2, replace=False).lower
    assert ratio == pytest.approx((12 - 2) / (12 - 1), rel=0.02)  # the share of the noise that is left


@pytest.mark.parametrize(("size", "decay"), [(1, 0.0), (4, 0.2)])
def test_a_step_leaves_the_law_alone(size, decay):
    """E log f(v)^2 = 0 and E v f(v)^2 = E v over the quantiles of the law and fresh batches."""
    (x, y), rate = gaussian(1.0, 50), 0.05
    law, rng = discrete_law(x, y, rate, size, decay), np.random.default_rng(7)
    v = law.icdf((np.arange(100_000) + 0.5) / 100_000)
    rows = rng.integers(0, 50, size=(size, v.size))
    factor = (1 - 2 * rate * decay - 2 * rate * ((x * x)[rows].mean(0) * v - (x * y)[rows].mean(0))) ** 2
    for change in (np.log(factor), v * factor - v):
        assert abs(change.mean()) < 5 * change.std() / np.sqrt(v.size)


def test_scaling_of_the_data():
    (x, y), a, b = gaussian(), 1e3, 1e-2
    law, scaled = discrete_law(x, y, 0.03, 1, 0.1), discrete_law(a * x, b * y, 0.03 / (a * b), 1, 0.1 * a * b)
    levels = np.linspace(0.001, 0.999, 99)
    np.testing.assert_allclose(scaled.icdf(levels), law.icdf(levels) * b / a, rtol=1e-9)
    assert scaled.mean == pytest.approx(law.mean * b / a, rel=1e-9)


def test_both_sides():
    x, y = gaussian()
    law, mirror = law_of(0.03), discrete_law(x, -y, 0.03)
    v = np.array([-2.0, -1.0, -0.3, 0.0, 0.4, 1.0])
    np.testing.assert_allclose(mirror.cdf(-v), 1 - law.cdf(v), atol=1e-14)
    np.testing.assert_allclose(mirror.log_prob(-v), law.log_prob(v), atol=1e-12)
    np.testing.assert_allclose(mirror.icdf([0.1, 0.7]), -law.icdf([0.9, 0.3]), rtol=1e-12)
    assert (mirror.mean, mirror.variance, mirror.sign) == (-law.mean, law.variance, -1)
    wrong = discrete_law(x, y, 0.03, sign=-1)
    assert (wrong.status, wrong.zero_mass, wrong.mean, wrong.variance) == ("collapsed to zero", 1.0, 0.0, 0.0)
    assert (wrong.cdf([-1e-300, 0.0, 1.0]) == [0, 1, 1]).all()
    assert (wrong.log_prob([0.0, 1.0]) == [0, -np.inf]).all()
    assert wrong.icdf(0.5) == 0
    assert wrong.log_icdf(0.5) == -np.inf


@pytest.mark.parametrize(("rate", "size"), [(0.03, 1), (0.2, 1), (0.1, 4)])
def test_the_law_agrees_with_itself(rate, size):
    law = law_of(rate, size)
    levels = np.concatenate([[1e-25, 1e-6], np.linspace(0.01, 0.99, 197), [1 - 1e-6]])
    v = law.icdf(levels)
    np.testing.assert_allclose(law.cdf(v), levels, rtol=1e-9)
    np.testing.assert_allclose(np.exp(law.log_icdf(levels)), v, rtol=1e-12)
    # between the knots of the grid, where the density is smooth
    inner, step = v[3:-2], 1e-6
    slope = (law.cdf(inner * (1 + step)) - law.cdf(inner * (1 - step))) / (2 * step * inner)
    assert np.median(np.abs(slope / np.exp(law.log_prob(inner)) - 1)) < 1e-5
    logs = np.log(law.grid)
    points = np.unique(np.concatenate([logs + share * np.gradient(logs) for share in (0, 0.25, 0.5, 0.75)]))
    density = np.exp(law.log_prob(np.exp(points)) + points)
    assert np.trapezoid(density, points) == pytest.approx(1, abs=1e-3)
    assert law.residual < 1e-8  # steps of the chain on a fine grid end there
    draws = law.sample(jax.random.key(3), (100_000,))
    assert draws.dtype == np.float64
    assert scipy.stats.kstest(draws, law.cdf).statistic < chance(100_000)
    if law.status == "proper":  # the overflowing law has no finite fourth moment to speak of
        middle = law.icdf((np.arange(200_000) + 0.5) / 200_000)
        assert law.mean == pytest.approx(middle.mean(), rel=1e-3)
        assert law.variance == pytest.approx(middle.var(), rel=2e-2)
    assert np.isnan(law.cdf(np.nan))
    assert np.isnan(law.log_prob(np.nan))
    assert np.isnan(law.icdf(1.5))
    np.testing.assert_allclose(law.cdf([-1.0, 0.0, np.inf]), [0, 0, 1], atol=1e-14)


def test_close_to_the_threshold_the_law_is_a_power_of_v_over_a_thousand_digits():
    x, y = gaussian(0.05, 1000, 5)
    law = discrete_law(x, y, 0.99 * discrete_threshold(x, y).lower)
    assert law.status == "proper"
    assert law.icdf(1e-3) == 0
    low, high = law.log_icdf([1e-6, 1e-3])
    slope = np.log(1e3) / (high - low)
    near_zero = 1 + 2 * 0.99 * discrete_threshold(x, y).lower * x * y * np.sign((x * y).mean())
    assert low < -1000
    assert np.mean(np.abs(near_zero) ** (-2 * slope)) == pytest.approx(1, abs=1e-8)


def even_noise():
    """Rows in pairs with opposite residuals: at the minimum the gradient noise has no skew."""
    x, y = gaussian(1.0, 100)
    noise = y - x * (x @ y) / (x @ x)
    return np.concatenate([x, x]), np.concatenate([x + noise, x - noise])


@pytest.mark.parametrize(("data", "order"), [(even_noise(), 1.0), (gaussian(), 0.5)], ids=["even", "skew"])
def test_distance_to_the_flow_falls_with_the_learning_rate(data, order):
    """To first order, but for the skew of the minibatch noise, which the flow lacks: that falls like its root."""
    rates = [4e-3, 1e-3]
    gaps = [
        discrete_law(*data, rate, tolerance=2e-5).distance_to(SGDStationary(Moments.from_data(*data), rate))
        for rate in rates
    ]
    assert np.diff(np.log(gaps)) / np.diff(np.log(rates)) == pytest.approx(order, abs=0.08)


def test_distance_to_the_flow_falls_with_the_batch_at_one_temperature():
    data = even_noise()
    flow = SGDStationary(Moments.from_data(*data), 0.01)
    gaps = [discrete_law(*data, 0.01 * size, size).distance_to(flow) for size in (16, 8, 4)]
    assert np.all(np.diff(gaps) < 0)
    assert gaps[0] / gaps[1] == pytest.approx(2, abs=0.35)


def test_distances():
    data = gaussian()
    law, other = law_of(0.03), discrete_law(*data, 0.02)
    collapsed = discrete_law(*data, 0.03, weight_decay=5.0)
    assert law.distance_to(law) == 0
    assert law.distance_to(other) == pytest.approx(other.distance_to(law), rel=1e-3)
    assert law.distance_to(collapsed) == collapsed.distance_to(law) == pytest.approx(1)
    assert collapsed.distance_to(collapsed) == 0
    uniform = scipy.stats.uniform(0, 1)
    fine = np.linspace(0, 3, 100_001)
    assert law.distance_to(uniform) == pytest.approx(np.abs(law.cdf(fine) - uniform.cdf(fine)).max(), abs=1e-4)


X = np.arange(1.0, 6.0)
Y = X + np.array([1.0, -1.0, 0.0, 1.0, -1.0])


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((X, Y, 0.0), {}, "learning_rate must be a finite number above 0"),
        ((X, Y, "fast"), {}, "learning_rate must be a number"),
        ((X, Y, 1e-13), {}, "learning_rate must be at least"),
        ((X, Y, 0.01, 0), {}, "batch_size must be a whole number of at least 1"),
        ((X, Y, 0.01, 1, -1.0), {}, "weight_decay must be a finite number of at least 0"),
        ((X, Y[:3], 0.01), {}, "same length; got 5 and 3"),
        ((X, Y * np.nan, 0.01), {}, "y must be finite"),
        ((X, 0 * Y, 0.01), {}, "must not be 0 in every row"),
        ((1e200 * X, 1e200 * Y, 0.01), {}, "Rescale the data"),
        ((1e-60 * X, Y, 0.01), {}, "Rescale the data"),
        (([], [], 0.01), {}, "at least one row"),
        ((X, 2 * X, 0.01), {}, "must disagree on the best v; got v = 2 for all"),
        ((X, Y, 0.01, 6), {"replace": False}, "at most N = 5 without replacement"),
        ((X, Y, 0.01, 5), {"replace": False}, "must disagree on the best v"),
        ((*gaussian(), 0.01, 50), {"replace": False}, "at most 20000 different batches"),
        ((X, Y, 0.01), {"sign": 2}, "sign must be 1"),
        ((X, Y, 0.01), {"tolerance": 0.0}, "tolerance must be"),
        ((X, Y, 0.01), {"escape_at": 0.1}, "escape_at must be beyond"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_input(arguments, options, words):
    with pytest.raises(InputError, match=words):
        discrete_law(*arguments, **options)

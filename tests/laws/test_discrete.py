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
    found = discrete_threshold(*gaussian(slope, 250), batch_size)
    assert found.temperature == pytest.approx(want, rel=0.02)
    assert found.attracts(1.01 * min(found.lower, 1.0)) == np.isfinite(want)
    assert found.attracts(0.99 * min(found.lower, 1.0)) is False


def few_rows(seed):
    """Six to twenty rows with a weak signal: zero attracts on many intervals."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=int(rng.choice([6, 10, 20])))
    return x, rng.uniform(0.05, 0.8) * x + rng.normal(size=len(x))


@pytest.mark.parametrize("seeds", [range(12, 18), pytest.param(range(60), marks=pytest.mark.slow)], ids=["few", "many"])
def test_intervals_are_where_the_exponent_is_negative(seeds):
    unions = 0
    for seed in seeds:
        x, y = few_rows(seed)
        found, rates = discrete_threshold(x, y), np.geomspace(1e-3, 30, 1_000)
        exponents = np.log(np.abs(1 + 2 * rates[:, None] * x * y * np.sign((x * y).mean()))).mean(1)
        begin, end = np.array(found.intervals).reshape(-1, 2).T
        assert np.all(begin < end)
        assert np.all(end[:-1] < begin[1:])
        inside = ((rates[:, None] > begin) & (rates[:, None] < end)).any(1)
        # a rate may fall into one of the slivers
        assert np.sum(inside != (exponents < 0)) <= found.slivers / 100
        assert [found.attracts(rate) for rate in rates[::100]] == (exponents[::100] < 0).tolist()
        unions += len(found.intervals) > 1
    assert unions >= len(seeds) / 6


def rows_on_a_grid(slope, noise):
    i = np.arange(16)
    x = -1.5 + 3 * (i + 0.5) / 16
    return x, slope * x + noise * np.sqrt(2) * np.cos(5 * i)


def test_a_union_to_its_last_digits():
    """The three intervals and three slivers of this data set, from a scan of 2e6 rates."""
    found = discrete_threshold(*rows_on_a_grid(0.2, 0.8))
    want = [(0.294386, 0.739228), (0.982696, 1.150916), (2.305696, 2.305730)]
    np.testing.assert_allclose(found.intervals, want, atol=1e-6)
    assert (found.slivers, found.lower, found.upper) == (3, found.intervals[0][0], found.intervals[2][1])
    assert [found.attracts(rate) for rate in (0.2, 0.5, 0.8, 1.1, 2.0, 2.30571, 3.0)] == [False, True] * 3 + [False]


def test_unions_of_listed_batches():
    pairs = discrete_threshold(*rows_on_a_grid(0.2, 0.8), 2)
    widest = max(pairs.intervals, key=lambda ends: ends[1] - ends[0])
    np.testing.assert_allclose(widest, (0.57256, 1.02453), atol=1e-5)
    triples = discrete_threshold(*rows_on_a_grid(0.2, 0.8), 3)
    assert triples.intervals == ()
    assert triples.slivers > 0


@pytest.mark.parametrize(("rate", "collapses"), [(0.3, True), (0.7, False), (1.2, True)])
def test_chains_collapse_inside_the_intervals_and_not_between(rate, collapses):
    x, y = few_rows(12)
    found, rng = discrete_threshold(x, y), np.random.default_rng(0)
    assert found.lower < rate < found.upper
    assert found.attracts(rate) == collapses
    v = np.full(500, 1e-3)
    product, square = x * y * np.sign((x * y).mean()), x * x
    for _ in range(4_000):
        row = rng.integers(0, len(x), v.size)
        v = np.minimum(v * (1 + 2 * rate * (product[row] - v * square[row])) ** 2, 1e6)
    assert (np.mean(v < 1e-20) > 0.5) == collapses


def test_too_many_batches_leave_the_border_undecided():
    x, y = gaussian(0.2, 12)
    found = discrete_threshold(x, y, 2)
    assert np.isfinite(found.lower)
    assert found.attracts(found.lower) is None
    assert found.attracts(0.9 * found.lower) is False
    assert found.attracts(1.1 * found.lower) is True


def test_one_sign_of_the_products():
    """Where every row pulls away from zero it never attracts, and where every row pulls to it only large steps free."""
    x = np.arange(1.0, 6.0)
    assert discrete_threshold(x, x).intervals == ()
    assert discrete_threshold(x, x, sign=-1).lower == 0
    assert discrete_threshold(x, x, sign=-1).attracts(1.0) is False


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

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from mpmath import mp, mpf

from sgdvi import InputError, Moments, SGDStationary, critical_temperature, stationary_law

NAMES = ("alpha1", "alpha2", "alpha3", "beta1", "beta2")


def exact(x, y, weights=None):
    """Moments and Delta with 60 digits."""
    with mp.workdps(60):
        x, y = [mpf(float(v)) for v in x], [mpf(float(v)) for v in y]
        share = [mpf(float(w)) for w in (np.ones(len(x)) if weights is None else weights)]
        total = sum(share)

        def mean(values):
            return sum(w * v for w, v in zip(share, values, strict=True)) / total

        square, product = [a * a for a in x], [a * b for a, b in zip(x, y, strict=True)]
        b1, b2 = mean(square), mean(product)
        a1 = mean([(s - b1) ** 2 for s in square])
        a2 = mean([(s - b1) * (p - b2) for s, p in zip(square, product, strict=True)])
        a3 = mean([(p - b2) ** 2 for p in product])
        return [float(v) for v in (a1, a2, a3, b1, b2, a1 * a3 - a2**2)]


@pytest.mark.parametrize(("shift_x", "shift_y"), [(0, 0), (1e6, 0), (0, 1e6), (1e6, -1e6)])
@pytest.mark.parametrize("weighted", [False, True])
def test_from_data_keeps_its_digits_far_from_zero(shift_x, shift_y, weighted):
    rng = np.random.default_rng(1)
    x, y = shift_x + rng.normal(size=60), shift_y + rng.normal(size=60)
    weights = rng.uniform(size=60) * 7 if weighted else None
    moments = Moments.from_data(x, y, weights)
    want = exact(x, y, weights)
    got = [getattr(moments, name) for name in NAMES]
    np.testing.assert_allclose(got, want[:5], rtol=1e-10)
    np.testing.assert_allclose(moments.delta, want[5], rtol=1e-9 if shift_y == 0 else 1e-4)


def test_population_is_the_limit_of_data():
    rng = np.random.default_rng(2)
    x = rng.normal(size=400_000)
    data = Moments.from_data(x, 0.7 * x + 0.5 * rng.normal(size=x.size))
    population = Moments.linear(0.7, 0.5)
    for name in NAMES:
        np.testing.assert_allclose(getattr(data, name), getattr(population, name), rtol=0.03)
    assert population.delta == pytest.approx(2 * 0.25)
    assert population.minimizer == pytest.approx(0.7)


def test_noise_is_the_variance_of_the_gradient():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=50), rng.normal(size=50)
    moments = Moments.from_data(x, y)
    np.testing.assert_allclose(moments.noise(1.3), np.var(1.3 * x**2 - x * y), rtol=1e-12)
    np.testing.assert_allclose(moments.mirror().noise(-1.3), moments.noise(1.3), rtol=1e-14)


def test_delta_does_not_cancel():
    # alpha1 alpha3 and alpha2^2 agree in their leading 16 digits; only an exact difference is right
    a1, a2, a3 = 1.0 + 2**-30, 1.0, 1.0 - 2**-30 + 2**-52
    with mp.workdps(60):
        want = float(mpf(a1) * mpf(a3) - mpf(a2) ** 2)
    assert Moments(a1, a2, a3, 1.0, 1.0).delta == pytest.approx(want, rel=1e-12)


def test_is_a_pytree(x64):
    moments = Moments.linear(1.0, 0.5)
    assert len(jax.tree.leaves(moments)) == 5
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), moments, Moments.linear(2.0, 0.5))
    assert batch.batch_shape == (2,)
    np.testing.assert_allclose(jax.vmap(lambda m: m.minimizer)(batch), [1.0, 2.0])
    slope = jax.jit(jax.grad(lambda m: m.delta))(moments)
    np.testing.assert_allclose([slope.alpha1, slope.alpha2, slope.alpha3], [2.25, -4.0, 2.0])


def test_numbers_become_float64_without_touching_the_setting():
    assert Moments.linear(1, 1).alpha1.dtype == np.float64
    assert Moments(2, 0.5, 3, 1, 1).beta1.dtype == np.float64
    assert jnp.ones(1).dtype == jnp.float32


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        ([1, 2, np.nan, 4], [1, 2, 3, 4], "x must be finite; got nan in row 2"),
        ([1, 2, 3, 4], [1, np.inf, 3, 4], "y must be finite; got inf in row 1"),
        ([1, 2, 3], [1, 2], "same length; got 3 and 2"),
        ([1, 2], [1, 2], "at least 3 rows; got 2"),
        ([2, 2, 2], [1, 2, 3], "x must vary; got 2.0 in every row"),
        ([[1, 2, 3]], [1, 2, 3], "one-dimensional"),
    ],
)
def test_bad_data(x, y, words):
    with pytest.raises(InputError, match=words):
        Moments.from_data(np.array(x, float), np.array(y, float))


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ((-1, 0, 1, 1, 1), "alpha1 is a variance"),
        ((1, 2, 1, 1, 1), "alpha2\\^2 must be at most"),
        ((1, 0, 1, 0, 1), "beta1"),
        ((1, 0, np.nan, 1, 1), "alpha3 must be finite"),
        ((1, 0, "a", 1, 1), "alpha3 must be a number"),
    ],
)
def test_moments_that_no_data_have(numbers, words):
    with pytest.raises(InputError, match=words):
        Moments(*numbers)


IMPOSSIBLE = [
    (-1.0, 0.0, 1.0, 1.0, 1.0),
    (1.0, 0.0, -1.0, 1.0, 1.0),
    (1.0, 0.0, 1.0, 0.0, 1.0),
    (1.0, 1.01, 1.0, 1.0, 1.0),
    (np.nan, 0.0, 1.0, 1.0, 1.0),
]


def test_traced_moments_that_no_data_have_give_nan():
    """By the tail exponent, a number of the parameters alone: its program is small."""

    @jax.jit
    def asked(row, temperature):
        m = Moments(*row)
        law, whole = SGDStationary(m, temperature), stationary_law(m, temperature)
        return jnp.stack([law.tail_exponent, whole.tail_exponent]), critical_temperature(m)

    for row in IMPOSSIBLE:
        values, critical = asked(np.array(row), 0.1)
        assert np.all(np.isnan(values)), row
        assert np.isnan(critical), row
    data = np.array((2.0, 2.0, 3.0, 1.0, 1.0))
    assert np.all(np.isfinite(asked(data, 0.1)[0]))
    assert np.all(np.isnan(asked(data, -0.1)[0]))


@pytest.mark.parametrize(("dtype", "excess", "possible"), [(np.float32, 1e-6, True), (np.float64, 1e-6, False)])
def test_rounding_of_delta_is_forgiven(dtype, excess, possible):
    numbers = [dtype(number) for number in (1.0, 1.0 + excess, 1.0, 1.0, 1.0)]
    with jax.enable_x64(True):
        assert bool(jax.jit(lambda *numbers: Moments(*numbers).possible)(*numbers)) == possible


def test_weights_are_checked():
    x, y = np.arange(4.0), np.arange(4.0)
    with pytest.raises(InputError, match="one entry per row"):
        Moments.from_data(x, y, weights=[1.0, 1.0])
    with pytest.raises(InputError, match="not be negative"):
        Moments.from_data(x, y, weights=[1.0, 1.0, -1.0, 1.0])
    with pytest.raises(InputError, match="at least 3 rows must have a positive weight"):
        Moments.from_data(x, y, weights=[1.0, 1.0, 0.0, 0.0])


def test_scaled_noise_is_that_of_data_with_scaled_residuals():
    rng = np.random.default_rng(3)
    x, noise = rng.normal(size=50), rng.standard_t(3, size=50)
    y = 0.8 * x + noise
    m = Moments.from_data(x, y)
    slope = float(m.minimizer)
    for factor in (0.0, 0.3, 1.0, 4.0):
        expected = Moments.from_data(x, slope * x + factor * (y - slope * x))
        for name, value in vars(m.scale_noise(factor)).items():
            assert value == pytest.approx(getattr(expected, name), rel=1e-12), name
    batch = Moments.linear(1.5, 1.0).scale_noise(np.array([0.5, 2.0]))
    assert batch.batch_shape == (2,)
    assert batch.alpha3 == pytest.approx([4.75, 8.5])

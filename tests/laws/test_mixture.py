import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgdvi import InputError, Moments, SGDStationary, StationaryLaw, stationary_law

M = Moments.linear(1.0, 1.0)
V = np.array([-0.5, 0.0, 0.3, 1.2])


def test_without_an_atom_it_is_the_law_of_the_branch():
    law, branch = stationary_law(M, 0.1), SGDStationary(M, 0.1)
    assert law.zero_mass == 0
    np.testing.assert_allclose(law.log_prob(V[2:]), branch.log_prob(V[2:]), rtol=1e-13)
    assert np.all(law.log_prob(V[:2]) == -np.inf)
    np.testing.assert_allclose(law.cdf(V[2:]), branch.cdf(V[2:]), rtol=1e-13)
    np.testing.assert_allclose(law.icdf(law.cdf(V[2:])), V[2:], rtol=1e-10)
    assert law.mean == pytest.approx(float(branch.mean), rel=1e-13)
    assert law.variance == pytest.approx(float(branch.variance), rel=1e-12)
    assert law.mode == pytest.approx(float(branch.mode), rel=1e-13)


def test_atom():
    law, branch = stationary_law(M, 0.1, zero_mass=0.3), SGDStationary(M, 0.1)
    assert law.log_prob(0.0) == pytest.approx(np.log(0.3))
    np.testing.assert_allclose(law.log_prob(V[2:]), np.log(0.7) + branch.log_prob(V[2:]), rtol=1e-12)
    np.testing.assert_allclose(law.cdf(np.array([-1e-9, 0.0])), [0.0, 0.3])
    np.testing.assert_allclose(law.cdf(V[2:]), 0.3 + 0.7 * branch.cdf(V[2:]), rtol=1e-12)
    np.testing.assert_allclose(law.icdf(np.array([0.1, 0.3])), [0.0, 0.0])
    np.testing.assert_allclose(law.icdf(law.cdf(V[2:])), V[2:], rtol=1e-10)
    draws = np.asarray(law.sample(jax.random.key(0), (100_000,)))
    assert abs(np.mean(draws == 0) - 0.3) < 5 * np.sqrt(0.21 / 1e5)
    assert law.mean == pytest.approx(draws.mean(), abs=5 * draws.std() / np.sqrt(1e5))
    assert law.variance == pytest.approx(draws.var(), rel=0.05)
    assert law.mode == 0


def test_collapse():
    law = stationary_law(M, 0.5)
    assert law.zero_mass == 1
    assert law.log_prob(0.0) == 0
    assert law.log_prob(0.1) == -np.inf
    np.testing.assert_array_equal(law.cdf(V), [0.0, 1.0, 1.0, 1.0])
    np.testing.assert_array_equal(law.icdf(np.array([0.01, 0.99])), [0.0, 0.0])
    assert np.all(np.asarray(law.sample(jax.random.key(0), (9,))) == 0)
    assert law.mean == law.variance == law.mode == 0
    assert stationary_law(M, 0.1, weight_decay=5.0).zero_mass == 1
    assert stationary_law(M, 0.1, depth=2, weight_decay=0.01).zero_mass == 1


def test_no_temperature_collapses_a_deep_network_without_decay():
    law, branch = stationary_law(M, 10.0, depth=2), SGDStationary(M, 10.0, depth=2)
    assert law.zero_mass == 0
    np.testing.assert_allclose(law.log_prob(V[2:]), branch.log_prob(V[2:]), rtol=1e-12)


def test_negative_side_is_found_and_mirrored():
    left, right = stationary_law(M.mirror(), 0.1, zero_mass=0.2), stationary_law(M, 0.1, zero_mass=0.2)
    np.testing.assert_allclose(left.log_prob(-V), right.log_prob(V), rtol=1e-13)
    q = np.array([0.1, 0.5, 0.79])
    np.testing.assert_allclose(left.icdf(q), -right.icdf(1 - q), rtol=1e-10)
    np.testing.assert_array_equal(left.icdf(np.array([0.8, 0.9])), [0.0, 0.0])
    np.testing.assert_allclose(left.cdf(np.array([-1e-300, 0.0])), [0.8, 1.0], atol=1e-12)
    assert left.mean == -right.mean
    assert np.all(np.asarray(left.sample(jax.random.key(0), (99,))) <= 0)


def test_depth_zero_has_no_atom():
    law, line = stationary_law(M, 0.1, depth=0), SGDStationary(M, 0.1, depth=0)
    np.testing.assert_allclose(law.log_prob(V), line.log_prob(V), rtol=1e-13)
    np.testing.assert_allclose(law.cdf(V), line.cdf(V), rtol=1e-13)
    assert law.tail_exponent == line.tail_exponent
    with pytest.raises(InputError, match="zero_mass must be 0 at depth 0"):
        stationary_law(M, 0.1, depth=0, zero_mass=0.1)


def test_tail_exponent_is_that_of_the_law():
    # y = 1.5 x - c/x: for c > 0 the density ends at 1.5, for c < 0 it begins there.
    x = np.array([1.0, 1.5, 2.0])
    below, above = (Moments.from_data(x, 1.5 * x - c / x) for c in (0.4, -0.4))
    law = stationary_law(below, 0.01)
    assert law.cdf(1.5) == pytest.approx(1)
    assert law.tail_exponent == np.inf
    assert stationary_law(above, 0.01).tail_exponent == stationary_law(M, 0.1).tail_exponent == 3.5
    assert stationary_law(M.mirror(), 0.1, zero_mass=0.3).tail_exponent == 3.5


def test_two_points():
    m = Moments.linear(2.0, 0.0)  # y = 2 x
    hot = 2 * float(m.beta2 / m.alpha3)
    v = np.array([-1.0, 0.0, 1.0, 2.0, 2.5])
    for law, sign in (
        (stationary_law(m, hot, zero_mass=0.25), 1),
        (stationary_law(m.mirror(), hot, zero_mass=0.25), -1),
    ):
        assert (law.zero_mass, law.point, law.point_mass) == (0.25, 2 * sign, 0.75)
        with np.errstate(divide="ignore"):
            np.testing.assert_allclose(law.log_prob(sign * v), np.log([0, 0.25, 0, 0.75, 0]), rtol=1e-14)
        np.testing.assert_array_equal(law.cdf(v), [0, 0.25, 0.25, 1, 1] if sign > 0 else [0.75, 1, 1, 1, 1])
        q = np.array([0.01, 0.25, 0.26, 0.75, 0.76, 1.0])
        np.testing.assert_array_equal(law.icdf(q), [0, 0, 2, 2, 2, 2] if sign > 0 else [-2, -2, -2, -2, 0, 0])
        assert np.isnan(law.icdf(1.1))
        assert np.isnan(law.log_prob(np.nan))
        draws = np.asarray(law.sample(jax.random.key(1), (20_000,)))
        assert set(np.unique(draws)) == {0, 2 * sign}
        assert abs(np.mean(draws == 0) - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 20_000)
        assert (law.mean, law.variance, law.mode) == (1.5 * sign, 0.75, 2 * sign)


@pytest.mark.slow
def test_points_and_densities_side_by_side(x64):
    data, start = Moments(2.0, 2.0, jnp.array([2.0, 3.0]), 1.0, 1.0), np.sqrt([[0.5], [0.5]])
    law = stationary_law(data, jnp.array([[0.1], [1.0]]), initial=start)
    assert law.batch_shape == (2, 2)
    lost = 0.11862011824909  # 1 - I_1/2(1/4, 5/4)
    np.testing.assert_allclose(law.zero_mass, [[0, 0], [lost, 1]], rtol=1e-11)
    np.testing.assert_allclose(law.point_mass, [[1, 0], [1 - lost, 0]], rtol=1e-11)
    want = [[0.0, SGDStationary(Moments.linear(1.0, 1.0), 0.1).log_prob(1.0)], [np.log1p(-lost), -np.inf]]
    np.testing.assert_allclose(law.log_prob(1.0), want, rtol=1e-11)
    by_vmap = jax.vmap(lambda heat: stationary_law(data, heat, initial=start).log_prob(1.0))(jnp.array([0.1, 1.0]))
    np.testing.assert_allclose(by_vmap, want, rtol=1e-11)


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_interpolation_is_a_point(depth):
    law = stationary_law(Moments.linear(1.5, 0.0), 0.05, depth)
    assert (law.zero_mass, law.point, law.point_mass) == (0, 1.5, 1)
    assert law.log_prob(1.5) == 0
    assert law.log_prob(1.4) == law.log_prob(0.0) == -np.inf
    assert (law.mean, law.variance, law.mode, law.icdf(0.3)) == (1.5, 0, 1.5, 1.5)
    assert np.all(np.asarray(law.sample(jax.random.key(0), (5,))) == 1.5)
    assert stationary_law(Moments.linear(1.5, 0.0), 0.05, 2, weight_decay=0.1).zero_mass == 1


def test_masses_must_be_shares():
    options = {"depth": 1, "width": 1, "weight_decay": 0.0, "sign": 1.0}
    with pytest.raises(InputError, match="must add up to at most 1"):
        StationaryLaw(M, 0.1, zero_mass=0.5, point_mass=0.6, point=1.0, **options)


@pytest.mark.slow
def test_collapsed_and_proper_side_by_side(x64):
    heats, one = jnp.array([0.1, 0.5]), SGDStationary(M, 0.1)
    law = stationary_law(M, heats)
    np.testing.assert_array_equal(law.zero_mass, [0.0, 1.0])

    @jax.jit
    def asked(law, heats):
        return law.mean, law.cdf(0.4), jax.vmap(lambda heat: stationary_law(M, heat).log_prob(0.4))(heats)

    mean, cdf, log_prob = asked(law, heats)
    np.testing.assert_allclose(mean, [one.mean, 0.0], rtol=1e-12)
    np.testing.assert_allclose(cdf, [one.cdf(0.4), 1.0], rtol=1e-12)
    np.testing.assert_allclose(log_prob, [one.log_prob(0.4), -np.inf], rtol=1e-12)


@pytest.mark.slow
def test_a_collapsed_law_does_not_spoil_the_gradient_of_its_neighbour(x64):
    slopes = jax.vmap(jax.grad(lambda t: stationary_law(M, t).mean))(jnp.array([0.1, 0.5]))
    assert np.all(np.isfinite(slopes))
    assert slopes[1] == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"zero_mass": 1.5}, "zero_mass must lie in"),
        ({"temperature": -0.1}, "temperature must be above 0"),
        ({"weight_decay": -0.1}, "weight_decay must be at least 0"),
        ({"sign": 0}, "sign must be"),
        ({"moments": (2.0, 2.0, 2.0, 1.0, 1.0)}, "moments must be sgdvi.Moments"),
        ({"depth": -1}, "depth must be"),
        ({"width": 0}, "width must be"),
    ],
)
def test_bad_parameters(changes, words):
    with pytest.raises(InputError, match=words):
        stationary_law(**{"moments": M, "temperature": 0.1, **changes})


def test_quantiles_of_many_levels_and_laws_stay_in_their_order():
    """More values than one piece holds, for a batch whose pieces are filled up to a common size."""
    law = SGDStationary(Moments.linear(1.0, 1.0), np.linspace(0.05, 0.25, 8))
    levels = np.random.default_rng(0).uniform(size=(8800, 8))
    np.testing.assert_allclose(law.cdf(law.icdf(levels)), levels, atol=1e-12)


def test_rounding_of_32_bits_does_not_make_data_impossible(x64):
    """y = 1.5 x: cast to float32, Delta is a little below 0."""
    law = stationary_law(Moments(10.51, 15.765, 23.6475, 3.05, 4.575), 0.1)
    cast = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), law)
    assert cast.moments.delta < 0
    assert cast.mean == pytest.approx(1.5, rel=1e-6)


def single(moments: Moments) -> Moments:
    return jax.tree.map(np.float32, moments)


def test_float32_moments_of_data_that_a_line_fits_are_those_of_a_point_mass():
    """Rounded, they show a noise and an offset that no one measured; a little real noise is still seen."""
    rng = np.random.default_rng(0)
    for slope in rng.uniform(0.2, 2.0, size=8):
        x = rng.normal(size=30)
        law = stationary_law(single(Moments.from_data(x, slope * x)), 0.01)
        assert law.point_mass == 1
        assert law.mean == pytest.approx(slope, rel=1e-6)
        assert law.variance == 0
    law = stationary_law(single(Moments.linear(1.0, 0.01)), 0.01)
    assert law.point_mass == 0
    assert law.variance > 0

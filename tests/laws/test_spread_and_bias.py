import jax
import numpy as np
import pytest
from law_cases import IDS, SETS, random_data

from sgdvi import (
    InputError,
    Moments,
    SGDStationary,
    bias,
    critical_temperature,
    fluctuation_maxima,
    fluctuations,
    stationary_law,
)
from sgdvi.laws import fluctuation

TWO_MAXIMA = Moments(1.0, 0.5993, 0.3746, 0.1825, 0.1763)


def by_integration(m: Moments, temperature: float, depth: int, width: int) -> tuple[float, float, float, float]:
    """Mean and variance of v and of u, from the slope of the density integrated on a fine grid in log v."""
    n, order = depth + 1, (depth - 1) / (depth + 1)
    x = np.linspace(-14 if depth > 1 else -80, 40, 400_001)
    v = np.exp(x)
    noise = m.alpha1 * v**2 - 2 * m.alpha2 * v + m.alpha3
    pull = width ** (1 - 2 / n) * (m.beta1 * v - m.beta2) / (n * temperature * v**order * noise)
    slope = 1 - 3 * depth / n - 2 * v * (m.alpha1 * v - m.alpha2) / noise - pull
    step = x[1] - x[0]
    # outward from the bulk: near 0 the slope is enormous at depth 2 and above
    start, rise = np.searchsorted(x, np.log(m.minimizer)), (slope[1:] + slope[:-1]) / 2 * step
    below, above = -np.cumsum(rise[:start][::-1])[::-1], np.cumsum(rise[start:])
    weight = np.exp(np.concatenate([below, [0.0], above]))
    weight /= weight.sum()
    u = np.exp((x - np.log(width)) / n)
    mean, factor_mean = weight @ v, weight @ u
    return mean, weight @ (v - mean) ** 2, factor_mean, weight @ (u - factor_mean) ** 2


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "width"), [(1, 1), (1, 3), (2, 1), (5, 4)])
def test_against_integration_of_the_slope(depth, width):
    m = Moments.linear(1.0, 1.0)
    found = fluctuations(m, [0.02, 0.1, 0.2], depth, width)
    for i, heat in enumerate(found.temperature):
        expected = by_integration(m, heat, depth, width)
        values = [array[i] for array in found[1:]]
        assert values == pytest.approx(expected, rel=2e-6)


@pytest.mark.slow
def test_depth_1_factor_is_the_root_of_v():
    """At depth 1 and width 1: Var[u] = E[v] - E[sqrt v]^2."""
    m = Moments.linear(0.7, 0.4)
    found = fluctuations(m, critical_temperature(m) * np.array([1e-6, 0.1, 0.5, 0.9, 0.999]))
    # at 1e-6 Tc six digits cancel on the right
    expected = found.mean - found.factor_mean**2
    assert found.factor_variance == pytest.approx(expected, rel=1e-11, abs=3e-14)


@pytest.mark.slow
def test_k_equals_s():
    """Data of the paper's figures: Var[v] is largest at 0.607 Tc, Var[u] at 0.754 Tc (mpmath, 20 digits)."""
    m = Moments.linear(1.0, 1.0)
    assert fluctuation_maxima(m) * 3 == pytest.approx([0.607187], abs=2e-6)
    factors = fluctuation_maxima(m, "u")
    assert factors * 3 == pytest.approx([0.753904], abs=2e-6)
    assert fluctuation_maxima(m.mirror(), "u") == pytest.approx(factors)


def test_data_with_two_maxima():
    critical = critical_temperature(TWO_MAXIMA)
    tops = fluctuation_maxima(TWO_MAXIMA)
    assert tops / critical == pytest.approx([0.25, 0.96], abs=0.02)
    around = np.concatenate([tops * (1 + shift) for shift in (-1e-3, 0.0, 1e-3)]).reshape(3, 2)
    heights = fluctuations(TWO_MAXIMA, around).variance
    assert np.all(heights[1] > heights[[0, 2]])
    between = fluctuations(TWO_MAXIMA, 0.6 * critical).variance
    assert between < 0.95 * heights[1].min()


def test_a_cold_law_is_as_wide_as_an_ornstein_uhlenbeck_process():
    """Var[v] ~ 2 |v*| g(v*) T/beta1 at small T and depth 1, and Var[u] = Var[v]/(4 |v*|)."""
    for m in random_data(5, seed=3):
        critical, star = critical_temperature(m), float(m.minimizer)
        cold = fluctuations(m, critical * 1e-7 * np.array([1.0, 2.0]))
        assert cold.variance / cold.temperature == pytest.approx(2 * star * m.noise(star) / m.beta1, rel=1e-5)
        assert cold.factor_variance / cold.variance == pytest.approx(1 / (4 * star), rel=1e-5)


def test_inversion_falls_in_proportion_to_the_distance_from_tc():
    for m in (Moments.linear(1.0, 1.0), Moments.linear(0.2, 2.0), TWO_MAXIMA):
        hot = fluctuations(m, critical_temperature(m) * (1 - np.array([1e-5, 1e-6])))
        assert hot.variance[1] / hot.variance[0] == pytest.approx(0.1, rel=1e-3)
        assert hot.factor_variance[1] / hot.factor_variance[0] == pytest.approx(0.1, rel=1e-3)


@pytest.mark.slow
def test_depth_0_only_rises():
    m = Moments.linear(1.0, 1.0)
    heat = np.array([0.1, 0.3, 0.49, 0.5, 1.0])
    found = fluctuations(m, heat, depth=0)
    assert found.variance[:3] == pytest.approx(heat[:3] / (1 - 2 * heat[:3]))
    assert np.all(np.isinf(found.variance[3:]))
    assert fluctuations(m, 0.1, 0, width=2).factor_variance == pytest.approx(0.2 / 0.6 / 4)
    assert fluctuation_maxima(m, depth=0).size == 0


@pytest.mark.slow
def test_deeper_networks_have_one_maximum_and_no_collapse():
    m, depth = Moments.linear(1.0, 1.0), 2
    for of in ("v", "u"):
        (top,) = fluctuation_maxima(m, of, depth)
        found = fluctuations(m, top * np.array([0.01, 1.0, 100.0]), depth)
        heights = found.variance if of == "v" else found.factor_variance
        assert 0 < max(heights[0], heights[2]) < heights[1]


def test_collapse_is_zero_and_shapes_broadcast():
    m = Moments.linear(-1.0, 1.0).scale_noise(np.array([[0.5], [2.0]]))
    found = fluctuations(m, np.array([0.1, 0.16, 0.4]), weight_decay=0.01)
    critical = critical_temperature(m, 1, 0.01)
    assert found.variance.shape == (2, 3)
    assert np.array_equal(found.variance > 0, found.temperature < critical)
    law = SGDStationary(Moments.linear(-1.0, 2.0), 0.1, sign=-1, weight_decay=0.01)
    assert (found.mean[1, 0], found.variance[1, 0]) == pytest.approx((law.mean, law.variance))
    mean, variance = fluctuation.mean_and_variance(m, found.temperature, weight_decay=0.01)
    assert np.array_equal(mean, found.mean)
    assert np.array_equal(variance, found.variance)
    assert fluctuations(m, 10.0).mean.tolist() == [[0.0], [0.0]]
    assert fluctuation_maxima(Moments.linear(1.0, 1.0), weight_decay=2.0).size == 0


@pytest.mark.parametrize("few", [1_000, pytest.param(0, marks=pytest.mark.slow)], ids=["NumPy", "compiled"])
def test_more_laws_than_one_chunk(monkeypatch, few):
    heat = np.linspace(0.01, 0.3, 300)
    m = Moments.linear(1.0, 1.0)
    with monkeypatch.context() as patch:
        patch.setattr(fluctuation, "_FEW", few)
        patch.setattr(fluctuation, "_NUMPY", 7)
        patch.setattr(fluctuation, "_MANY", 64)
        whole = fluctuation.mean_and_variance(m, heat)[1]
    assert whole[[0, 63, 299]] == pytest.approx(fluctuation.mean_and_variance(m, heat[[0, 63, 299]])[1], rel=1e-12)


def test_bad_input():
    m = Moments.linear(1.0, 1.0)
    with pytest.raises(InputError, match="temperature must be finite and above 0"):
        fluctuations(m, [0.1, -1.0])
    with pytest.raises(InputError, match="'v' or 'u'"):
        fluctuation_maxima(m, "w")
    with pytest.raises(InputError, match="scalar"):
        fluctuation_maxima(m.scale_noise(np.ones(2)))
    with pytest.raises(InputError, match="broadcast"):
        fluctuations(m.scale_noise(np.ones(2)), np.ones(3))
    with pytest.raises(InputError, match="concrete"):
        jax.jit(lambda t: fluctuations(m, t).mean)(0.1)


@pytest.mark.parametrize(("m", "temperature", "options"), SETS, ids=IDS)
def test_the_identity_of_the_bias_holds(m, temperature, options):
    parts = bias(SGDStationary(m, temperature, **options))
    assert np.all(np.abs(parts.residual) < 1e-12)
    towards_zero = -np.sign(float(m.beta2))
    assert np.all(towards_zero * parts.noise >= 0)
    assert np.all(towards_zero * parts.decay >= 0)
    assert np.all((parts.noise == 0) == (options["depth"] == 0))


@pytest.mark.slow  # so many laws at once are compiled
@pytest.mark.parametrize("depth", range(21))
def test_the_identity_holds_for_many_laws_at_once(depth):
    heats = np.geomspace(1e-3, 0.4 if depth == 1 else 3.0, 64)
    law = SGDStationary(Moments.linear(1.0, 0.5), heats, depth=depth, width=2)
    assert np.all(np.abs(bias(law).residual) < 1e-12)


def test_batches_keep_their_shape():
    heats = np.linspace(0.01, 0.3, 4)  # more laws and values would be compiled
    parts = bias(SGDStationary(Moments.linear(1.0, 0.5), heats.reshape(2, 2)))
    assert parts.value.shape == parts.residual.shape == (2, 2)
    assert parts.noise.ravel() == pytest.approx(bias(SGDStationary(Moments.linear(1.0, 0.5), heats)).noise, rel=1e-12)


def test_bias_is_linear_in_a_small_temperature():
    """E[v] - v* = -D T g(v*) (v*/d)^m/beta1 to first order."""
    m = Moments.linear(2.0, 0.5)
    for depth, width in ((1, 1), (3, 2)):
        parts = bias(SGDStationary(m, 1e-6, depth=depth, width=width))
        slope = depth * m.noise(2.0) * (2.0 / width) ** ((depth - 1) / (depth + 1))
        assert parts.noise == pytest.approx(-1e-6 * slope, rel=1e-4)


def test_decay_at_depth_0_and_1():
    m = Moments.linear(1.0, 1.0)
    assert bias(SGDStationary(m, 0.1, weight_decay=0.2)).decay == pytest.approx(-0.2)
    flat = bias(SGDStationary(m, 0.1, depth=0, width=2, weight_decay=0.2))
    assert (flat.decay) == pytest.approx(-0.1 / 1.1)
    assert (flat.value) == pytest.approx(1 / 1.1 - 1)


class Wrong(SGDStationary):
    """A law whose mean is not that of its density."""

    @property
    def mean(self):
        return 1.0001 * super().mean


def test_a_wrong_law_is_found_out():
    assert np.abs(bias(Wrong(Moments.linear(1.0, 1.0), np.full(2, 0.1))).residual).min() > 1e-5


def test_bad_input_of_bias():
    m = Moments.linear(1.0, 1.0)
    with pytest.raises(InputError, match="SGDStationary"):
        bias(stationary_law(m, 0.1))
    with pytest.raises(InputError, match="concrete"):
        jax.jit(lambda t: bias(SGDStationary(m, t)).value)(0.1)


SILENT = {c: Moments(2.0, 2.0, 2.0, 1.5, 1.5 - c) for c in (0.0, -0.3, 0.3)}
"""Moments of y = x - c/x: no noise at v = 1."""


@pytest.mark.slow
def test_data_without_noise_at_a_point_in_an_array():
    """SGD stands still at k = 1 where c = 0; c < 0 has a law above k at every temperature, c > 0 one below k and Tc."""
    rows = [Moments.linear(1.0, 1.0), *SILENT.values(), Moments.linear(-1.0, 1.0), SILENT[0.0].mirror()]
    batch = jax.tree.map(lambda *leaves: np.array(leaves)[:, None], *rows)
    heats = np.array([0.1, 0.9])
    for depth, width in ((0, 2), (1, 3), (2, 3)):
        found = fluctuations(batch, heats, depth, width)
        two = fluctuation.mean_and_variance(batch, heats, depth, width)
        np.testing.assert_array_equal(two[0], found.mean)
        np.testing.assert_array_equal(two[1], found.variance)
        for i, row in enumerate(rows):
            law = stationary_law(row, heats, depth, width)
            np.testing.assert_allclose(found.mean[i], law.mean, rtol=1e-12)
            np.testing.assert_allclose(found.variance[i], law.variance, rtol=1e-12)
        n = depth + 1
        assert np.all(found.mean[1] == 1)
        assert np.all(found.mean[5] == -1)
        assert np.all(found.variance[[1, 5]] == 0)
        assert np.all(found.factor_variance[[1, 5]] == 0)
        np.testing.assert_allclose(found.factor_mean[1], 2**-1 if depth == 0 else 3 ** (-1 / n), rtol=1e-15)
        assert np.all(found.mean[2] > 1)
        assert np.all(found.mean[3] < 1)
        assert np.all(found.factor_variance[2] > 0)
    assert np.isinf(critical_temperature(SILENT[-0.3]))
    assert np.isinf(critical_temperature(SILENT[-0.3].mirror()))
    assert critical_temperature(SILENT[0.0]) == 0.75
    assert critical_temperature(SILENT[0.3]) == pytest.approx(0.6)
    assert critical_temperature(SILENT[-0.3], weight_decay=0.5) == pytest.approx(0.65)


@pytest.mark.parametrize(
    ("c", "depth", "decay"), [(-0.3, 1, 0.1), (-0.3, 2, 0.1), (-0.3, 4, 0.0), (0.3, 1, 0.1), (0.3, 3, 0.0)]
)
def test_bias_identity_where_the_noise_vanishes_at_a_point(c, depth, decay):
    law = SGDStationary(SILENT[c], 0.2, depth=depth, width=3, weight_decay=decay)
    parts = bias(law)
    assert abs(parts.residual) < 1e-9
    assert (abs(float(parts.decay)) > 1e-3) == (decay > 0)

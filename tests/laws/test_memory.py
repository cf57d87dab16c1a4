"""What the start decides: theory against runs of SGD from every kind of start."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from diagonal_chains import balanced, column, copies, descend
from scipy.special import betaincc

from sgdvi import InputError, Moments, critical_temperature, memory, stationary_law

rng = np.random.default_rng(7)
X = rng.uniform(0.4, 1.6, 60) * rng.choice([-1.0, 1.0], 60)
Y = X + 1.5 * rng.normal(size=60)
M = Moments.from_data(X, Y)
RATE = 0.02  # the temperature too: the batch size is 1


STARTS = {
    1: [column(*f) for f in ((0.6, 0.6), (0.6, -0.6), (1.1, 0.3), (-0.9, 0.7), (0.0, 0.8), (0.8, 0.0), (0.0, 0.0))],
    2: [
        column(*f)
        for f in (
            (0.7, 0.7, 0.7),  # balanced: right, wrong
            (0.7, -0.7, 0.7),
            (0.4, 0.9, 1.0),  # the smallest is alone: either sign, or zero
            (0.8, -0.5, 1.1),
            (0.0, 0.9, 1.1),
            (0.5, 0.5, 1.2),  # the two smallest are equal: right, wrong, zero
            (0.5, -0.5, 1.2),
            (0.0, 0.0, 1.0),
        )
    ],
    3: [
        column(*f)
        for f in ((-0.5, 1.0, 1.0, 0.9), (-0.6, 0.6, 1.1, 1.1), (-0.6, -0.6, 1.1, 0.9), (-0.8, 0.8, 0.8, 0.8))
    ],
}


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("side", [1, -1])
def test_side_of_one_subnetwork(depth, side):
    m = M if side > 0 else M.mirror()
    end = descend(copies(STARTS[depth]), X, side * Y, 8000, seed=depth).prod(0)[0]
    for start, v in zip(STARTS[depth], end, strict=True):
        told = memory(start, m, RATE, depth)
        assert told.known
        if told.zero_mass == 1:
            assert told.sign == told.width == 0
            # depth 1: exponentially; deeper: like (2 (D-1) beta2 t)^-(D+1)/(D-1), here t = 160
            assert np.all(np.abs(v) < (1e-6 if depth < 3 else 1e-5)), start
            assert np.all(side * v <= 0), start
        else:
            assert told.zero_mass == 0
            assert told.sign == side
            assert np.all(side * v > 0.05), (start, v)
        law = stationary_law(m, RATE, depth, initial=start)
        assert law.zero_mass == told.zero_mass
        assert law.sign == side
    # each kind is among the starts
    assert {memory(start, m, RATE, depth).sign for start in STARTS[depth]} == {0, side}


MIXED = [(0.3, 0.1, -0.5), (-0.7, 0.2, -0.1)]


@pytest.mark.parametrize("start", [balanced(*v, depth=1) for v in MIXED] + [[[0.5, -0.3, 0.2], [0.1, 0.3, -0.9]]])
def test_shares_at_depth_one(start):
    told = memory(start, M, RATE)
    v = descend(copies([start]), X, Y, 6000).prod(0)[:, 0]
    assert told.width == np.sum(told.shares > 0)
    np.testing.assert_allclose(v / v.sum(0), np.repeat(told.shares[:, None], v.shape[1], 1), atol=2e-3)


def test_sums_and_differences_keep_their_signs_and_ratios_at_depth_one():
    start = np.array([[0.5, -0.3, 0.2], [0.1, 0.7, -0.9]])
    end = descend(copies([start]), X, Y, 500)[:, :, 0]
    for sign in (1, -1):
        before, after = start[0] + sign * start[1], end[0] + sign * end[1]
        assert np.all(np.sign(after) == np.sign(before)[:, None])
        np.testing.assert_allclose(after / after[0], (before / before[0])[:, None] * np.ones(after.shape), rtol=1e-9)


DEEP_STARTS = [
    (balanced(0.3, 0.15, depth=2), [0.5, 0.5]),
    (balanced(0.4, -0.3, depth=2), [1.0, 0.0]),
    ([[0.8, -0.4], [0.8, 0.8], [0.8, 1.0]], [0.5, 0.5]),  # the second changes its sign
    ([[0.8, -0.5], [0.8, 0.5], [0.8, 1.1]], [1.0, 0.0]),  # the second cannot
    ([[-0.8, -0.4], [0.8, 0.8], [0.8, 1.0]], [0.0, 1.0]),
]


def test_shares_at_depth_two():
    end = descend(copies([start for start, _ in DEEP_STARTS], 20), X, Y, 10_000).prod(0)
    for index, (start, shares) in enumerate(DEEP_STARTS):
        told = memory(start, M, RATE, 2)
        np.testing.assert_array_equal(told.shares, shares)
        v = end[:, index]
        np.testing.assert_allclose(np.median(v / v.sum(0), 1), shares, atol=0.02)
        law = stationary_law(M, RATE, 2, initial=start)
        assert law.width == told.width == np.sum(np.array(shares) > 0)
        assert law.law.width == law.width


@pytest.mark.parametrize(("c", "decay", "share"), [(0.0, 0.0, 2.0), (-0.2, 0.2, 4.0), (-6.0, 0.0, 2.0)])
def test_probability_of_the_two_ends(c, decay, share):
    """The flow from v = k/2 above Tc, with Gaussian noise and exact steps of log (u + w), until it reaches k."""
    k, chains, step = 1.5, 4000, 4e-3
    x = np.array([-1.7, -0.4, 0.3, 0.9, 1.6, 2.2])
    m = Moments.from_data(x, k * x - c / x)
    alpha1, alpha3, beta1, beta2 = (float(getattr(m, name)) for name in ("alpha1", "alpha3", "beta1", "beta2"))
    heat = share * (beta2 - decay) / alpha3  # where zero begins to attract from below k
    told = memory(column(np.sqrt(k / 2), np.sqrt(k / 2)), m, heat, 1, decay)
    noise, log_v = np.random.default_rng(1), np.full(chains, np.log(k / 2))
    unit = step / (heat * alpha3)  # log v moves by 4 sqrt(step) near zero
    for _ in range(5000):
        v = np.exp(log_v)
        spread = 2 * np.sqrt(heat * alpha1 * unit) * np.abs(v - k)
        xi = 2 * (beta1 * v - beta2) * unit - spread * noise.normal(size=chains)
        log_v -= np.where(v < k, 2 * xi + spread**2 + 4 * decay * unit, 0.0)
    lost = np.mean(log_v < np.log(k / 10))
    assert np.mean(np.abs(np.exp(log_v) / k - 0.5) < 0.4) < 0.002  # all have decided
    assert told.known
    assert told.sign == 1
    # five standard errors and the bias of the step, which is 0.003 (0.006 at steps of 1e-2)
    assert abs(lost - told.zero_mass) < 5 * np.sqrt(told.zero_mass * (1 - told.zero_mass) / chains) + 0.003


def test_known_values_of_the_two_ends():
    m = Moments.linear(1.0, 0.0)  # k = 1, Tc = 1/2
    start = column(np.sqrt(0.5), np.sqrt(0.5))
    for heat in (1.0, 2.0):
        told = memory(start, m, heat)
        q = 0.25 / heat
        assert told.zero_mass == pytest.approx(betaincc(0.5 - q, 1 + q, 0.5), rel=1e-11)
        law = stationary_law(m, np.array([0.4, heat]), initial=start)
        np.testing.assert_allclose(law.zero_mass, [0.0, told.zero_mass], rtol=1e-12)
        np.testing.assert_allclose(law.point_mass, [1.0, 1 - told.zero_mass], rtol=1e-12)
        wide = np.array([[0.3, 0.4], [0.3, 0.4]]) * np.sqrt(2)  # two subnetworks with the same sum
        assert memory(wide, m, heat).zero_mass == pytest.approx(told.zero_mass, rel=1e-12)
    assert memory(column(1.0, 1.0), m, 2.0).zero_mass == memory(column(1.2, 0.9), m, 2.0).zero_mass == 0
    assert memory(column(0.7, -0.7), m, 2.0).zero_mass == 1


def test_interpolation_ends_at_k_from_any_start_that_is_not_locked():
    y = 0.8 * X
    m = Moments.from_data(X, y)
    assert critical_temperature(m) > RATE
    for depth in (1, 2):
        end = descend(copies(STARTS[depth], 10), X, y, 6000).prod(0)[0]
        for start, v in zip(STARTS[depth], end, strict=True):
            told, law = memory(start, m, RATE, depth), stationary_law(m, RATE, depth, initial=start)
            assert law.zero_mass == told.zero_mass == 1 - law.point_mass
            np.testing.assert_allclose(v, law.point * law.point_mass, atol=1e-3)
            assert law.point == pytest.approx(0.8, rel=1e-12)
    # several subnetworks: the noise dies before those of the other sign have gone
    told = memory(balanced(0.5, -0.1, depth=2), m, RATE, 2)
    assert np.all(np.isnan(told.shares))
    np.testing.assert_allclose(memory(balanced(0.5, 0.1, depth=1), m, RATE).shares, [5 / 6, 1 / 6], rtol=1e-12)


def test_what_is_not_known_is_said():
    m = Moments.linear(1.0, 0.0)
    told = memory(column(0.6, 0.5), m, 1.0)
    assert not told.known
    assert np.isnan(told.zero_mass)
    assert "not known" in told.reason
    with pytest.raises(InputError, match="the end of initial must be known.*Give zero_mass"):
        stationary_law(m, 1.0, initial=column(0.6, 0.5))
    law = jax.jit(lambda heat: stationary_law(m, heat, initial=column(0.6, 0.5)))(1.0)
    assert np.all(np.isnan(law.log_prob(np.array([0.0, 0.5, 1.0]))))


def test_weight_decay_and_heat():
    assert memory(column(0.6, 0.6, 0.6), M, RATE, 2, weight_decay=1e-3).zero_mass == 1
    hot = memory(column(0.6, 0.6), M, 1.01 * float(critical_temperature(M)))
    assert (hot.zero_mass, hot.sign, hot.width) == (1.0, 0, 0)
    assert memory(column(0.6, 0.6), M, RATE, 1, weight_decay=float(M.beta2) * 1.01).zero_mass == 1
    assert "no law exists" in hot.reason
    no_signal = Moments(2.0, 0.5, 1.0, 1.0, 0.0)
    assert memory(column(0.6, 0.5), no_signal, 0.1).zero_mass == stationary_law(no_signal, 0.1).zero_mass == 1


def test_depth_zero_remembers_no_side():
    told = memory([[-3.0, 1.0]], M, 0.1, 0)
    assert (told.sign, told.zero_mass, told.width, told.known) == (0, 0.0, 2, True)
    np.testing.assert_array_equal(memory([[-3.0, 1.0]], M, 0.1, 0, weight_decay=0.1).shares, [0.5, 0.5])
    law = stationary_law(M, 0.1, 0, initial=[[-3.0, 1.0]])
    assert (law.width, law.zero_mass) == (2, 0)


def test_reason_in_words():
    assert memory(column(0.6, -0.6), M, RATE).reason.endswith("where the law is: the run ends at zero.")
    assert memory(column(0.0, 0.0), M, RATE).zero_mass == 1
    assert "Of 2 subnetworks 1 vanish" in memory(balanced(0.5, -0.1, depth=1), M, RATE).reason
    assert "become equal" in memory(balanced(0.5, 0.1, depth=2), M, RATE, 2).reason
    assert "lock the sign of what is on v < 0" in memory(column(0.6, -0.6), M.mirror(), RATE).reason
    assert "may pass through zero: the run ends on v > 0" in memory(column(0.6, -0.5), M, RATE).reason
    assert "with probability 0.11862" in memory(column(0.5**0.5, 0.5**0.5), Moments.linear(1.0, 0.0), 1.0).reason


def test_batches_and_traced_parameters(x64):
    start, heats = balanced(0.4, 0.2, -0.3, depth=1), critical_temperature(M) * jnp.array([0.5, 1.5])
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), M, M.mirror())
    law = stationary_law(both, 0.05, initial=start)
    np.testing.assert_array_equal(law.zero_mass, [0, 0])
    np.testing.assert_array_equal(law.sign, [1, -1])
    np.testing.assert_array_equal(stationary_law(both, 0.05, initial=balanced(0.4, depth=1)).zero_mass, [0, 1])
    by_vmap = jax.vmap(lambda heat: stationary_law(M, heat, initial=start).zero_mass)(heats)
    np.testing.assert_array_equal(by_vmap, [0, 1])
    deep = balanced(0.4, 0.2, -0.3, depth=2)
    traced = jax.jit(lambda m: stationary_law(m, 0.05, 2, initial=deep, sign=1).width)
    assert traced(M) == 2
    with pytest.raises(InputError, match="needs one known side; got beta2 of both signs"):
        stationary_law(both, 0.05, 2, initial=deep)
    with pytest.raises(InputError, match="needs one known side; got a traced beta2"):
        jax.jit(lambda m: stationary_law(m, 0.05, 2, initial=deep).zero_mass)(M)
    with pytest.raises(InputError, match="initial must be concrete"):
        jax.jit(lambda initial: stationary_law(M, 0.05, initial=initial).zero_mass)(start)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"initial": [0.5, 0.5, 0.5]}, r"shape \(2, width\); got shape \(3,\)"),
        ({"initial": [[0.5, 0.5], [0.5, 0.5]], "width": 3}, r"shape \(2, 3\); got shape \(2, 2\)"),
        ({"initial": [0.5, 0.5], "width": 2}, r"shape \(2, 2\); got shape \(2,\)"),
        ({"initial": [[], []]}, r"shape \(2, width\)"),
        ({"initial": 0.5}, r"got shape \(\)"),
        ({"initial": [np.nan, 0.5]}, "initial must be finite"),
        ({"initial": "none"}, "initial must be an array of numbers"),
        ({"initial": [0.5, 0.5], "zero_mass": 0.2}, "zero_mass must be left out"),
    ],
)
def test_bad_starts(options, words):
    with pytest.raises(InputError, match=words):
        stationary_law(M, 0.1, **options)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"temperature": 0.0}, "temperature must be"),
        ({"weight_decay": -1.0}, "weight_decay must be"),
        ({"depth": 1.5}, "depth must be"),
        ({"moments": None}, "moments must be sgdvi.Moments"),
        ({"moments": jax.tree.map(lambda leaf: np.full(2, leaf), M)}, "scalar moments"),
    ],
)
def test_bad_parameters(changes, words):
    with pytest.raises(InputError, match=words):
        memory(**{"initial": [0.5, 0.5], "moments": M, "temperature": 0.1, **changes})

"""Which subnetworks of a trained diagonal network survive: against SGD from mixed signs."""

import numpy as np
import pytest
from diagonal_chains import balanced, copies, descend

from sgdvi import InputError, Moments, memory, subnetworks
from sgdvi.draws import make_tree

rng = np.random.default_rng(7)
X = rng.uniform(0.4, 1.6, 60) * rng.choice([-1.0, 1.0], 60)
Y = X + 1.5 * rng.normal(size=60)
M = Moments.from_data(X, Y)
RATE = 0.02
CHAINS = 40

MIXED = {
    # balanced, signs locked: two on the right side, one on the wrong one
    "depth 1, locked": (balanced(0.3, 0.1, -0.5, depth=1), 2),
    "depth 1, free": (np.array([[0.5, -0.3, 0.2], [0.1, 0.3, -0.9]]), 2),
    "depth 1, all wrong, free": (np.array([[0.5, -0.8], [-0.4, 0.6]]), 2),
    "depth 2, locked": (balanced(0.4, 0.2, -0.3, depth=2), 2),
    # the second crosses zero, the third cannot
    "depth 2, one of two crosses": (np.array([[0.8, -0.4, -0.5], [0.8, 0.8, 0.5], [0.8, 1.0, 1.1]]), 2),
    "depth 3, locked": (balanced(0.5, -0.2, 0.3, depth=3), 2),
}


def trained(start, steps, decay=0.0):
    """Factors after SGD, one array of shape (chains, width) for each factor."""
    end = descend(copies([start], CHAINS), X, Y, steps, rate=RATE, decay=decay)[:, :, 0]
    return np.moveaxis(end, 1, -1)


@pytest.mark.parametrize("name", MIXED)
def test_sgd_from_mixed_signs_ends_with_the_effective_width(name):
    start, width = MIXED[name]
    deep = len(start) > 2
    before = subnetworks(list(start), sign=1)
    found = subnetworks(list(trained(start, 6000)))
    assert before.effective_width == width == memory(start, M, RATE, len(start) - 1).width
    assert np.all(found.effective_width == width)
    assert np.all(found.surviving == before.surviving)
    # locked subnetworks die exponentially at depth 1, algebraically at depth 2 and above
    assert found.settled.mean() > (0.8 if deep else 0.999)
    gap = np.abs(found.shares - before.final_shares)
    assert np.median(gap) < (0.03 if deep else 1e-3)


@pytest.mark.parametrize("decay", [0.0, 0.01])
@pytest.mark.parametrize("name", [name for name in MIXED if "depth 1" in name])
def test_ratios_are_conserved_at_depth_one_to_rounding(name, decay):
    start = MIXED[name][0]
    found = subnetworks(list(trained(start, 1000, decay)))
    drift = found.drift_of_ratios(list(start))
    assert drift.shape == (CHAINS,)
    assert drift.max() < 1e-11
    np.testing.assert_allclose(
        found.final_shares, np.broadcast_to(subnetworks(list(start), sign=1).final_shares, (CHAINS, start.shape[1])),
        rtol=1e-9, atol=1e-12,
    )  # fmt: skip
    assert subnetworks(list(2 * start)).drift_of_ratios(list(start)) < 1e-15
    assert subnetworks(list(start * [[1.01], [1.0]])).drift_of_ratios(list(start)) > 1e-4


def test_a_difference_lost_in_float32_is_no_drift_of_ratios():
    """u + w grow and u - w die by one number for all; in float32 what is left of u - w is rounding."""
    start = np.array([[0.5, 0.3, -0.4], [0.1, 0.3, 0.4]])
    total, apart = 3 * (start[0] + start[1]), 1e-6 * (start[0] - start[1])
    end = [((total + side * apart) / 2).astype(np.float32) for side in (1, -1)]
    lost = np.float64(end[0]) - np.float64(end[1])
    assert abs(lost[0] / lost[2] - apart[0] / apart[2]) > 1e-3
    assert subnetworks(end).drift_of_ratios(list(start)) < 1e-6
    assert subnetworks([end[0] * np.float32([1.01, 1, 1]), end[1]]).drift_of_ratios(list(start)) > 1e-3


def test_draws_of_the_driver_are_taken_as_they_come():
    draws = {"u": np.ones((2, 3, 2)), "w": np.full((2, 3, 2), 0.5)}
    tree = make_tree(draws, kind="sgd")
    np.testing.assert_array_equal(subnetworks(tree).values, subnetworks(draws).values)


@pytest.mark.slow
def test_a_locked_subnetwork_that_rounding_unbalances_still_vanishes():
    """Trained in float32, the factors of a balanced subnetwork differ by roundings; by more, one may cross zero."""
    start = balanced(0.4, -0.002, depth=2).astype(np.float32)
    for steps, width in ((1, 1), (100, 1), (10_000, 2)):
        apart = start.copy()
        apart[0, 1] *= np.float32(1 - steps * 1.2e-7)
        assert subnetworks(list(apart)).effective_width == width
        # in double precision the same difference is one
        assert subnetworks(list(apart.astype(float))).effective_width == 2
    # at depth 1 the difference grows: u + w and u - w are multiplied by numbers of their own
    assert subnetworks([np.float32([0.4, -0.3]), np.float32([0.4, 0.3000001])]).surviving.all()


@pytest.mark.parametrize("depth", [2, 3])
def test_survivors_become_equal_at_the_rate_of_the_theory(depth):
    """d log(|v_1|^-m - |v_2|^-m)/dt = -2 D (D-1) T g |v_1 v_2|^m, integrated along each run of a small step."""
    rate, m = 0.002, (depth - 1) / (depth + 1)
    theta = copies([balanced(0.5, 0.25, depth=depth)], 100)
    path = [theta[:, :, 0]]
    for block in range(40):
        theta = descend(theta, X, Y, 500, rate=rate, seed=block)
        path.append(theta[:, :, 0])
    found = subnetworks([np.moveaxis(np.stack([step[k] for step in path]), 1, -1) for k in range(depth + 1)])
    gap = np.abs(np.diff(np.abs(found.values) ** -m, axis=-1))[..., 0]
    fall = np.log(gap[0] / gap[-1]).mean()
    slopes = found.equalisation_rate(M, rate)
    predicted = (np.trapezoid(slopes, dx=500 * rate, axis=0)).mean()
    assert fall > 0.3  # there is something to see
    assert fall == pytest.approx(predicted, rel=0.05)
    assert found.inequality[-1].mean() < found.inequality[0].mean()
    # depth 1 has no such force
    assert np.all(subnetworks([[0.5, 0.2]] * 2).equalisation_rate(M, rate) == 0)


def test_a_run_between_two_widths_is_not_settled():
    found = subnetworks([[0.9, -0.5], [0.9, 0.5], [0.9, 0.5]])
    assert (found.effective_width, found.visible_width, bool(found.settled)) == (1, 2, False)
    assert "not settled: 2 visible" in str(found)
    assert np.isnan(found.equalisation_rate(M, RATE))


def test_values_by_hand():
    found = subnetworks({"u": [1.0, 0.5], "w": [0.5, -0.5]})
    assert (found.depth, found.width, int(found.sign)) == (1, 2, 1)
    np.testing.assert_array_equal(found.values, [0.5, -0.25])
    np.testing.assert_allclose(found.shares, [2.0, -1.0])
    np.testing.assert_allclose(found.imbalance, [0.6, 0.0])
    np.testing.assert_array_equal(found.surviving, [True, False])
    np.testing.assert_array_equal(found.final_shares, [1.0, 0.0])
    assert "effective width 1" in str(found)
    other = subnetworks({"u": [1.0, 0.5], "w": [0.5, -0.5]}, sign=-1)
    np.testing.assert_allclose(other.final_shares, [0.2, 0.8])  # (u - w)^2 = 0.25, 1
    assert found.inequality == 1
    assert "effective width 2 in 3" in str(subnetworks(np.ones((2, 3, 2))))
    assert all(len(line) <= 80 for line in str(subnetworks(np.ones((2, 30)))).splitlines())
    assert "-0.0000" not in str(subnetworks([[0.9, -1e-9], [0.9, 1e-9]]))
    none = subnetworks(np.zeros((2, 3)))
    assert none.effective_width == none.visible_width == 0
    assert np.isnan(none.shares).all()
    assert subnetworks([[1.0, 2.0]]).effective_width == 2  # depth 0: nothing is lost, nothing is told
    assert np.isnan(subnetworks([[1.0, 2.0]]).final_shares).all()


@pytest.mark.parametrize(
    ("params", "options", "words"),
    [
        ({"u": [1.0, 2.0], "w": [1.0]}, {}, r"one shape, \(..., width\)"),
        ([1.0, 2.0], {}, "factors of shape"),
        ([[1.0, np.nan], [1.0, 1.0]], {}, "params must be finite; got 1 of 4"),
        ([["a"]], {}, "params must be arrays of numbers"),
        (3.0, {}, "params must be arrays of numbers"),
        ([], {}, "at least one factor"),
        ([[1.0]] * 2, {"sign": 0}, "sign must be 1, -1 or None"),
        ([[1.0]] * 2, {"sign": np.array([1, -1])}, "sign must be 1, -1 or None"),
        ([[1.0]] * 2, {"tolerance": 1.0}, "tolerance must be below 1"),
    ],
)
def test_bad_input(params, options, words):
    with pytest.raises(InputError, match=words):
        subnetworks(params, **options)


def test_bad_input_of_the_methods():
    found = subnetworks([[1.0, 2.0]] * 3)
    with pytest.raises(InputError, match="ratios are conserved at depth 1; got depth 2"):
        found.drift_of_ratios([[1.0, 2.0]] * 3)
    with pytest.raises(InputError, match=r"initial must have 2 factors of shape \(2,\)"):
        subnetworks([[1.0, 2.0]] * 2).drift_of_ratios([[1.0]] * 2)
    with pytest.raises(InputError, match="temperature must be"):
        found.equalisation_rate(M, -1.0)
    with pytest.raises(InputError, match="moments must be sgdvi.Moments"):
        found.equalisation_rate(None, 1.0)

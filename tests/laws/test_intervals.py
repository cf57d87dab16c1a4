import jax
import numpy as np
import pytest
from law_cases import random_data

from sgdvi import InputError, Moments, critical_temperature, phase, phase_intervals


def reentrant(beta2: float = 0.3355) -> Moments:
    return Moments(1.0, 0.7973, 0.6416, 1.0, beta2)


@pytest.mark.parametrize("seed", range(3))
def test_borders_agree_with_the_labels(seed):
    """On a fine grid of temperatures, for random data: the intervals say what `phase` says at every point."""
    sequences = set()
    for m in random_data(60, seed):
        intervals = phase_intervals(m)
        sequences.add(tuple(str(interval.phase) for interval in intervals))
        assert intervals[0].lower == 0
        assert np.isinf(intervals[-1].upper)
        assert all(a.upper == b.lower and a.phase != b.phase for a, b in zip(intervals, intervals[1:], strict=False))
        borders = np.array([interval.lower for interval in intervals[1:]])
        critical = critical_temperature(m)
        assert np.isclose(borders, critical / 3, rtol=1e-14).any()
        assert np.isclose(borders, critical, rtol=1e-14).any()
        heats = np.concatenate([critical * np.geomspace(1e-3, 1e3, 4000), borders * (1 - 1e-9), borders * (1 + 1e-9)])
        index = np.searchsorted(borders, heats, side="right")
        assert [str(intervals[i].phase) for i in index] == phase(m, heats).tolist()
    assert sequences >= {("IIIb", "IIb", "Ib"), ("IIIb", "IIb", "IIa", "Ia"), ("IIIb", "IIa", "Ia")}


def test_reentrant_data_have_five_intervals():
    intervals = phase_intervals(reentrant())
    assert [str(interval.phase) for interval in intervals] == ["IIIb", "IIb", "IIa", "IIb", "Ib"]
    borders = [interval.lower for interval in intervals[1:]]
    critical = 0.3355 / 0.6416
    # A(T) = (1 - 7.973 T)^2 + 28 T (0.3355 - 1.9248 T)
    turns = sorted(np.roots([7.973**2 - 28 * 1.9248, 28 * 0.3355 - 2 * 7.973, 1.0]))
    assert borders == pytest.approx([critical / 3, *turns, critical], rel=1e-12)


def test_gaussian_data_against_the_formula_of_the_paper():
    """T* = (4k + sqrt(42) s)/(4 (21 s^2 - 8 k^2)) for y = k x + noise with 14 k^2 > 3 s^2 and 21 s^2 > 8 k^2."""
    for k, s in ((1.0, 1.0), (1.0, 0.65), (0.3, 0.5), (2.0, 3.0)):
        star = (4 * k + np.sqrt(42) * s) / (4 * (21 * s**2 - 8 * k**2))
        intervals = phase_intervals(Moments.linear(k, s))
        assert np.isclose([interval.lower for interval in intervals], star, rtol=1e-12).sum() == 1
    assert [str(interval.phase) for interval in phase_intervals(Moments.linear(1.0, 3.0))] == ["IIIb", "IIa", "Ia"]


def test_a_pair_of_borders_that_is_about_to_merge_is_found_or_not_as_it_is():
    """Towards the data where the two mode borders meet, their gap goes to zero like a square root."""
    low, high = 0.3355, 0.4
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if len(phase_intervals(reentrant(middle))) == 5 else (low, middle)
    gaps = []
    for distance in (1e-5, 1e-7, 1e-9):
        borders = [interval.lower for interval in phase_intervals(reentrant(low - distance))]
        gaps.append(borders[3] - borders[2])
    assert np.diff(np.log10(gaps)) == pytest.approx([-1, -1], abs=0.05)
    assert [str(interval.phase) for interval in phase_intervals(reentrant(high + 1e-9))] == ["IIIb", "IIb", "Ib"]


@pytest.mark.parametrize(("a", "b"), [(1e-8, 1.0), (1e8, 1e-8), (1.0, 1e8)])
def test_scaled_data_have_scaled_borders(a, b):
    """At depth 1 x -> a x and y -> b y turn T into T/(a b)."""
    for m in (reentrant(), Moments.linear(1.0, 1.0)):
        factors = (a**4, a**3 * b, a**2 * b**2, a**2, a * b)
        scaled = Moments(*(f * value for f, value in zip(factors, vars(m).values(), strict=True)))
        for one, other in zip(phase_intervals(m), phase_intervals(scaled), strict=True):
            assert one.phase == other.phase
            assert other.lower * a * b == pytest.approx(one.lower, rel=1e-9)


def test_decay_and_sides():
    m, decay = reentrant(), 0.01
    for one, other in zip(phase_intervals(m, decay), phase_intervals(reentrant(0.3355 - decay)), strict=True):
        assert one.phase == other.phase
        assert one.lower == pytest.approx(other.lower, rel=1e-12)
    assert phase_intervals(m.mirror(), decay) == phase_intervals(m, decay)
    assert [str(interval.phase) for interval in phase_intervals(m, sign=-1)] == ["Ia"]
    assert [str(interval.phase) for interval in phase_intervals(m, 1.0)] == ["Ia", "Ib"]
    assert phase_intervals(Moments(1.0, 0.0, 0.0, 1.0, 1.0))[0].upper == np.inf


def test_bad_input():
    with pytest.raises(InputError, match="scalar"):
        phase_intervals(Moments.linear(1.0, 1.0).scale_noise(np.ones(2)))
    with pytest.raises(InputError, match="weight_decay"):
        phase_intervals(Moments.linear(1.0, 1.0), -1.0)
    with pytest.raises(InputError, match="concrete"):
        jax.jit(lambda k: len(phase_intervals(Moments(2.0, 2 * k, 3.0, 1.0, 1.0))))(1.0)

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from law_cases import random_data

from sgdvi import InputError, Moments, Phase, critical_temperature, phase
from sgdvi.laws import nonzero_mode


def test_critical_temperature():
    m = Moments.linear(0.5, 1.0)
    assert critical_temperature(m) == pytest.approx(0.5 / 1.5)
    assert critical_temperature(m, 1, 0.2) == pytest.approx(0.3 / 1.5)
    assert critical_temperature(m, 1, 0.6) == 0
    assert critical_temperature(m.mirror()) == critical_temperature(m)
    assert critical_temperature(m, sign=-1) == 0
    assert critical_temperature(m, 0) == np.inf
    assert critical_temperature(m, 2) == np.inf
    assert critical_temperature(m, 2, 0.1) == 0
    for depth in (0, 1, 2):
        unknown = jax.jit(lambda b, depth=depth: critical_temperature(Moments(2.0, 2.0, 3.0, 1.0, b), depth))
        assert np.isnan(unknown(np.nan))


def test_regimes_of_a_weak_signal():
    m = Moments.linear(0.1, 1.0)
    critical = critical_temperature(m)
    found = [phase(m, share * critical) for share in (0.2, 0.5, 0.9, 1.2)]
    assert found == ["IIIb", "IIa", "IIa", "Ia"]
    assert [p.regime for p in found] == ["III", "II", "II", "I"]
    assert phase(m, 0.1, depth=0) is Phase.NONE


def test_reentrant_data():
    """Data whose nonzero mode vanishes and comes back on heating: no rule with one temperature can be right."""
    m = Moments(1.0, 0.7973, 0.6416, 1.0, 0.3355)
    found = [str(phase(m, t)) for t in np.linspace(0.05, 0.9, 400)]
    order = [found[0]] + [b for a, b in zip(found, found[1:], strict=False) if a != b]
    assert order == ["IIIb", "IIb", "IIa", "IIb", "Ib"]


def slope_of_log_density(m: Moments, temperature: float, v: np.ndarray) -> np.ndarray:
    """d log p/d log v at depth 1 from the stationary Fokker-Planck equation, nothing expanded."""
    noise = m.alpha1 * v**2 - 2 * m.alpha2 * v + m.alpha3
    noise_slope = 2 * (m.alpha1 * v - m.alpha2)
    return -1.5 - v * noise_slope / noise - (m.beta1 * v - m.beta2) / (2 * temperature * noise)


@pytest.mark.parametrize("seed", range(4))
def test_regimes_and_modes_against_the_density_itself(seed):
    """At zero and on a fine grid, for random data: the label counts the modes that are there."""
    seen = set()
    for m in random_data(40, seed):
        critical = float(critical_temperature(m))
        scale = np.sqrt(m.alpha3 / m.alpha1)
        v = np.concatenate([scale * np.geomspace(1e-9, 1e5, 6000), np.linspace(0.5, 2, 6000) * m.alpha2 / m.alpha1])
        v = np.sort(v[v > 0])
        for share in (0.01, 0.2, 0.333, 0.334, 0.5, 0.999, 1.001, 3.0, 30.0):
            slopes = slope_of_log_density(m, share * critical, v)
            found = phase(m, share * critical)
            at_zero = -1.5 + 0.5 / share
            assert found.regime == ("III" if at_zero > 0 else "II" if at_zero > -1 else "I")
            assert slopes[0] == pytest.approx(at_zero, abs=1e-3)
            modes = np.flatnonzero((slopes[:-1] > 0) & (slopes[1:] < 0))
            assert found.has_mode == (len(modes) == 1), (m, share)
            assert len(modes) <= 1
            if len(modes):
                low, high = v[modes[0]], v[modes[0] + 1]
                assert low * (1 - 1e-9) <= nonzero_mode(m, share * critical) <= high * (1 + 1e-9)
            seen.add(str(found))
    assert seen == {"Ia", "Ib", "IIa", "IIb", "IIIb"}


def test_arrays_are_decided_point_by_point():
    data = random_data(12, seed=9)
    batch = Moments(*np.array([list(vars(m).values()) for m in data]).T[:, :, None])
    shares = np.geomspace(0.05, 5, 15)
    heats = np.array([critical_temperature(m) for m in data])[:, None] * shares
    labels = phase(batch, heats)
    assert labels.shape == (12, 15)
    assert [[str(phase(m, t)) for t in row] for m, row in zip(data, heats, strict=True)] == labels.tolist()
    assert np.array_equal(labels == Phase.IIIB, shares * np.ones((12, 1)) < 1 / 3)
    modes = nonzero_mode(batch, heats)
    assert np.array_equal(np.isfinite(modes), np.char.endswith(labels, "b"))
    assert np.array_equal(phase(batch.mirror(), heats), labels)
    assert np.array_equal(phase(batch.mirror(), heats, sign=-1), labels)
    assert set(np.unique(phase(batch, heats, sign=1, weight_decay=1e6))) <= {"Ia", "Ib"}


def test_other_depths_and_array_types():
    m = Moments.linear(jnp.float32(1.0), 1.0)
    assert phase(m, np.float32(0.1)) is Phase.IIIB
    assert phase(m, jnp.array([0.1, 0.2, 0.5])).tolist() == ["IIIb", "IIb", "Ia"]
    assert phase(m, [0.1, 0.2], depth=2).tolist() == ["none", "none"]


def test_data_at_the_edges_of_what_is_possible():
    constant_square = Moments(0.0, 0.0, 1.0, 1.0, 1.0)
    assert phase(constant_square, [0.2, 0.5, 2.0]).tolist() == ["IIIb", "IIa", "Ia"]
    assert phase(Moments(1.0, 0.0, 0.0, 1.0, 1.0), [1e-3, 1e3]).tolist() == ["IIIb", "IIIb"]
    assert phase(Moments.linear(0.0, 1.0), 0.1) is Phase.IA


def test_a_diagram_of_40_000_points_is_decided_at_once():
    m = Moments.linear(1.0, 1.0).scale_noise(np.geomspace(0.01, 10, 200)[:, None])
    begin = time.process_time()
    labels = phase(m, np.geomspace(1e-3, 1, 200))
    assert time.process_time() - begin < 1.0
    assert set(np.unique(labels)) == {"Ia", "Ib", "IIa", "IIb", "IIIb"}


def test_labels_need_concrete_values():
    with pytest.raises(InputError, match="concrete"):
        jax.jit(lambda t: phase(Moments.linear(1.0, 1.0), t) == "Ia")(0.1)
    with pytest.raises(InputError, match="broadcast"):
        phase(Moments.linear(1.0, 1.0).scale_noise(np.ones(3)), np.ones(2))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((-1.0,), "temperature"),
        (([0.1, np.nan],), "temperature must be finite and above 0; got nan"),
        (("warm",), "temperature must be a number"),
        ((0.1, -1), "depth"),
        ((0.1, 1, -1), "decay"),
    ],
)
def test_bad_input(arguments, words):
    with pytest.raises(InputError, match=words):
        phase(Moments.linear(1.0, 1.0), *arguments)

import numpy as np
import pytest

from sgdvi import InputError, Moments, SGDStationary, critical_temperature, laws, phase, phase_diagram

NOISE, HEAT = np.array([0.2, 1.0, 2.5]), np.array([0.05, 0.15, 0.3, 0.6])


def test_the_grid_is_that_of_linear_data():
    diagram = phase_diagram(Moments.linear(1.0, 1.0), NOISE, HEAT)
    for i, s in enumerate(NOISE):
        m = Moments.linear(1.0, s)
        assert diagram.critical[i] == pytest.approx(critical_temperature(m))
        assert diagram.labels[i].tolist() == [str(phase(m, t)) for t in HEAT]
        assert [str(interval.phase) for interval in diagram.intervals(s)][0] == "IIIb"
    law = SGDStationary(Moments.linear(1.0, 1.0), 0.15)
    assert diagram.mean[1, 1] == pytest.approx(float(law.mean), rel=1e-12)
    assert diagram.variance[1, 1] == pytest.approx(float(law.variance), rel=1e-12)
    assert np.array_equal(diagram.variance == 0, HEAT >= diagram.critical[:, None])


def test_noise_is_in_units_of_the_data():
    m = Moments.linear(1.0, 0.5)
    other = phase_diagram(m, NOISE, HEAT, noise_sd=0.5, weight_decay=0.1)
    assert np.array_equal(other.labels, phase_diagram(Moments.linear(1.0, 1.0), NOISE, HEAT, weight_decay=0.1).labels)


@pytest.mark.parametrize("m", [Moments.linear(1.0, 1.0), Moments.linear(-1.0, 1.0)], ids=["right", "left"])
def test_the_discriminant_changes_sign_at_the_borders_of_the_mode(m):
    diagram = phase_diagram(m, np.array([0.9, 1.0]), np.linspace(0.01, 0.6, 4000))
    borders = [interval.lower for interval in diagram.intervals(1.0)]
    crossings = np.flatnonzero(np.diff(np.sign(diagram.mode_discriminant[1])))
    roots = diagram.double_root(np.ones(len(crossings)), diagram.temperature[crossings])
    at = diagram.temperature[crossings][roots > 0]
    assert at == pytest.approx([border for border in borders if np.isclose(border, 0.20155, atol=1e-3)], abs=2e-4)
    v = diagram.double_root(np.array([1.0]), np.array([0.20155]))
    assert v == pytest.approx(abs((1 - 20 * 0.20155) / (28 * 0.20155)), rel=1e-3)


def test_the_smooth_variance_is_near_the_variance(monkeypatch):
    m, noise = Moments.linear(-1.0, 1.0), np.geomspace(1 / 30, 3.0, 17)
    heat = np.concatenate([np.geomspace(1e-4, 0.1, 14), np.linspace(0.11, 1.2, 17)])
    diagram = phase_diagram(m, noise, heat, weight_decay=0.01)
    # To less than the width of a contour; zero at the same points.
    np.testing.assert_allclose(diagram.smooth_variance, diagram.variance, rtol=5e-3, atol=0)
    some = phase_diagram(m, noise[:2], heat[:5])
    assert some.smooth_variance is some.variance
    monkeypatch.setattr(laws.diagram, "_NOISES", 1)
    monkeypatch.setattr(laws.diagram, "_HEATS", 1)
    decades = phase_diagram(m, np.array([1e-3, 3.0]), heat[:5])
    assert decades.smooth_variance is decades.variance


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((NOISE[::-1], HEAT), "noise must increase"),
        ((NOISE, [0.1]), "temperature must be a vector of at least 2"),
        ((NOISE - 1, HEAT), "noise must be a vector"),
        ((NOISE, [0.1, np.nan]), "temperature must be a vector"),
    ],
)
def test_bad_input(arguments, words):
    with pytest.raises(InputError, match=words):
        phase_diagram(Moments.linear(1.0, 1.0), *arguments)


def test_data_without_a_diagram():
    with pytest.raises(InputError, match="beta2 must not be 0"):
        phase_diagram(Moments.linear(0.0, 1.0), NOISE, HEAT)
    with pytest.raises(InputError, match="scalar"):
        phase_diagram(Moments.linear(1.0, 1.0).scale_noise(NOISE), NOISE, HEAT)

import numpy as np
import pytest

from sgdvi import InputError, Moments, Phase, SGDStationary, critical_temperature, phase
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


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("data", [(1.0, 1.0), (1.0, 0.1), (0.3, 1.0)])
def test_suffix_against_the_density_itself(share, data):
    m = Moments.linear(*data)
    heat = share * critical_temperature(m)
    law = SGDStationary(m, heat)
    v = np.geomspace(1e-6, 20, 20_000)
    height = law.log_prob(v)
    inner = (height[1:-1] > height[:-2]) & (height[1:-1] > height[2:])
    found = phase(m, heat)
    assert found.has_mode == inner.any()
    if inner.any():
        assert nonzero_mode(m, heat) == pytest.approx(v[1:-1][inner][0], rel=2e-3)
    assert (found.regime == "III") == (height[0] < height[100])


@pytest.mark.parametrize(
    ("arguments", "words"), [((-1.0,), "temperature"), ((0.1, -1), "depth"), ((0.1, 1, -1), "decay")]
)
def test_bad_input(arguments, words):
    with pytest.raises(InputError, match=words):
        phase(Moments.linear(1.0, 1.0), *arguments)

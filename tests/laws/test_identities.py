import jax
import numpy as np
import pytest
from law_cases import IDS, SETS

from sgdvi import InputError, Moments, SGDStationary, bias, stationary_law


@pytest.mark.parametrize(("m", "temperature", "options"), SETS, ids=IDS)
def test_the_identity_holds(m, temperature, options):
    parts = bias(SGDStationary(m, temperature, **options))
    assert abs(float(parts.residual)) < 1e-12
    towards_zero = -np.sign(float(m.beta2))
    assert towards_zero * parts.noise >= 0
    assert towards_zero * parts.decay >= 0
    assert (parts.noise == 0) == (options["depth"] == 0)


@pytest.mark.parametrize("depth", range(21))
def test_every_depth(depth):
    law = SGDStationary(Moments.linear(1.0, 0.5), 0.1, depth=depth, width=2)
    assert abs(float(bias(law).residual)) < 1e-12


def test_batches():
    laws = SGDStationary(Moments.linear(1.0, 0.5), np.array([[0.01], [0.3]]))
    parts = bias(laws)
    assert parts.value.shape == parts.residual.shape == (2, 1)
    assert parts.noise[1, 0] == pytest.approx(float(bias(SGDStationary(Moments.linear(1.0, 0.5), 0.3)).noise))


def test_bias_is_linear_in_a_small_temperature():
    """E[v] - v* = -D T g(v*) (v*/d)^m/beta1 to first order."""
    m = Moments.linear(2.0, 0.5)
    for depth, width in ((1, 1), (3, 2)):
        parts = bias(SGDStationary(m, 1e-6, depth=depth, width=width))
        slope = depth * m.noise(2.0) * (2.0 / width) ** ((depth - 1) / (depth + 1))
        assert float(parts.noise) == pytest.approx(-1e-6 * slope, rel=1e-4)


def test_decay_at_depth_0_and_1():
    m = Moments.linear(1.0, 1.0)
    assert float(bias(SGDStationary(m, 0.1, weight_decay=0.2)).decay) == pytest.approx(-0.2)
    flat = bias(SGDStationary(m, 0.1, depth=0, width=2, weight_decay=0.2))
    assert float(flat.decay) == pytest.approx(-0.1 / 1.1)
    assert float(flat.value) == pytest.approx(1 / 1.1 - 1)


class Wrong(SGDStationary):
    """A law whose mean is not that of its density."""

    @property
    def mean(self):
        return 1.0001 * super().mean


def test_a_wrong_law_is_found_out():
    assert abs(bias(Wrong(Moments.linear(1.0, 1.0), 0.1)).residual) > 1e-5


def test_bad_input():
    m = Moments.linear(1.0, 1.0)
    with pytest.raises(InputError, match="SGDStationary"):
        bias(stationary_law(m, 0.1))
    with pytest.raises(InputError, match="concrete"):
        jax.jit(lambda t: bias(SGDStationary(m, t)).value)(0.1)

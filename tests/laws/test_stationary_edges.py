"""The exact law on one branch where digits, the support or the law itself end."""

from typing import Any

import jax
import numpy as np
import numpyro.distributions as dist
import pytest
from mpmath import mp, mpf

import sgdvi
from sgdvi import InputError, LinearNetwork, Moments, SGDStationary, critical_temperature, stationary_law


@pytest.mark.parametrize(("near", "decay"), [("0.999999999999", 0.0), ("0.999999999999999", 0.1)])
def test_multiples_near_the_critical_temperature_keep_their_digits(near: str, decay: float) -> None:
    """Of T itself 1e-12 below Tc only four digits of Tc - T are left; of T given as a number, those of that number."""
    x, y = [1.9, -1.4, 0.8, -0.6, 0.3], [1.7, -1.0, 0.9, -0.2, 0.6]
    moments, network = Moments.from_data(x, y), LinearNetwork(x, y, prior_sd=(5 * decay) ** -0.5 if decay else np.inf)
    a1, a2, a3, b1, b2 = (mpf(float(leaf)) for leaf in jax.tree.leaves(moments))

    def mean(multiple: Any) -> Any:
        heat, power = multiple * (b2 - mpf(decay)) / a3, (1 / multiple - 1) / 2
        root, rest = mp.sqrt(a1 * a3 - a2**2), (b2 - mpf(decay)) / (2 * heat * a3)

        def regular(v: Any) -> Any:
            """The density over v^(power - 1)."""
            g = a1 * v * v - 2 * a2 * v + a3
            pull = (b1 / (2 * heat) - a2 * rest) / root
            return g ** (-1 - rest / 2) * mp.exp(-pull * mp.atan((a1 * v - a2) / root))

        at_zero, far = regular(mpf(0)), [1, 2, 4, 10, 100, mp.inf]
        mass = at_zero / power + mp.quad(lambda v: v ** (power - 1) * (regular(v) - at_zero), [0, 0.1, 0.3, 1])
        mass += mp.quad(lambda v: v ** (power - 1) * regular(v), far)
        return mp.quad(lambda v: v**power * regular(v), [0, 0.1, 0.3, *far]) / mass

    with mp.workdps(30):
        want = float(mean(mpf(near)))
        plain = float(near) * float(critical_temperature(moments, weight_decay=decay))
        exact_plain = float(mean(mpf(plain) * a3 / (b2 - mpf(decay))))
    text = f"{near}Tc"
    laws = [law(moments, text, weight_decay=decay) for law in (SGDStationary, stationary_law)]
    laws += [make(network.as_temperature(text)) for make in (network.branch_law, network.law)]
    for each in (*laws, sgdvi.fluctuations(moments, text, weight_decay=decay)):
        assert float(each.mean) == pytest.approx(want, rel=1e-9, abs=0)
    assert abs(exact_plain / want - 1) > 1e-6
    if not decay:  # B = beta2 - gamma is rounded otherwise
        assert float(SGDStationary(moments, plain).mean) == pytest.approx(exact_plain, rel=1e-9, abs=0)


def test_support_and_validation():
    m = Moments.linear(1.0, 1.0)
    right, left, whole = SGDStationary(m, 0.1), SGDStationary(m.mirror(), 0.1, sign=-1), SGDStationary(m, 0.1, depth=0)
    assert right.support is dist.constraints.positive
    assert whole.support is dist.constraints.real
    assert bool(left.support(-1.0))
    assert not bool(left.support(1.0))
    outside = np.array([-1.0, 0.0, np.inf])
    silent = SGDStationary(m, 0.1, validate_args=False)
    assert np.all(silent.log_prob(outside) == -np.inf)
    np.testing.assert_array_equal(silent.cdf(outside), [0.0, 0.0, 1.0])
    assert np.isnan(silent.log_prob(np.nan))
    with pytest.warns(UserWarning, match="Out-of-support"):
        SGDStationary(m, 0.1, validate_args=True).log_prob(-1.0)
    v = np.array([0.2, 0.9])
    np.testing.assert_allclose(left.log_prob(-v), right.log_prob(v), rtol=1e-14)
    np.testing.assert_allclose(left.cdf(-v), 1 - right.cdf(v), rtol=1e-12)
    levels = np.concatenate([np.geomspace(1e-5, 0.49, 25), 1 - np.geomspace(0.5, 1e-5, 25)])
    np.testing.assert_allclose(left.icdf(levels), -right.icdf(1 - levels), rtol=1e-9)
    assert left.mean == -right.mean
    assert left.mode == -right.mode
    assert np.all(np.asarray(left.sample(jax.random.key(0), (50,))) < 0)


def test_below_the_smallest_float():
    m = Moments.linear(0.1, 1.0)
    law = SGDStationary(m, 0.9999 * 0.1 / float(m.alpha3))
    assert law.icdf(1e-6) == 0.0
    log_v = law.log_icdf(np.array([1e-6, 0.5]))
    assert np.all(np.isfinite(log_v))
    assert log_v[0] < -1e5
    # the cdf is v^e / const down there, e = Tc/(2T) - 1/2
    e = 0.5 / 0.9999 - 0.5
    assert (log_v[1] - log_v[0]) * e == pytest.approx(np.log(0.5 / 1e-6), rel=1e-6)
    draws = np.asarray(law.sample(jax.random.key(0), (100,)))
    assert np.all(draws > 0)


@pytest.mark.parametrize(("depth", "power"), [(0, None), (1, 3.5), (2, 4.0)])
def test_tails_go_on_where_squares_overflow(depth: int, power: float | None) -> None:
    law = SGDStationary(Moments.linear(slope=1.0, noise=1.0), 0.1, depth=depth)
    power = float(law.tail_exponent) if power is None else power
    far = np.array([1e140, 1e150, 1e154, 1e200, 1e300])
    np.testing.assert_allclose(law.score(far) * far, -power, rtol=1e-12)
    np.testing.assert_allclose(np.diff(law.log_survival(far)), (1 - power) * np.diff(np.log(far)), rtol=1e-12)
    np.testing.assert_array_equal(law.log_cdf(far), 0)
    if depth == 0:
        np.testing.assert_allclose(np.diff(law.log_cdf(-far)), (1 - power) * np.diff(np.log(far)), rtol=1e-12)


def test_minima_whose_squares_underflow_are_refused() -> None:
    assert SGDStationary(Moments(2.0, 0.0, 1.0, 1.0, 1e-100), 0.5e-100).mean == pytest.approx(5e-101, rel=1e-9)
    with pytest.raises(InputError, match=r"at least 1e-150 .* in size; got 1e-300"):
        SGDStationary(Moments(2.0, 0.0, 1.0, 1.0, 1e-300), 0.5e-300)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"temperature": -1.0}, "temperature must be above 0"),
        ({"temperature": np.nan}, "temperature must be above 0"),
        ({"temperature": np.inf}, "temperature must be above 0"),
        ({"temperature": [0.1, -0.1]}, "temperature must be above 0"),
        ({"temperature": "warm"}, "temperature must be a number or a multiple of Tc; got 'warm'"),
        ({"weight_decay": np.nan}, "weight_decay must be at least 0"),
        ({"depth": np.nan}, "depth must be a whole number"),
        ({"width": 2.5}, "width must be a whole number of at least 1"),
        ({"moments": Moments(2.0, 0.0, 3.0, 1.0, 0.0)}, "none at any temperature; got beta2 = 0"),
        ({"moments": Moments(2.0, 0.0, 3.0, 1.0, 0.0), "depth": 3}, "none at any temperature; got beta2 = 0"),
        ({"temperature": 1.0}, "below the critical temperature 0.333333 .*got 1.*point mass at 0"),
        ({"weight_decay": -0.1}, "weight_decay must be at least 0"),
        ({"weight_decay": 2.0}, "none at any temperature"),
        ({"sign": -1}, "other side: sign=1"),
        ({"sign": 2}, "sign must be 1"),
        ({"depth": -1}, "depth must be a whole number"),
        ({"depth": 1.5}, "depth must be a whole number"),
        ({"depth": 2, "weight_decay": 0.1}, "weight_decay must be 0 at depth 2"),
        ({"depth": 2, "sign": -1}, "none at any temperature"),
        ({"width": 0}, "width must be a whole number of at least 1"),
        ({"moments": Moments(2.0, 2.0, 2.0, 1.0, 1.0)}, "fitted exactly there; got Delta = 0.*point mass"),
        ({"moments": (2.0, 2.0, 3.0, 1.0, 1.0)}, "must be sgdvi.Moments; got tuple"),
    ],
)
def test_bad_parameters(changes, words):
    arguments = {"moments": Moments.linear(1.0, 1.0), "temperature": 0.1, **changes}
    with pytest.raises(InputError, match=words):
        SGDStationary(**arguments)

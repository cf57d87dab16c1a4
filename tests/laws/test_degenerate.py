"""Data whose noise vanishes somewhere: reading them off the moments, and which laws they leave."""

import jax
import mpmath
import numpy as np
import pytest

from sgdvi import Moments
from sgdvi.laws.degenerate import crossing_probability, interpolation, support

X = np.array([-1.7, -0.4, 0.3, 0.9, 1.6, 2.2])


def data(k: float, c: float) -> Moments:
    return Moments.from_data(X, k * X - c / X)


def ends(moments: Moments, temperature: float, depth: int, width: int = 1, weight_decay: float = 0.0) -> tuple:
    """What is invariant: ("law", lower, upper), ("point", k) or neither, and whether zero attracts."""
    with jax.enable_x64(True):
        s = support(moments, temperature, depth, width, weight_decay)
    assert not (s.proper and s.fixed)
    law = ("law", float(s.lower), float(s.upper)) if s.proper else ("point", float(s.point)) if s.fixed else ()
    return (*law, bool(s.collapses))


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize(("k", "c"), [(1.5, 0.0), (-0.3, 0.0), (1.5, 1e-7), (0.7, -2.0), (-2.0, 3.0), (0.0, 1.0)])
def test_slope_and_offset_are_read_off_the_moments(k, c, scale):
    x, y = X / scale, scale * (k * X - c / X)
    with jax.enable_x64(True):
        got = interpolation(Moments.from_data(x, y))
    assert got.holds
    assert not got.quiet
    assert got.k == pytest.approx(k * scale**2, rel=1e-12, abs=0)
    assert got.c == pytest.approx(c, rel=1e-12 + 1e-13 * abs(k / c if c else 0), abs=1e-13 * abs(k))


def test_other_data_are_not_degenerate():
    rng = np.random.default_rng(0)
    x = rng.normal(size=50)
    m = Moments.from_data(np.repeat(x, 2), np.repeat(x, 2) + np.tile([1e-5, -1e-5], 50))
    with jax.enable_x64(True):
        assert not interpolation(m).holds  # Delta is 1e-10 of alpha1 alpha3
        assert not interpolation(Moments.linear(1.0, 1.0)).holds
        constant = interpolation(Moments.from_data(np.array([1.0, -1.0, 1.0, -1.0]), np.array([2.0, -1.0, 0.5, 0.1])))
        assert not constant.holds
        assert not constant.quiet
        assert interpolation(Moments.from_data(np.array([0.3, -0.3, 0.3]), np.array([0.7, -0.7, 0.7]))).quiet


INF = np.inf


@pytest.mark.parametrize("depth", [0, 1, 2, 5])
@pytest.mark.parametrize("share", [0.3, 3.0])
def test_interpolation(depth, share):
    m = data(1.5, 0.0)
    heat = share * float(m.beta2 / m.alpha3)
    k = ("point", pytest.approx(1.5, rel=1e-13))
    assert ends(m, heat, depth) == (*k, depth == 1 and share > 1)
    left = ends(m.mirror(), heat, depth)
    assert left == ((True,) if depth else ("point", pytest.approx(-1.5, rel=1e-13), False))


def test_offset_moves_the_law_to_one_side_of_k():
    for c, law in ((0.4, ("law", 0.0, 1.5)), (-0.4, ("law", 1.5, INF))):
        m = data(1.5, c)
        tc = float(m.beta2 / m.alpha3)
        for depth in (1, 2, 5):
            got = ends(m, 0.5 * tc, depth)
            assert got[:3] == ("law", pytest.approx(law[1], rel=1e-12), pytest.approx(law[2], rel=1e-12))
            assert not got[3]
        # above Tc only c < 0 keeps its law, which no run leaves
        hot = ends(m, 2 * tc, 1)
        assert (hot[0] == "law", hot[-1]) == (c < 0, True) if c < 0 else hot == (True,)
        assert ends(m, 2 * tc, 2)[0] == "law"
        assert ends(m.mirror(), 0.1 * tc, 1) == ends(m.mirror(), 0.1 * tc, 2) == (True,)
    b1 = float(data(1.5, 0.0).beta1)
    far = data(1.5, 1.5 * b1 + 0.5)  # beta2 = -1/2: the law is on v < 0, where nothing is singular
    assert ends(far, 0.1, 1) == ends(far, 0.1, 2) == (True,)
    assert ends(far.mirror(), 0.5 * 0.5 / float(far.alpha3), 1) == ("law", 0.0, INF, False)
    assert ends(far.mirror(), 1.5 * 0.5 / float(far.alpha3), 1) == (True,)
    assert ends(far.mirror(), 1.5 * 0.5 / float(far.alpha3), 2) == ("law", 0.0, INF, False)


def test_weight_decay_shifts_the_offset():
    m = data(1.5, -0.3)
    tc = float((m.beta2 - 0.3) / m.alpha3)
    assert ends(m, 0.5 * tc, 1, weight_decay=0.3) == ("point", pytest.approx(1.5), False)
    assert ends(m, 1.5 * tc, 1, weight_decay=0.3) == ("point", pytest.approx(1.5), True)
    assert ends(m, 0.5 * tc, 1, weight_decay=0.5) == ("law", 0.0, pytest.approx(1.5), False)
    # depth 0: gamma/d k; depth 2: gamma (d/k)^(1/3) against c
    assert ends(m, 0.1, 0, 3, 0.6) == ("point", pytest.approx(1.5), False)
    assert ends(m, 0.1, 0, 3, 0.61)[:3] == ("law", -INF, pytest.approx(1.5))
    assert ends(m, 0.1, 0, 3, 0.59)[:3] == ("law", pytest.approx(1.5), INF)
    assert ends(m, 0.1, 2, 12, 0.14) == ("law", pytest.approx(1.5), INF, True)
    assert ends(m, 0.1, 2, 12, 0.15) == ("point", pytest.approx(1.5), True)
    assert ends(m, 0.1, 2, 12, 0.16) == (True,)


def test_noise_that_vanishes_at_zero():
    m = data(0.0, -1.0)  # y = 1/x
    assert ends(m, 100.0, 1) == ends(m, 100.0, 3) == ("law", 0.0, INF, False)
    assert ends(m, 100.0, 1, weight_decay=1.5) == ends(m.mirror(), 100.0, 1) == (True,)
    assert ends(m, 1.0, 0)[:3] == ("law", pytest.approx(0.0), INF)
    assert ends(Moments.from_data(X, 0 * X), 1.0, 1) == (True,)
    assert ends(Moments.from_data(X, 0 * X), 1.0, 0) == ("point", 0.0, False)


def test_no_noise_at_all():
    m = Moments.from_data(np.array([0.5, -0.5, 0.5]), np.array([1.0, -1.0, 1.0]))
    assert ends(m, 1.0, 0) == ends(m, 1.0, 1) == ends(m, 1.0, 4) == ("point", 2.0, False)
    assert ends(m, 1.0, 1, weight_decay=0.1) == ("point", pytest.approx(1.6), False)
    assert ends(m, 1.0, 1, weight_decay=0.6) == ends(m.mirror(), 1.0, 1) == (True,)


def test_ordinary_data_keep_their_transition():
    m = Moments.linear(1.0, 1.0)
    assert ends(m, 0.3, 1) == ("law", 0.0, INF, False)
    assert ends(m, 0.35, 1) == ends(m.mirror(), 0.1, 1) == ends(m, 0.1, 2, weight_decay=0.01) == (True,)
    assert ends(m, 9.0, 2) == ("law", 0.0, INF, False)
    assert ends(m, 9.0, 0) == ("law", -INF, INF, False)
    assert ends(m, np.nan, 1) == (False,)


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_it_is_traceable(x64, depth):
    heats = np.array([0.01, 1.0])
    for m in (data(1.5, 0.0), data(0.3, -0.1), data(1 / 3, 1e-9), Moments.linear(1.0, 1.0)):
        want = support(m, heats, depth, 3, 0.05)
        for got in (
            jax.jit(support, static_argnums=2)(m, heats, depth, 3, 0.05),
            jax.vmap(lambda t, m=m: support(m, t, depth, 3, 0.05))(heats),
        ):
            for a, b in zip(got, want, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-14)
    for m in (data(1 / 3, 1e-9), data(-0.7, 1e-6)):  # the exact products survive what the compiler fuses
        np.testing.assert_allclose(jax.jit(interpolation)(m).c, interpolation(m).c, rtol=1e-15)


@pytest.mark.parametrize("c", [0.0, -1e-6, -0.3, -6.0])
@pytest.mark.parametrize("share", [1.0001, 2.0, 1e3])
def test_crossing_probability_against_quadrature(c, share):
    m, k = data(1.5, c), 1.5
    heat = share * float(m.beta2 / m.alpha3)
    unit = mpmath.mpf(2 * heat * float(m.alpha1) * k**2)
    q, kappa = mpmath.mpf(float(m.beta2)) / unit, -c / unit
    power = mpmath.mpf(1) / 2 - q

    def scale(end):
        # in z = x^power nothing is singular at 0
        def slope(z):
            x = z ** (1 / power)
            return (1 - x) ** q * mpmath.exp(-kappa * x / (1 - x)) if x < 1 else mpmath.mpf(0)

        top = end**power
        return mpmath.quad(slope, [0, top * 0.9, top * 0.99, top * 0.999, top])

    shares = np.array([1e-9, 0.1, 0.5, 0.99])
    want = [float(scale(mpmath.mpf(s)) / scale(mpmath.mpf(1))) for s in shares]
    with jax.enable_x64(True):
        got = crossing_probability(k * shares, m, heat, 0.0)
        beyond = crossing_probability(np.array([-0.1, 0.0, 1.5, 1.6]), m, heat, 0.0)
    np.testing.assert_allclose(got, want, rtol=1e-11)
    np.testing.assert_array_equal(beyond, [0, 0, 1, 1])

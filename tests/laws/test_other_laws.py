"""The laws beside SGDStationary: second order, infinite depth, and the metastable bulk."""

import jax
import numpy as np
import pytest

from sgdvi import InfiniteDepthLaw, InputError, MetastableLaw, Moments, SecondOrderLaw, SGDStationary

M = Moments.linear(1.0, 1.0)


def metastable_score(v, heat, depth, width, decay):
    n, m = depth + 1, (depth - 1) / (depth + 1)
    pull = width ** (1 - 2 / n) * (M.beta1 * v - M.beta2 + decay * (width / v) ** m) / (n * heat * v ** (2 * depth / n))
    return -3 * depth / n / v - (2 * (M.alpha1 * v - M.alpha2) + pull) / M.noise(v)


@pytest.mark.parametrize(("depth", "width", "decay"), [(2, 1, 0.01), (2, 4, 0.05), (5, 1, 0.002)])
def test_metastable_bulk(depth, width, decay):
    law = MetastableLaw(M, 0.05, depth=depth, width=width, weight_decay=decay)
    v = np.asarray(law.icdf(np.linspace(0.01, 0.99, 50)))
    np.testing.assert_allclose(law.score(v), metastable_score(v, 0.05, depth, width, decay), rtol=1e-9, atol=1e-9)
    step = 1e-5 * v
    slope = (np.asarray(law.log_prob(v + step)) - law.log_prob(v - step)) / (2 * step)
    np.testing.assert_allclose(slope, law.score(v), rtol=1e-6, atol=1e-6)
    assert law.log_prob(0.999 * law.edge) == -np.inf
    np.testing.assert_allclose(law.cdf(law.icdf(0.3)), 0.3, rtol=1e-10)
    assert law.barrier > 0


def test_the_barrier_is_the_integral_of_the_score():
    law = MetastableLaw(M, 0.1, depth=2, weight_decay=0.05)
    x = np.linspace(np.log(float(law.edge)), 1.0, 20_001)
    slope = metastable_score(np.exp(x), 0.1, 2, 1, 0.05) * np.exp(x) + 1  # of the density of log v
    assert slope[1] > 0
    level = np.concatenate([[0.0], np.cumsum((slope[1:] + slope[:-1]) / 2 * np.diff(x))])
    assert float(law.barrier) == pytest.approx(level.max(), rel=1e-3)


@pytest.mark.parametrize(("depth", "width", "decay"), [(2, 1, 0.05), (3, 4, 0.01)])
def test_lifetime_is_the_mean_time_of_first_passage(depth, width, decay):
    """Exact for a diffusion: the integral of 2/(s^2 p) from below the barrier to the bulk, times the mass above."""
    heat, n, m = 0.1, depth + 1, (depth - 1) / (depth + 1)
    law = MetastableLaw(M, heat, depth=depth, width=width, weight_decay=decay)
    x = np.linspace(np.log(float(law.edge)) - 3, 25.0, 200_001)
    slope = metastable_score(np.exp(x), heat, depth, width, decay) * np.exp(x) + 1
    step = x[1] - x[0]
    level = np.concatenate([[0.0], np.cumsum((slope[1:] + slope[:-1]) / 2 * step)])
    density = np.exp(np.minimum(level - level[x > np.log(float(law.edge))].max(), 300.0))
    spread = 4 * heat * n**2 * M.noise(np.exp(x)) * (np.exp(x) / width) ** (2 * m)
    above, start = np.cumsum(density[::-1])[::-1] * step, np.searchsorted(x, np.log(float(law.mode)))
    time = np.sum((2 / (spread * density) * above)[:start]) * step
    assert float(law.barrier) > 8  # so that the collapsed side holds nothing of the time
    assert float(law.lifetime) == pytest.approx(time, rel=1e-3)


@pytest.mark.slow
def test_lifetime_against_the_flow():
    """First passage of the flow of log v, from the bulk to well beyond the barrier."""
    heat, decay, depth = 0.1, 0.15, 2
    law = MetastableLaw(M, heat, depth=depth, weight_decay=decay)
    n, m = depth + 1, (depth - 1) / (depth + 1)
    rng = np.random.default_rng(3)
    start, runs, dt = law.sample(jax.random.key(0), (300,)), 300, 4e-3
    x, alive, time, ends = np.log(np.asarray(start, float)), np.ones(runs, bool), 0.0, np.zeros(runs)
    beyond = np.log(float(law.edge)) - 1.0
    while time < 200:
        v = np.exp(x[alive])
        spread = 4 * heat * n**2 * M.noise(v) * v ** (2 * m)
        # no current: the drift of log v is half of the derivative of s^2 p over p
        bend = spread * (2 * (M.alpha1 * v - M.alpha2) * v / M.noise(v) + 2 * m)
        drift = (spread * (metastable_score(v, heat, depth, 1, decay) * v + 1) + bend) / 2
        # far out the noise is superlinear, and no step is small enough: turn back before
        x[alive] = np.minimum(x[alive] + drift * dt + np.sqrt(spread * dt) * rng.normal(size=len(v)), 0.5)
        time += dt
        gone = alive & (x < beyond)
        ends[gone] = time
        alive &= ~gone
    rate = (~alive).sum() / (ends[~alive].sum() + alive.sum() * time)
    # Kramers' formula holds for high barriers; this one is a few nats
    assert 1 < float(law.barrier) < 6
    assert 1 / rate == pytest.approx(float(law.lifetime), rel=0.35)
    assert float(law.log_lifetime) == pytest.approx(np.log(float(law.lifetime)))


def test_second_order_goes_over_into_first_order():
    v = np.linspace(0.1, 2.0, 9)
    gaps = [
        np.abs(SecondOrderLaw(M, 0.1, batch_size=s).log_prob(v) - SGDStationary(M, 0.1).log_prob(v)).max()
        for s in (1e-2, 1e-3)
    ]
    assert gaps[0] / gaps[1] == pytest.approx(10, rel=0.1)
    law = SecondOrderLaw(M, 0.1, batch_size=2.0)
    assert law.critical_temperature == pytest.approx(1 / (3 + 2))
    assert float(law.tail_exponent) == pytest.approx(3.5 + 1.5 * 2 / 2)


def test_a_law_that_does_not_exist_is_nan_when_traced():
    for make in (
        lambda t: SecondOrderLaw(M, t, batch_size=2.0),  # critical at 0.2
        lambda t: InfiniteDepthLaw(M, t - 1.0, ratio=1.0),
        lambda t: MetastableLaw(M, t - 1.0, depth=2, weight_decay=0.01),
    ):
        assert np.isnan(jax.jit(lambda t, make=make: make(t).tail_exponent)(0.5))


def test_infinite_depth_knows_only_the_ratio_over_the_temperature():
    v = np.linspace(0.05, 2.0, 9)
    one, other = InfiniteDepthLaw(M, 0.5, ratio=1.0), InfiniteDepthLaw(M, 1.0, ratio=2.0)
    np.testing.assert_allclose(one.log_prob(v), other.log_prob(v), rtol=1e-12)
    assert float(one.tail_exponent) == 5
    cold, hot = InfiniteDepthLaw(M, 1.0, ratio=1e4), InfiniteDepthLaw(M, 1.0, ratio=1e-2)
    assert float(cold.mean) == pytest.approx(1.0, abs=1e-2)
    assert float(hot.mean) < 0.05


def test_left_branches_mirror():
    for make in (
        lambda m, sign: SecondOrderLaw(m, 0.1, batch_size=2.0, sign=sign),
        lambda m, sign: InfiniteDepthLaw(m, 0.5, ratio=1.0, sign=sign),
        lambda m, sign: MetastableLaw(m, 0.05, depth=2, weight_decay=0.01, sign=sign),
    ):
        right, left = make(M, 1), make(M.mirror(), -1)
        np.testing.assert_allclose(left.log_prob(-0.7), right.log_prob(0.7), rtol=1e-13)
        assert float(left.mean) == -float(right.mean)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SecondOrderLaw(M, 0.3, batch_size=2.0), "below 0.2 for a second-order law"),
        (lambda: SecondOrderLaw(M, 0.1, batch_size=0.0), "batch_size must be above 0"),
        (lambda: SecondOrderLaw(Moments.linear(1.0, 0.0), 0.1, batch_size=2.0), "Delta must be above 0"),
        (lambda: InfiniteDepthLaw(M, 0.1, ratio=0.0), "ratio must be"),
        (lambda: InfiniteDepthLaw(M, 0.1, ratio=1.0, sign=-1), "other side: sign=1"),
        (lambda: MetastableLaw(M, 0.1, depth=1, weight_decay=0.1), "depth must be a whole number of at least 2"),
        (lambda: MetastableLaw(M, 0.1, depth=2, weight_decay=0.0), "weight_decay must be above 0"),
        (lambda: MetastableLaw(M, 0.1, depth=2, weight_decay=50.0), "small enough for a metastable bulk"),
        (lambda: MetastableLaw(M, 0.1, depth=2, weight_decay=0.1, sign=-1), "beta2 must leave a bulk"),
    ],
)
def test_bad_parameters(make, words):
    with pytest.raises(InputError, match=words):
        make()


@pytest.mark.parametrize(
    "law",
    [
        InfiniteDepthLaw(M.mirror(), 0.1, ratio=3.0, sign=-1),
        SecondOrderLaw(M.mirror(), 0.1, batch_size=2, sign=-1),
        MetastableLaw(M, 0.05, depth=3, width=2, weight_decay=0.01),
        SGDStationary(M, 0.1, depth=3, width=2),
    ],
    ids=lambda law: type(law).__name__,
)
def test_nothing_is_lost_in_the_pytree(law):
    again = jax.tree.map(lambda leaf: leaf, law)
    names = ("depth", "width", "sign", "support", "batch_shape", *(["ratio"] if hasattr(law, "ratio") else []))
    assert [getattr(again, name) for name in names] == [getattr(law, name) for name in names]
    np.testing.assert_array_equal(jax.tree.leaves(again), jax.tree.leaves(law))


def test_the_limit_of_depth_needs_noise():
    with pytest.raises(InputError, match="fitted exactly there; got Delta = 0. There is no density"):
        InfiniteDepthLaw(Moments.linear(1.0, 0.0), 0.1, ratio=1.0)


@pytest.mark.parametrize(("slope", "sign"), [(0.0, 1), (1.0, -1)])
def test_a_side_without_a_law_is_no_question_of_temperature(slope, sign):
    with pytest.raises(InputError, match=r"beta2.* must leave a law on v . 0; there is none at any temperature"):
        SecondOrderLaw(Moments.linear(slope, 1.0), 0.1, batch_size=2, sign=sign)
    with pytest.raises(InputError, match=r"(point mass at 0|lives on the other side)"):
        InfiniteDepthLaw(Moments.linear(slope, 1.0), 0.1, ratio=1.0, sign=sign)

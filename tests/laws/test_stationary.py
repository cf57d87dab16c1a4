"""The exact law on one branch: against references, independent routes, and NumPyro's contract."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
from law_cases import CASES, IDS, REFERENCES, SETS, law_of, reference_moments, reference_options
from mpmath import mp, mpf

from sgdvi import InputError, Moments, SGDStationary, critical_temperature, stationary_law
from sgdvi.laws._engine import batch

Q = np.concatenate([np.geomspace(1e-6, 0.49, 30), 1 - np.geomspace(1e-6, 0.5, 30)[::-1]])


def points(law, count=40):
    """Values across the law's bulk and tails, nowhere underflowing."""
    v = np.asarray(law.icdf(np.linspace(0.002, 0.998, count)))
    return v[np.abs(v) > 1e-280]


@pytest.mark.parametrize("case", REFERENCES, ids=lambda c: f"depth{c['depth']}-T{c['temperature']}")
def test_references(case):
    law = SGDStationary(reference_moments(case), case["temperature"], **reference_options(case))
    v, want = np.array(case["v"]), np.array(case["log_prob"])
    assert np.all(np.abs(law.log_prob(v) - want) <= 1e-12 * np.maximum(1, np.abs(want)))
    np.testing.assert_allclose(law.cdf(v), case["cdf"], rtol=0, atol=1e-13)
    np.testing.assert_allclose(law.mean, case["mean"], rtol=1e-9)
    assert law.log_prob(v).dtype == np.float64


@pytest.mark.parametrize("name", ["nearly-silent-25", "nearly-silent-32"])
def test_tails_of_laws_whose_noise_all_but_vanishes_at_k(name):
    """Power laws in v - k from the width of the bulk, 1e-6 of k and 1e-4, to k; references of 30 digits."""
    case = dict(CASES)[name]
    law, v = law_of(case), np.array(case["v"])
    np.testing.assert_allclose(law.variance, case["variance"], rtol=1e-9)
    np.testing.assert_allclose(law.log_prob(v), case["log_prob"], rtol=1e-10)
    np.testing.assert_allclose(law.log_cdf(v[:5]), case["log_cdf"][:5], rtol=1e-9)
    np.testing.assert_allclose(law.icdf(1e-10), case["quantiles"][0], rtol=1e-12)


@pytest.mark.parametrize("case", [c for c in REFERENCES if c["depth"] == 0], ids=lambda c: str(c["temperature"]))
def test_depth_zero_is_pearson_type_four(case):
    """Normaliser through the complex gamma function, which the code never uses."""
    a1, a2, a3 = case["alpha"]
    b1, b2 = case["beta"]
    b, heat = b1 + case["weight_decay"], case["temperature"]
    delta = a1 * a3 - a2**2
    m, scale = 1 + b / (2 * heat * a1), np.sqrt(delta) / a1
    nu = (a2 * b - a1 * b2) / (heat * a1 * np.sqrt(delta))
    t = (np.array(case["v"]) - a2 / a1) / scale
    gamma = 2 * (scipy.special.loggamma(m + 0.5j * nu).real - scipy.special.loggamma(m))
    want = gamma - np.log(scale) - scipy.special.betaln(m - 0.5, 0.5) - m * np.log1p(t**2) - nu * np.arctan(t)
    got = SGDStationary(reference_moments(case), heat, **reference_options(case)).log_prob(np.array(case["v"]))
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("case", [c for c in REFERENCES if c["depth"] == 1][:1], ids=lambda c: str(c["temperature"]))
def test_depth_one_against_quadrature_with_thirty_digits(case):
    with mp.workdps(30):
        a1, a2, a3 = map(mpf, case["alpha"])
        b1, b2 = map(mpf, case["beta"])
        heat, drift = mpf(case["temperature"]), b2 - mpf(case["weight_decay"])
        root = mp.sqrt(a1 * a3 - a2**2)

        def density(y):
            v = mp.e**y
            g = a1 * v * v - 2 * a2 * v + a3
            angle = mp.atan((a1 * v - a2) / root)
            strength = (a3 * b1 - a2 * drift) / (2 * heat * a3 * root)
            return (
                v ** (drift / (2 * a3 * heat) - mpf(1) / 2)
                * g ** (-1 - drift / (4 * heat * a3))
                * mp.exp(-strength * angle)
            )

        grid = [*range(-400, -60, 40), *range(-60, 60, 3), *range(60, 260, 20)]
        norm = mp.quad(density, grid)
        mean = mp.quad(lambda y: density(y) * mp.e**y, grid) / norm
        variance = mp.quad(lambda y: density(y) * (mp.e**y - mean) ** 2, grid) / norm
    law = SGDStationary(reference_moments(case), case["temperature"], **reference_options(case))
    np.testing.assert_allclose(law.mean, float(mean), rtol=1e-13)
    np.testing.assert_allclose(law.variance, float(variance), rtol=1e-10)


@pytest.mark.parametrize(("near", "decay"), [("0.999999999999", 0.0), ("0.999999999999999", 0.1)])
def test_multiples_near_the_critical_temperature_keep_their_digits(near: str, decay: float) -> None:
    """Of T itself 1e-12 below Tc only four digits of Tc - T are left; of T given as a number, those of that number."""
    moments = Moments.from_data([1.9, -1.4, 0.8, -0.6, 0.3], [1.7, -1.0, 0.9, -0.2, 0.6])
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
    for law in (SGDStationary, stationary_law):
        assert float(law(moments, f"{near}Tc", weight_decay=decay).mean) == pytest.approx(want, rel=1e-9)
    assert abs(exact_plain / want - 1) > 1e-6
    if not decay:  # B = beta2 - gamma is rounded otherwise
        assert float(SGDStationary(moments, plain).mean) == pytest.approx(exact_plain, rel=1e-9)


@pytest.mark.parametrize(("moments", "heat", "options"), SETS, ids=IDS)
def test_quantiles_invert_the_cdf(moments, heat, options):
    law = SGDStationary(moments, heat, **options)
    v = np.asarray(law.icdf(Q))
    kept = np.abs(v) > 1e-290
    np.testing.assert_allclose(law.cdf(v)[kept], Q[kept], rtol=1e-10, atol=1e-15)
    back = law.icdf(law.cdf(v))
    np.testing.assert_allclose(back[kept], v[kept], rtol=1e-8)
    if options["depth"] > 0:
        # where v underflows its logarithm does not
        log_v = law.log_icdf(Q)
        assert np.all(np.isfinite(log_v))
        assert np.all(options.get("sign", 1) * np.diff(log_v) > 0)
        np.testing.assert_allclose(law.log_icdf(Q)[kept], np.log(np.abs(v[kept])), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("moments", "heat", "options"), SETS, ids=IDS)
def test_cdf_is_the_integral_of_the_density(moments, heat, options):
    """Gauss-Legendre in log |v| (or v) between quantiles: a route beside the law's own panels."""
    law = SGDStationary(moments, heat, **options)
    edges = np.asarray(law.icdf(np.linspace(0.02, 0.98, 49)))
    if options["depth"] > 0:
        # near Tc the quantiles spread over hundreds of decades; look at ten of them
        reach = np.sort(np.abs(edges[[0, -1]]))
        edges = options.get("sign", 1) * np.geomspace(max(reach[0], 1e-10 * reach[1]), reach[1], 400)
    nodes, weights = np.polynomial.legendre.leggauss(20)
    use_log = options["depth"] > 0
    z = np.log(np.abs(edges)) if use_log else edges
    half, middle = np.diff(z) / 2, (z[1:] + z[:-1]) / 2
    at = middle[:, None] + half[:, None] * nodes
    v = np.sign(edges[0]) * np.exp(at) if use_log else at
    density = np.exp(law.log_prob(v)) * (np.abs(v) if use_log else 1)
    mass = np.abs(half) * (density @ weights)
    np.testing.assert_allclose(mass, np.abs(np.diff(law.cdf(edges))), rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize(("moments", "heat", "options"), SETS, ids=IDS)
def test_stationary_fokker_planck(moments, heat, options, x64):
    """The probability current of the flow vanishes: the score of the density is the one of theory."""
    law = SGDStationary(moments, heat, **options)
    # as many points for every law: one program for each kind of density
    v = np.asarray(law.icdf(np.linspace(0.002, 0.998, 40)))
    v = np.where(np.abs(v) > 1e-280, v, v[np.argmax(np.abs(v))])
    got = jax.grad(lambda v: jnp.sum(law.log_prob(v)))(jnp.asarray(v))
    side, decay, width = options.get("sign", 1), options.get("weight_decay", 0.0), options.get("width", 1)
    m, v = (moments, v) if side > 0 else (moments.mirror(), -v)
    noise, slope = m.noise(v), 2 * (m.alpha1 * v - m.alpha2)
    if options["depth"] == 0:
        want = -slope / noise - ((m.beta1 + decay / width) * v - m.beta2) / (width * heat * noise)
        scale = np.abs(slope / noise) + np.abs(m.beta1 * v + m.beta2) / (heat * noise)
    else:
        d, n = options["depth"], options["depth"] + 1
        pull = width ** (1 - 2 / n) / (n * heat * v ** (2 * d / n) * noise)
        want = -3 * d / n / v - slope / noise - pull * (m.beta1 * v - m.beta2 + decay)
        scale = np.abs(1 / v) + np.abs(slope / noise) + pull * np.abs(m.beta1 * v + m.beta2)
    assert np.all(np.abs(side * got - want) <= 1e-11 * scale)


DEEPER = [(s, i) for s, i in zip(SETS, IDS, strict=True) if s[2]["depth"] > 0]


# every depth and several widths, on data whose noise leans against the slope
LEANING = Moments(1.6, -0.7, 2.3, 1.1, 0.8)
EVERY_DEPTH = [
    ((LEANING, 0.2, {"depth": depth, "width": width}), f"depth{depth}-width{width}")
    for depth in range(1, 21)
    for width in [(1, 3, 1000)[depth % 3]]
]


@pytest.mark.parametrize(
    ("moments", "heat", "options"),
    [s for s, _ in DEEPER + EVERY_DEPTH],
    ids=[i for _, i in DEEPER + EVERY_DEPTH],
)
def test_bias_identity(moments, heat, options):
    """E[beta1 v - beta2 + gamma + D T g(v) (v/d)^m] = 0, m = (D-1)/(D+1), by quadrature over the law's quantiles."""
    law = SGDStationary(moments, heat, **options)
    m = moments if options.get("sign", 1) > 0 else moments.mirror()
    depth, width, decay = options["depth"], options.get("width", 1), options.get("weight_decay", 0.0)
    if depth == 1:
        mean, variance = np.abs(law.mean), law.variance
        noise = m.alpha1 * (variance + mean**2) - 2 * m.alpha2 * mean + m.alpha3
    else:
        power = (depth - 1) / (depth + 1)
        reach = np.log(np.abs(law.icdf(np.array([1e-14, 1 - 1e-14]))))
        start = np.log(abs(float(law.icdf(0.5))))
        edges = np.unique(np.concatenate([np.linspace(reach.min(), start, 400), start + np.geomspace(1e-4, 70, 800)]))
        nodes, weights = np.polynomial.legendre.leggauss(12)
        half, middle = np.diff(edges) / 2, (edges[1:] + edges[:-1]) / 2
        v = np.exp(middle[:, None] + half[:, None] * nodes)
        mass = np.exp(law.log_prob(options.get("sign", 1) * v)) * v * half[:, None] * weights
        assert mass.sum() == pytest.approx(1, abs=1e-12)
        mean, noise = np.sum(mass * v), np.sum(mass * m.noise(v) * (v / width) ** power)
    terms = np.array([m.beta1 * mean, -m.beta2, decay, depth * heat * noise])
    assert abs(terms.sum()) <= 1e-9 * np.abs(terms).max()


def test_depth_zero_moments_are_closed():
    m = Moments.linear(1.0, 1.0)
    law = SGDStationary(m, 0.2, depth=0, weight_decay=0.3)
    assert law.mean == pytest.approx(1 / 1.3, rel=1e-14)
    assert law.variance == pytest.approx(0.2 * m.noise(1 / 1.3) / (1.3 - 0.4), rel=1e-12)
    hot = SGDStationary(m, 0.6, depth=0)
    assert np.isinf(hot.variance)
    assert hot.mean == pytest.approx(1.0)


@pytest.mark.parametrize("index", [0, 4, 7, 35, 57, 72])
def test_samples_follow_the_cdf(index, x64):
    moments, heat, options = SETS[index]
    law = SGDStationary(moments, heat, **options)
    draws = np.asarray(law.sample(jax.random.key(index), (1_000_000,)))
    statistic, p = scipy.stats.kstest(np.asarray(law.cdf(draws)), "uniform")
    assert p > 1e-4, statistic


def test_wrong_temperature_is_seen():
    """The power of the test above: a temperature that is 5 % off fails it by far."""
    m = Moments.linear(1.0, 1.0)
    draws = SGDStationary(m, 0.105).sample(jax.random.key(0), (200_000,))
    assert scipy.stats.kstest(SGDStationary(m, 0.1).cdf(np.asarray(draws)), "uniform").pvalue < 1e-10


@pytest.mark.parametrize("scale_x", [1e-8, 1e-3, 1e4, 1e8])
@pytest.mark.parametrize("scale_y", [1e-8, 1e5])
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_units_of_the_data(scale_x, scale_y, depth):
    rng = np.random.default_rng(5)
    x = rng.normal(size=30)
    y = 0.6 * x + 0.4 * rng.normal(size=30)
    small, large = Moments.from_data(x, y), Moments.from_data(scale_x * x, scale_y * y)
    ratio, power = scale_y / scale_x, (1 - depth) / (1 + depth)
    heat, decay = 0.07, 0.02 if depth < 2 else 0.0
    one = SGDStationary(small, heat, depth=depth, weight_decay=decay)
    other = SGDStationary(
        large,
        heat * ratio**power / (scale_x * scale_y),
        depth=depth,
        weight_decay=decay * scale_x * scale_y * ratio**-power,
    )
    v = np.linspace(0.1, 1.5, 9)
    np.testing.assert_allclose(other.log_prob(v * ratio) + np.log(ratio), one.log_prob(v), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(other.cdf(v * ratio), one.cdf(v), atol=1e-11)


# one compilation of several derivatives for every depth
@pytest.mark.parametrize(
    ("index", "parts"),
    [
        (1, ("log_prob",)),
        *(pytest.param(i, ("log_prob", "cdf", "mean"), marks=pytest.mark.slow) for i in (1, 10, 21, 62)),
    ],
)
def test_gradients_against_finite_differences(index, parts, x64):
    moments, heat, options = SETS[index]
    options = {"weight_decay": 0.0, **options}
    decay = options.pop("weight_decay") + (0.01 if options["depth"] < 2 else 0.0)
    leaves, tree = jax.tree.flatten(moments)
    law = SGDStationary(moments, heat, weight_decay=decay, **options)
    v = float(law.icdf(0.3))

    def value(v, heat, decay, *leaves):
        inner = SGDStationary(jax.tree.unflatten(tree, leaves), heat, weight_decay=decay, **options)
        terms = {"log_prob": inner.log_prob, "cdf": inner.cdf, "mean": lambda _: inner.mean}
        return sum(terms[part](v) for part in parts)

    arguments = [jnp.asarray(a, float) for a in (v, heat, decay, *leaves)]
    got = jax.jit(jax.grad(value, argnums=tuple(range(8))))(*arguments)
    for i, derivative in enumerate(got):
        if i == 2 and options["depth"] > 1:
            continue  # there is no law with decay
        step = 1e-5 * max(abs(float(arguments[i])), 1e-3)

        def moved(by, i=i, step=step):
            return float(value(*(a + by * step if j == i else a for j, a in enumerate(arguments))))

        # fourth order, so that truncation stays below the bound
        want = (8 * (moved(1) - moved(-1)) - (moved(2) - moved(-2))) / (12 * step)
        assert derivative == pytest.approx(want, rel=1e-6, abs=1e-6)


@pytest.mark.slow
def test_quantiles_and_samples_are_differentiable(x64):
    m = Moments.linear(1.0, 1.0)
    heat, q, h = 0.1, 0.2, 1e-5
    got = jax.grad(lambda t: SGDStationary(m, t).icdf(q))(heat)
    want = (SGDStationary(m, heat + h).icdf(q) - SGDStationary(m, heat - h).icdf(q)) / (2 * h)
    assert got == pytest.approx(float(want), rel=1e-6)
    key = jax.random.key(1)
    got = jax.grad(lambda t: SGDStationary(m, t).sample(key, (500,)).mean())(heat)
    up, down = (SGDStationary(m, heat + e).sample(key, (500,)).mean() for e in (h, -h))
    assert got == pytest.approx(float((up - down) / (2 * h)), rel=1e-6)


@pytest.mark.slow
def test_shapes_and_broadcasting(x64):
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(Moments.linear(k, 1.0) for k in (0.5, 1.0, 2.0)))
    law = SGDStationary(batch, jnp.array([[0.01], [0.05]]))
    assert law.batch_shape == (2, 3)
    assert law.event_shape == ()
    assert law.sample(jax.random.key(0), (4,)).shape == (4, 2, 3)
    assert law.mean.shape == law.variance.shape == law.mode.shape == (2, 3)
    v = jnp.linspace(0.1, 2.0, 5)[:, None, None]
    for method in ("log_prob", "cdf"):
        value = getattr(law, method)(v)
        assert value.shape == (5, 2, 3)
        single = getattr(SGDStationary(Moments.linear(2.0, 1.0), 0.05), method)(v[:, 0, 0])
        np.testing.assert_allclose(value[:, 1, 2], single, rtol=1e-12)
    by_vmap = jax.vmap(lambda m, t: SGDStationary(m, t).log_prob(0.7))(batch, jnp.full(3, 0.05))
    np.testing.assert_allclose(by_vmap, law.log_prob(0.7)[1], rtol=1e-12)


def test_is_a_pytree(x64):
    law = SGDStationary(Moments.linear(1.0, 1.0), 0.1, weight_decay=0.05, width=3)
    again = jax.tree.unflatten(jax.tree.structure(law), jax.tree.leaves(law))
    np.testing.assert_array_equal(again.log_prob(0.5), law.log_prob(0.5))
    assert (again.depth, again.width, again.sign) == (1, 3, 1)
    other = SGDStationary(Moments.linear(1.0, 0.5), 0.2, weight_decay=0.01, width=3)
    stacked = jax.tree.map(lambda *pair: jnp.stack(pair), law, other)
    by_vmap = jax.jit(jax.vmap(lambda law: (law.log_prob(0.5), law.cdf(0.5))))(stacked)
    for one, log_prob, cdf in zip((law, other), *by_vmap, strict=True):
        np.testing.assert_allclose((log_prob, cdf), (one.log_prob(0.5), one.cdf(0.5)), rtol=1e-13)


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
    np.testing.assert_allclose(left.icdf(Q[5:-5]), -right.icdf(1 - Q[5:-5]), rtol=1e-9)
    assert left.mean == -right.mean
    assert left.mode == -right.mode
    assert np.all(np.asarray(left.sample(jax.random.key(0), (50,))) < 0)


def test_mode_is_the_highest_point():
    for moments, heat, options in SETS:
        law = SGDStationary(moments, heat, **options)
        mode = float(law.mode)
        if mode == 0 and options["depth"] > 0:
            # the density diverges at zero, so it is higher there than anywhere
            near = float(law.log_prob(options.get("sign", 1) * 1e-300))
            assert near > law.log_prob(points(law)).max()
            continue
        around = law.log_prob(mode * np.array([1 - 1e-4, 1.0, 1 + 1e-4]))
        assert around[1] >= max(around[0], around[2])
        assert around[1] >= law.log_prob(points(law)).max() - 1e-9


def test_tail_exponent():
    m = Moments.linear(1.0, 1.0)
    assert SGDStationary(m, 0.1).tail_exponent == 3.5
    assert SGDStationary(m, 0.1, depth=0, weight_decay=0.2, width=2).tail_exponent == pytest.approx(2 + 1.1 / 0.4)
    for law in (SGDStationary(m, 0.1), SGDStationary(m, 0.3, depth=0)):
        v = np.array([1e7, 1e9])
        slope = np.diff(law.log_prob(v)) / np.diff(np.log(v))
        assert -slope[0] == pytest.approx(float(law.tail_exponent), rel=1e-5)


def test_left_tail_is_summed_to_first_order(x64):
    """Its next term shows where v is no longer tiny beside r; its square, 1e-8 here, is left out."""
    law = SGDStationary(Moments.linear(1.0, 1.0), 0.7 / 3)
    z = np.linspace(-209.0, -9.0, 4_001)
    v = np.exp(z)
    level = np.asarray(law.log_prob(v)) + z
    _, density, _ = jax.tree.map(lambda leaf: leaf[0], law._built())
    got = density.left_mass(z[-1], level[-1], law.score(v[-1]) * v[-1] + 1)
    assert got == pytest.approx(scipy.integrate.simpson(np.exp(level), x=z), rel=1e-6)


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


def test_float32_users_get_float32():
    m = Moments.linear(1.0, 1.0)
    law = SGDStationary(m, 0.1)
    assert law.sample(jax.random.key(0), (3,)).dtype == jnp.float32
    assert law.log_prob(jnp.float32(0.5)).dtype == jnp.float32
    assert jax.jit(law.log_prob)(0.5).dtype == jnp.float32
    exact = law.log_prob(np.float64(0.5))
    assert exact.dtype == np.float64
    assert abs(float(law.log_prob(jnp.float32(0.5))) - exact) < 1e-6 * max(1, abs(exact))
    single = jax.tree.map(jnp.float32, m)
    assert SGDStationary(single, jnp.float32(0.1)).mean.dtype == jnp.float32
    assert not jax.config.jax_enable_x64


@pytest.mark.slow
def test_works_in_jit_with_32_bit_jax_and_all_warnings_as_errors():
    m = Moments.linear(1.0, 1.0)
    f = jax.jit(jax.value_and_grad(lambda t, v: SGDStationary(m, t).log_prob(v), (0, 1)))
    value, slopes = f(0.1, 0.5)
    assert all(s.dtype == jnp.float32 for s in slopes)
    assert float(value) == pytest.approx(float(SGDStationary(m, 0.1).log_prob(0.5)), rel=1e-5)
    assert jax.jit(jax.vmap(lambda t: SGDStationary(m, t).icdf(0.5)))(jnp.array([0.1, 0.2])).shape == (2,)

    def path(t):
        law = SGDStationary(m, t)
        draw = law.sample(jax.random.key(0))
        return law.log_prob(draw) + law.cdf(draw)

    slope = jax.jit(jax.grad(path))(0.1)
    with jax.enable_x64(True):
        want = jax.grad(path)(0.1)
    assert float(slope) == pytest.approx(float(want), rel=1e-4)


@pytest.mark.slow
def test_hessian_of_what_is_read_off_the_table(x64):
    m, h = Moments.linear(1.0, 1.0), 1e-4

    def value(t):
        return SGDStationary(m, t).cdf(0.6)

    want = (value(0.1 + h) - 2 * value(0.1) + value(0.1 - h)) / h**2
    assert jax.hessian(value)(0.1) == pytest.approx(float(want), rel=1e-5)


@pytest.mark.slow
def test_as_a_guide(x64):
    """The law with a free temperature, fitted to data of a known temperature by maximising the ELBO."""
    m = Moments.linear(1.0, 1.0)
    target = SGDStationary(m, 0.15)

    def model():
        numpyro.sample("v", target)

    def guide():
        heat = numpyro.param("heat", 0.05, constraint=dist.constraints.interval(0.01, 0.3))
        numpyro.sample("v", SGDStationary(m, heat))

    svi = numpyro.infer.SVI(model, guide, numpyro.optim.Adam(0.05), numpyro.infer.Trace_ELBO(16))
    result = svi.run(jax.random.key(0), 200, progress_bar=False)
    assert float(result.params["heat"]) == pytest.approx(0.15, abs=0.02)


@pytest.mark.slow
def test_draws_are_differentiable_under_vmap_with_32_bit_jax():
    """As for a guide with many particles: the derivative of a table that all of them share."""
    m, keys = Moments.linear(1.0, 1.0), jax.random.split(jax.random.key(0), 16)

    def mean(t):
        return jax.vmap(SGDStationary(m, t).sample)(keys).mean()

    slope = jax.jit(jax.grad(mean))(0.1)
    assert slope.dtype == jnp.float32
    with jax.enable_x64(True):
        up, down = (np.mean([SGDStationary(m, 0.1 + h).sample(key) for key in keys]) for h in (1e-5, -1e-5))
    assert float(slope) == pytest.approx(float(up - down) / 2e-5, rel=1e-5)


@pytest.mark.slow
def test_as_a_prior_under_nuts():
    law = SGDStationary(Moments.linear(1.0, 0.5), 0.1)

    def model():
        v = numpyro.sample("v", law)
        numpyro.sample("y", dist.Normal(v, 0.5), obs=0.9)

    mcmc = numpyro.infer.MCMC(numpyro.infer.NUTS(model), num_warmup=300, num_samples=1000, progress_bar=False)
    mcmc.run(jax.random.key(0))
    draws = np.asarray(mcmc.get_samples()["v"])
    assert np.all(draws > 0)
    v = np.linspace(1e-3, 4, 4000)
    weight = np.exp(law.log_prob(v) - 0.5 * ((v - 0.9) / 0.5) ** 2)
    mean = np.sum(weight * v) / weight.sum()
    sd = np.sqrt(np.sum(weight * (v - mean) ** 2) / weight.sum())
    ess = numpyro.diagnostics.effective_sample_size(draws[None])
    assert ess > 200
    assert abs(np.mean(draws) - mean) < 5 * sd / np.sqrt(ess)


def test_temperature_as_a_latent_site(x64):
    """The density of a model in which the temperature is unknown: through numpyro's own machinery, with gradient."""
    m = Moments.linear(1.0, 0.5)

    def model():
        heat = numpyro.sample("heat", dist.Uniform(0.01, 0.3))
        numpyro.sample("v", SGDStationary(m, heat), obs=0.8)

    def energy(heat):
        return -numpyro.infer.util.log_density(model, (), {}, {"heat": heat})[0]

    slope, h = jax.jit(jax.grad(energy))(0.1), 1e-5
    want = -(SGDStationary(m, 0.1 + h).log_prob(0.8) - SGDStationary(m, 0.1 - h).log_prob(0.8)) / (2 * h)
    assert slope == pytest.approx(float(want), rel=1e-6)


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


def test_deep_laws_are_traced_under_the_callers_32_bits():
    m = Moments.linear(1.0, 1.0)
    traced = jax.jit(lambda t: SGDStationary(m, t, depth=2).log_prob(0.5))(jnp.float32(0.1))
    assert float(traced) == pytest.approx(float(SGDStationary(m, 0.1, depth=2).log_prob(0.5)), rel=1e-6)


def test_no_law_is_nan_when_traced():
    m = Moments.linear(1.0, 1.0)

    @jax.jit
    def asked(temperature):
        law = SGDStationary(m, temperature)
        return jnp.stack([law.log_prob(0.5), law.cdf(0.5), law.mean, law.tail_exponent, law.moment(3)])

    assert np.all(np.isnan(asked(1.0)))
    assert np.all(np.isnan(asked(-1.0)))
    assert np.all(np.isfinite(asked(0.1)[:-1]))


@pytest.mark.parametrize("count", [3, 4, 8, 9, 10])
def test_many_laws_are_computed_in_pieces_of_one_size(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(batch, "_PIECE", 4)
    sizes = set()

    def of_one(x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        return x.sum() + y, x * y

    def counted(function: Callable[..., Any], *arguments: Any, batch_size: int) -> Any:
        sizes.add(len(arguments[0][0]) % batch_size)
        return mapped(function, *arguments, batch_size=batch_size)

    mapped = jax.lax.map
    monkeypatch.setattr(jax.lax, "map", counted)
    x, y = np.arange(2.0 * count).reshape(count, 2), np.arange(count) + 0.5
    total, product = batch._each(of_one, x, y)
    np.testing.assert_array_equal(total, x.sum(1) + y)
    np.testing.assert_array_equal(product, x * y[:, None])
    assert sizes <= {0}  # no shorter piece, which would be compiled by itself


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

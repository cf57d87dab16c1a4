"""The exact law on one branch: against references and independent routes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
from law_cases import CASES, IDS, REFERENCES, SETS, law_of, reference_moments, reference_options
from mpmath import mp, mpf

from sgdvi import Moments, SGDStationary

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


# the gradient of the log density is compiled for every kind of density: by default for one
SLOPES = [
    pytest.param(*one, way, marks=pytest.mark.slow if way == "gradient" and number else (), id=f"{way}-{name}")
    for way in ("score", "gradient")
    for number, (one, name) in enumerate(zip(SETS, IDS, strict=True))
]


@pytest.mark.parametrize(("moments", "heat", "options", "way"), SLOPES)
def test_stationary_fokker_planck(moments, heat, options, way, x64):
    """The probability current of the flow vanishes: the score of the density is the one of theory."""
    law = SGDStationary(moments, heat, **options)
    # as many points for every law: one program for each kind of density
    v = np.asarray(law.icdf(np.linspace(0.002, 0.998, 40)))
    v = np.where(np.abs(v) > 1e-280, v, v[np.argmax(np.abs(v))])
    got = law.score(v) if way == "score" else jax.grad(lambda v: jnp.sum(law.log_prob(v)))(jnp.asarray(v))
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


@pytest.mark.parametrize("index", [0, 4, pytest.param(7, marks=pytest.mark.slow), 35, 57, 72])
def test_samples_follow_the_cdf(index, x64):
    moments, heat, options = SETS[index]
    law = SGDStationary(moments, heat, **options)
    draws = np.asarray(law.sample(jax.random.key(index), (200_000,)))
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

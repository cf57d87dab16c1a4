"""The laws do in NumPyro what NumPyro's own distributions do: its generic properties, at all kinds of parameters.

Each property is a function of a law. What a law does not have is in `MISSING`, with the reason, and must be refused by
`NotImplementedError`; what is infinite is in `INFINITE`.
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.distributions.batch_util import vmap_over
from numpyro.infer import MCMC, NUTS, SVI, Predictive, Trace_ELBO
from numpyro.infer.autoguide import AutoNormal
from sizes import FULL

import sgdvi
from sgdvi import InfiniteDepthLaw, MetastableLaw, Moments, NormalProduct, SecondOrderLaw, SGDStationary, stationary_law

DATA = Moments.linear(1.0, 1.0)
LAWS = {
    "depth 0": lambda heat: SGDStationary(DATA, heat, depth=0),
    "depth 0, hot": lambda heat: SGDStationary(DATA, 8 * heat, depth=0),
    "depth 1": lambda heat: SGDStationary(DATA, heat),
    "depth 1, v < 0": lambda heat: SGDStationary(DATA.mirror(), heat, sign=-1),
    "depth 2": lambda heat: SGDStationary(DATA, heat, depth=2, width=2),
    "infinite depth": lambda heat: InfiniteDepthLaw(DATA, heat, ratio=1.0),
    "metastable": lambda heat: MetastableLaw(DATA, heat, depth=2, weight_decay=0.02),
    "second order": lambda heat: SecondOrderLaw(DATA, heat, batch_size=2.0),
    "stationary": lambda heat: stationary_law(DATA, heat, zero_mass=0.25),
    "collapsed": lambda heat: stationary_law(DATA, 8 * heat),
    "prior, 1 factor": lambda heat: NormalProduct(1, 10 * heat),
    "prior, 2 factors": lambda heat: NormalProduct(2, 10 * heat, width=3),
    "prior, 3 factors": lambda heat: NormalProduct(3, 10 * heat),
}
PARAMETERS = {
    "number": 0.1,
    "NumPy scalar": np.float64(0.1),
    "JAX scalar": jnp.float32(0.1),
    "NumPy batch": np.array([0.08, 0.1]),
    "JAX batch": jnp.array([[0.06], [0.1]]),
}
ATOM = "a point mass: draws have no density, their derivative and entropy do not exist"
PRIOR = "no closed form; the exact posterior integrates it by quadrature"
MISSING = {
    ("stationary", "rsample"): ATOM,
    ("stationary", "entropy"): ATOM,
    ("collapsed", "rsample"): ATOM,
    ("collapsed", "entropy"): ATOM,
    **{(f"prior, {n}", name): PRIOR for n in ("1 factor", "2 factors", "3 factors") for name in ("cdf", "entropy")},
}
INFINITE = {
    ("depth 0, hot", "variance"): "the tail is v^-(2 + beta1/(T alpha1)): no second moment at T >= beta1/alpha1"
}
KEY = jax.random.key(3)


_FORMER = [""]


@pytest.fixture(autouse=True)
def _programs_of_one_law_at_a_time(request):
    """Free what was compiled for the law before, where all laws are gone through: it would add up to gigabytes."""
    name = request.node.callspec.params.get("name", "") if hasattr(request.node, "callspec") else ""
    if request.node.get_closest_marker("slow") and name != _FORMER[0]:
        jax.clear_caches()
        _FORMER[0] = name


def flat_law(law):
    return law.sample(KEY, (3,))


def shapes(law, make):
    for lead in ((), (2,), (2, 3)):
        draws = law.sample(KEY, lead)
        assert draws.shape == lead + law.batch_shape == law.shape(lead)
        assert law.log_prob(draws).shape == draws.shape
    assert law.event_shape == ()
    assert bool(jnp.all(law.support(draws)))
    with pytest.raises(NotImplementedError):
        law.enumerate_support()


def rsample(law, make):
    """The derivative of a draw in the temperature is that of the quantile at its level."""
    law.rsample(KEY)
    assert law.has_rsample
    step = 1e-4
    with jax.enable_x64(True):

        def draw(heat):
            return make(heat).rsample(KEY, (4,))

        slope = jax.jit(jax.jacfwd(draw))(0.1)
        np.testing.assert_allclose(slope, (draw(0.1 + step) - draw(0.1 - step)) / (2 * step), rtol=1e-5)


def gradient(law, make):
    value, step = law.sample(KEY), 1e-5
    if isinstance(law, sgdvi.StationaryLaw):
        value = jnp.full_like(value, 0.7)
    with jax.enable_x64(True):
        value = jnp.asarray(value, jnp.float64)
        got = jax.grad(lambda v: law.log_prob(v).sum())(value)
        want = (law.log_prob(value + step) - law.log_prob(value - step)) / (2 * step)
        want = np.where(np.isfinite(want), want, 0.0)
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-3)


def jit(law, make):
    value = law.sample(KEY, (3,))
    want = law.log_prob(value)
    for function in (law.log_prob, lambda v: make(0.1 * jnp.ones(law.batch_shape)).log_prob(v)):
        assert jax.eval_shape(function, value).shape == want.shape
    np.testing.assert_allclose(jax.jit(law.log_prob)(value), want, rtol=1e-5, atol=1e-5)


def cdf(law, make):
    value = jnp.full(law.batch_shape, -0.7 if float(np.mean(law.mean)) < 0 else 0.7)
    level = law.cdf(value)
    assert level.shape == law.batch_shape
    if np.all((np.asarray(level) > 0.3) & (np.asarray(level) < 0.999)):  # away from atoms
        np.testing.assert_allclose(law.icdf(level), value, rtol=1e-4)
    assert np.all(np.asarray(law.cdf(jnp.inf)) == 1)
    assert np.all(np.asarray(law.cdf(-jnp.inf)) == 0)
    slope = jax.grad(lambda v: law.cdf(v).sum())(value)
    np.testing.assert_allclose(slope, np.exp(law.log_prob(value)), rtol=1e-3)


def mean(law, make):
    assert jnp.shape(law.mean) == law.batch_shape
    assert np.all(np.isfinite(law.mean))


def variance(law, make):
    assert jnp.shape(law.variance) == law.batch_shape
    assert np.all(np.asarray(law.variance) >= 0)
    assert np.all(np.isfinite(law.variance))


def entropy(law, make):
    level = np.asarray(law.log_prob(law.sample(KEY, (20_000,))), dtype=np.float64)
    assert np.all(np.abs(law.entropy() + level.mean(0)) < 5 * level.std(0) / np.sqrt(len(level)))


def expand(law, make):
    wide = law.expand((4, *law.batch_shape))
    draws = wide.sample(KEY, (2,))
    assert draws.shape == (2, 4, *law.batch_shape)
    np.testing.assert_allclose(wide.log_prob(draws), law.log_prob(draws), rtol=1e-6)
    assert wide.expand((5, 4, *law.batch_shape)).sample(KEY).shape == (5, 4, *law.batch_shape)
    np.testing.assert_allclose(wide.mean, np.broadcast_to(law.mean, wide.batch_shape), rtol=1e-6)


def event(law, make):
    wide = law.expand((4, *law.batch_shape)).to_event(1)
    assert wide.event_shape == (4, *law.batch_shape)[-1:]
    draws = wide.sample(KEY, (2,))
    summed = law.log_prob(draws).sum(-1)
    np.testing.assert_allclose(wide.log_prob(draws), summed, rtol=1e-5)


def mask(law, make):
    value = law.sample(KEY)
    assert np.all(np.asarray(law.mask(False).log_prob(value)) == 0)
    np.testing.assert_array_equal(law.mask(True).log_prob(value), law.log_prob(value))
    half = jnp.arange(law.batch_shape[0] if law.batch_shape else 1).reshape(law.batch_shape) % 2 == 0
    np.testing.assert_allclose(law.mask(half).log_prob(value), jnp.where(half, law.log_prob(value), 0.0), rtol=1e-6)


def pytree(law, make):
    value = flat_law(law)
    want = law.log_prob(value)
    again = jax.jit(lambda law: law)(law)
    assert again.batch_shape == law.batch_shape
    np.testing.assert_allclose(again.log_prob(value), want, rtol=1e-5, atol=1e-5)
    wide = jax.tree.map(lambda leaf: leaf, law.expand((4, *law.batch_shape)))
    assert wide.log_prob(wide.sample(KEY)).shape == (4, *law.batch_shape)


def stack(law, make):
    """Laws stacked as a pytree and gone through: by default in test_stationary_in_jax.py."""
    value = flat_law(law)
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), law)
    got = jax.lax.map(lambda law: law.log_prob(value), stacked)[1]
    np.testing.assert_allclose(got, law.log_prob(value), rtol=1e-5, atol=1e-5)


def vmap(law, make):
    """A law with a batch axis put in front by vmap, as NumPyro's control flow does."""
    name = "scale" if isinstance(law, NormalProduct) else "temperature"
    factor = {"scale": 10.0, "temperature": 1.0}[name]
    heats = jnp.array([0.08, 0.1])
    many = jax.vmap(lambda heat: make(heat), out_axes=vmap_over(jax.eval_shape(make, 0.1), **{name: 0}))
    if isinstance(law, sgdvi.StationaryLaw):
        many = jax.vmap(make)
    ratio = getattr(many(heats), name) / (heats * factor)
    assert np.ptp(ratio) < 1e-6


def vmap_of_density(law, make):
    """By default in test_stationary_in_jax.py."""
    heats, value = jnp.array([0.08, 0.1]), jnp.full(2, -0.7 if float(np.mean(law.mean)) < 0 else 0.7)
    got = jax.vmap(lambda heat, v: make(heat).log_prob(v))(heats, value)
    np.testing.assert_allclose(got, [make(heat).log_prob(v) for heat, v in zip(heats, value, strict=True)], rtol=1e-4)


def mixture(law, make):
    """A law beside a point mass, as NumPyro's mixtures take it."""
    parts = [dist.Delta(jnp.zeros(law.batch_shape)), law]
    whole = dist.MixtureGeneral(
        dist.Categorical(probs=jnp.ones((*law.batch_shape, 2)) / 2), parts, support=dist.constraints.real
    )
    draws = whole.sample(KEY, (5,))
    assert draws.shape == (5, *law.batch_shape)
    away = jnp.full(law.batch_shape, -0.7 if float(np.mean(law.mean)) < 0 else 0.7)
    np.testing.assert_allclose(whole.log_prob(away), law.log_prob(away) - np.log(2), rtol=1e-4)


def transformed(law, make):
    moved = dist.TransformedDistribution(law, dist.transforms.AffineTransform(1.0, 2.0))
    value = law.sample(KEY)
    np.testing.assert_allclose(moved.log_prob(1 + 2 * value), law.log_prob(value) - np.log(2), rtol=1e-3, atol=1e-3)


def predictive(law, make):
    def model():
        with numpyro.plate("rows", 3, dim=-1 - len(law.batch_shape)):
            numpyro.sample("v", law)

    draws = Predictive(model, num_samples=4)(KEY)["v"]
    assert draws.shape == (4, 3, *law.batch_shape)


PROPERTIES = (
    shapes,
    rsample,
    gradient,
    jit,
    cdf,
    mean,
    variance,
    entropy,
    expand,
    event,
    mask,
    pytree,
    stack,
    vmap,
    vmap_of_density,
    mixture,
    transformed,
    predictive,
)
# What depends on how the parameters came.
OF_PARAMETERS = (shapes, jit, cdf, expand, pytree)
# Laws whose parameters take ways of their own; the others share these, and are asked with a batch alone, unless FULL.
WAYS = {"depth 1", "stationary", "prior, 2 factors"}
# The densities of other names in the list, at other values.
ALIKE = {"depth 0, hot", "depth 1, v < 0", "collapsed", "prior, 1 factor"}
# Programs are compiled for every law and property: by default all of one law, and what others have had wrong.
DEFAULT = {
    ("stationary", "rsample"),
    ("stationary", "gradient"),
    ("depth 0, hot", "variance"),
    ("prior, 2 factors", "cdf"),
}


def cases():
    for name in LAWS:
        for kind in PARAMETERS:
            kinds = PARAMETERS if FULL or name in WAYS else {"number"} if name in ALIKE else {"number", "JAX batch"}
            if kind not in kinds:
                continue
            for prop in PROPERTIES if kind == "number" else OF_PARAMETERS:
                whole = name == "depth 1" and prop not in {stack, vmap_of_density}
                default = kind == "number" and (whole or (name, prop.__name__) in DEFAULT)
                marks = () if default else pytest.mark.slow
                yield pytest.param(name, kind, prop, marks=marks, id=f"{prop.__name__}-{name}-{kind}")


@pytest.mark.parametrize(("name", "kind", "prop"), list(cases()))
def test_property(name, kind, prop):
    law = LAWS[name](PARAMETERS[kind])
    pair = name, prop.__name__
    if pair in MISSING:
        with pytest.raises(NotImplementedError):
            prop(law, LAWS[name])
    elif pair in INFINITE:
        assert np.all(np.isposinf(law.variance))
    else:
        prop(law, LAWS[name])


@pytest.mark.parametrize("name", ["depth 1", "second order", "stationary", "prior, 2 factors"])
def test_draws_have_a_derivative_where_there_is_no_atom(name):
    assert LAWS[name](0.1).has_rsample == ((name, "rsample") not in MISSING)


VALUES = jnp.asarray([0.5, 0.7])
# What other people trace around concrete parameters: the law is made inside.
TRACES = {
    "jit": lambda make: jax.jit(lambda v: make().log_prob(v))(VALUES),
    "vmap": lambda make: jax.jit(jax.vmap(lambda v: make().log_prob(v)))(VALUES),
    "map": lambda make: jax.lax.map(lambda v: make().log_prob(v), VALUES),
    "scan": lambda make: jax.lax.scan(lambda carry, v: (carry, make().log_prob(v)), 0.0, VALUES)[1],
    "grad": lambda make: jax.jit(jax.vmap(jax.grad(lambda v: make().log_prob(v))))(VALUES),
    "sample": lambda make: jax.jit(lambda key: make().sample(key, (3,)))(KEY),
    "icdf": lambda make: jax.jit(lambda q: make().icdf(q))(VALUES),
    "numbers": lambda make: jax.jit(lambda v: make().cdf(v) + make().mean + make().mode + make().tail_exponent)(VALUES),
}
INSIDE = {("depth 1", "jit"), ("depth 1", "sample"), ("depth 1", "scan"), ("second order", "jit")}


# Each a path of its own through the law of every kind; the rest is JAX's, around the same calls.
OWN = ("jit", "sample", "icdf", "numbers")


def inside():
    for name in LAWS:
        for trace in TRACES if FULL or name in WAYS else ("jit",) if name in ALIKE else OWN:
            if not name.startswith("prior") or trace not in {"icdf", "numbers"}:
                yield pytest.param(name, trace, marks=() if (name, trace) in INSIDE else pytest.mark.slow)


@pytest.mark.parametrize(("name", "trace"), list(inside()))
def test_a_law_inside_the_trace_of_another(name, trace):
    law = LAWS[name](0.1)
    np.testing.assert_allclose(TRACES[trace](lambda: LAWS[name](0.1)), TRACES[trace](lambda: law), rtol=1e-4)


def test_functions_of_concrete_moments_inside_a_trace():
    got = jax.jit(lambda v: v * sgdvi.critical_temperature(DATA) + SGDStationary(DATA, 0.1).factor_mean)(1.0)
    assert float(got) == pytest.approx(
        float(sgdvi.critical_temperature(DATA)) + float(SGDStationary(DATA, 0.1).factor_mean)
    )


IN_MODELS = [name for name in LAWS if name not in {"stationary", "collapsed"}]  # NUTS and guides need a density


@pytest.mark.slow
@pytest.mark.parametrize("name", IN_MODELS)
def test_a_guide_of_a_law(name):
    def model():
        numpyro.sample("v", LAWS[name](0.1))

    result = SVI(model, AutoNormal(model), numpyro.optim.Adam(0.05), Trace_ELBO()).run(KEY, 20, progress_bar=False)
    assert np.all(np.isfinite(result.losses))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name if name == "depth 1" else pytest.param(name, marks=pytest.mark.slow) for name in IN_MODELS]
)
def test_a_law_in_a_model(name):
    def model():
        numpyro.sample("v", LAWS[name](0.1))

    mcmc = MCMC(NUTS(model), num_warmup=200, num_samples=1_000, progress_bar=False)
    mcmc.run(KEY)
    draws = np.asarray(mcmc.get_samples()["v"], dtype=np.float64)
    law = LAWS[name](0.1)
    size = float(numpyro.diagnostics.effective_sample_size(draws[None]))
    if name != "depth 0, hot":
        assert abs(draws.mean() - law.mean) < 5 * np.sqrt(law.variance / size)

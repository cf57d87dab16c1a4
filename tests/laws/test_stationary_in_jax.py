"""The exact law on one branch inside JAX and NumPyro: traced, differentiated, batched, in 32 bits."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from law_cases import SETS

from sgdvi import Moments, SGDStationary
from sgdvi.laws._engine import batch


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
            # NumPy's numbers, of which nothing is compiled
            return float(value(*(np.float64(a) + by * step * (j == i) for j, a in enumerate(arguments))))

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


@pytest.mark.slow
@pytest.mark.parametrize(
    "parts", [("log_prob",), pytest.param(("cdf", "mean", "moment"), marks=pytest.mark.slow)], ids="-".join
)
def test_stacks_as_a_pytree_and_is_nan_where_there_is_none(parts, x64):
    """One program for laws of several temperatures and data; traced, those at or above Tc have none."""
    law = SGDStationary(Moments.linear(1.0, 1.0), 0.1, weight_decay=0.05, width=3)
    again = jax.tree.unflatten(jax.tree.structure(law), jax.tree.leaves(law))
    np.testing.assert_array_equal(again.log_prob(0.5), law.log_prob(0.5))
    assert (again.depth, again.width, again.sign) == (1, 3, 1)
    other = SGDStationary(Moments.linear(1.0, 0.5), 0.2, weight_decay=0.01, width=3)
    stacked = jax.tree.map(lambda *laws: jnp.stack(laws), law, other, law, law)
    stacked.temperature = jnp.array([0.1, 0.2, 1.0, -1.0])

    def asked(law):
        of = {"log_prob": lambda: law.log_prob(0.5), "cdf": lambda: law.cdf(0.5), "mean": lambda: law.mean}
        of |= {"moment": lambda: law.moment(2)}
        return [law.tail_exponent, *(of[part]() for part in parts)]

    got = np.stack(jax.jit(jax.vmap(asked))(stacked), axis=1)
    assert np.all(np.isnan(got[2:]))
    for one, values in zip((law, other), got, strict=False):
        np.testing.assert_allclose(values, asked(one), rtol=1e-13)


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


@pytest.mark.slow
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


def test_deep_laws_are_traced_under_the_callers_32_bits():
    m = Moments.linear(1.0, 1.0)
    traced = jax.jit(lambda t: SGDStationary(m, t, depth=2).log_prob(0.5))(jnp.float32(0.1))
    assert float(traced) == pytest.approx(float(SGDStationary(m, 0.1, depth=2).log_prob(0.5)), rel=1e-6)


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

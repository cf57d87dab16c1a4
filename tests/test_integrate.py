"""Latent values of rows, integrated out and drawn afterwards, against closed forms and SciPy's quadrature."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy import integrate, stats

import sgdvi
from sgdvi._internal.tree import take
from sgdvi.draws import make_tree
from sgdvi.samplers.targets.model import model_target

Y = np.array([28.0, 8, -3, 7, -1, 1, 18, 12])
S = np.array([15.0, 10, 16, 11, 9, 11, 10, 18])


def hyper() -> Any:
    return numpyro.sample("mu", dist.Normal(0, 5)), numpyro.sample("tau", dist.HalfCauchy(5))


def centred(s: Any, y: Any = None) -> None:
    mu, tau = hyper()
    with numpyro.plate("J", len(s)):
        theta = numpyro.sample("theta", dist.Normal(mu, tau))
        numpyro.sample("y", dist.Normal(theta, s), obs=y)


def non_centred(s: Any, y: Any = None) -> None:
    mu, tau = hyper()
    with numpyro.plate("J", 8):
        raw = numpyro.sample("theta", dist.Normal(0, 1))
        effect = numpyro.deterministic("effect", mu + tau * raw)
        numpyro.sample("y", dist.Normal(effect, s), obs=y)


def by_hand(s: Any, y: Any = None) -> None:
    mu, tau = hyper()
    with numpyro.plate("J", len(s)):
        numpyro.sample("y", dist.Normal(mu, jnp.sqrt(s**2 + tau**2)), obs=y)


@pytest.mark.parametrize("model", [centred, pytest.param(non_centred, marks=pytest.mark.slow)])
def test_gaussian_rows_are_exact_with_their_derivatives(model: Any, key: jax.Array, x64: None) -> None:
    made = sgdvi.integrate_rows(model, sites=["theta"])
    ours, theirs = (model_target(each, ((S, Y), {}), key) for each in (made, by_hand))
    some, z = take(ours.rows(((S, Y), {})), jnp.array([1, 5, 5, 0])), {"mu": jnp.array(1.3), "tau": jnp.array(0.7)}

    @jax.jit
    def derivatives(z: Any, rows: Any) -> Any:
        return [(jax.value_and_grad(t.loss)(z, rows), jax.hessian(t.loss)(z, rows)) for t in (ours, theirs)]

    np.testing.assert_allclose(*map(jax.tree.leaves, derivatives(z, some)), rtol=1e-9)
    ours.check(z, ours.rows(((S, Y), {})), 3)


def counts(y: Any = None) -> None:
    m = numpyro.sample("m", dist.Normal(0, 3))
    with numpyro.plate("rows", len(y)):
        rate = numpyro.sample("rate", dist.LogNormal(m, 2.0))
        numpyro.sample("y", dist.Poisson(rate), obs=y)


def hits(at_bats: Any, y: Any = None) -> None:
    m = numpyro.sample("m", dist.Uniform(0, 1))
    with numpyro.plate("players", len(y)):
        phi = numpyro.sample("phi", dist.Beta(m * 20.0, (1 - m) * 20.0))
        numpyro.sample("y", dist.Binomial(at_bats, probs=phi), obs=y)


COUNTS, HITS, AT_BATS = np.array([0, 1, 7, 300, 0]), np.array([18, 0, 7, 45]), np.array([45, 3, 45, 45])


def test_other_rows_by_quadrature(key: jax.Array, x64: None) -> None:
    target = model_target(sgdvi.integrate_rows(counts, ["rate"]), ((COUNTS,), {}), key)
    terms = jax.jit(target.row_terms)({"m": jnp.array(-1.0)}, target.rows(((COUNTS,), {})))[0]
    law = stats.lognorm(2.0, scale=np.exp(-1.0))
    for y, term in zip(COUNTS, terms, strict=True):
        wide = [integrate.quad(lambda u, y=y: law.pdf(np.exp(u)) * np.exp(u) * stats.poisson.pmf(y, np.exp(u)), a, b)[0]
                for a, b in [(-15, 0), (0, 4), (4, 8)]]  # fmt: skip
        assert float(term) == pytest.approx(np.log(sum(wide)), abs=2e-4)
    target = model_target(sgdvi.integrate_rows(hits, ["phi"]), ((AT_BATS, HITS), {}), key)
    terms = jax.jit(target.row_terms)({"m": jnp.array(0.3)}, target.rows(((AT_BATS, HITS), {})))[0]
    np.testing.assert_allclose(terms, stats.betabinom(AT_BATS, 6.0, 14.0).logpmf(HITS), atol=1e-4)


def test_rows_are_drawn_given_the_parameters(key: jax.Array, x64: None) -> None:
    run = make_tree({"mu": np.full((4, 5000), 4.0), "tau": np.full((4, 5000), 3.0)}, kind="nuts")
    drawn = sgdvi.integrate_rows(non_centred, ["theta"]).complete(run, (S, Y), key=key)["posterior"]
    variance = 1 / (1 / 9 + 1 / S**2)
    mean = variance * (4 / 9 + Y / S**2)
    effect = drawn["effect"].values.reshape(-1, 8)
    assert np.abs((effect.mean(0) - mean) / np.sqrt(variance / 20000)).max() < 4
    np.testing.assert_allclose(effect.var(0) / variance, 1, atol=4 * np.sqrt(2 / 20000))
    assert stats.kstest((effect[:, 0] - mean[0]) / np.sqrt(variance[0]), "norm").pvalue > 1e-3
    np.testing.assert_allclose(drawn["effect"], 4 + 3 * drawn["theta"], rtol=1e-6)


@pytest.mark.slow
def test_rows_with_a_skewed_posterior_are_drawn(key: jax.Array, x64: None) -> None:
    """Beta(6 + y, 14 + n - y)."""
    run = make_tree({"m": np.full((1, 20000), 0.3)}, kind="nuts")
    phi = sgdvi.integrate_rows(hits, ["phi"]).complete(run, (AT_BATS, HITS), key=key)["posterior"]["phi"].values[0]
    for row in range(4):
        law = stats.beta(6 + HITS[row], 14 + AT_BATS[row] - HITS[row])
        assert stats.kstest(phi[:, row], law.cdf).pvalue > 1e-3


@pytest.mark.slow
def test_predictions_are_those_of_the_model_as_written(key: jax.Array, x64: None) -> None:
    problem = sgdvi.Problem("schools", sgdvi.integrate_rows(centred, ["theta"]), (S, Y), {"mu": lambda ds: ds["mu"]})
    run = make_tree({"mu": np.full((2, 10), 4.0), "tau": np.full((2, 10), 3.0)}, kind="nuts")
    full = sgdvi.with_predictions(run, problem, key=key)
    expected = stats.norm(full["posterior"]["theta"].values, S).logpdf(Y)
    np.testing.assert_allclose(full["log_likelihood"]["y"], expected, rtol=1e-6)


def test_what_cannot_be_integrated(key: jax.Array) -> None:
    def two(y: Any) -> None:
        m = numpyro.sample("m", dist.Normal(0, 1))
        with numpyro.plate("rows", len(y)):
            a, b = numpyro.sample("a", dist.Normal(m, 1)), numpyro.sample("b", dist.Normal(0, 1))
            numpyro.sample("y", dist.Normal(a + b, 1), obs=y)

    def vector(y: Any) -> None:
        m = numpyro.sample("m", dist.Normal(0, 1))
        with numpyro.plate("rows", len(y)):
            a = numpyro.sample("a", dist.Normal(m, 1).expand([2]).to_event(1))
            numpyro.sample("y", dist.Normal(a[:, 0], 1), obs=y)

    def outside(y: Any) -> None:
        m = numpyro.sample("m", dist.Normal(0, 1))
        with numpyro.plate("rows", len(y)):
            a = numpyro.sample("a", dist.Normal(m, 1))
            numpyro.sample("y", dist.Normal(a, 1), obs=y)
        numpyro.factor("sum", -jnp.square(a.sum()))

    for model, site, text in [
        (two, "a", "only one latent site may stand in the rows; got 'b'"),
        (vector, "a", "must be one number per row"),
        (centred, "eta", "must have the latent site 'eta'"),
        (centred, "mu", "'mu' must stand in one plate"),
        (outside, "a", "must be finite at the start"),
    ]:
        data = (Y,) if model is not centred else (S, Y)
        sampler = sgdvi.SGD(sgdvi.integrate_rows(model, [site]), learning_rate=0.01, batch_size=4)
        with pytest.raises(sgdvi.InputError, match=text):
            sgdvi.sample(sampler, data, key=key, num_steps=2, progress=False)
    with pytest.raises(sgdvi.InputError, match="one latent site per row can be integrated out"):
        sgdvi.integrate_rows(two, ["a", "b"])

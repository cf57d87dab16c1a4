"""Models and data that SGD cannot run on get one line each, before the first step, that says what is wrong."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.contrib.control_flow import scan
from numpyro.primitives import mutable
from scipy import stats

import sgdvi
from sgdvi.samplers.references.joint import Joint

N = 30
RNG = np.random.default_rng(0)
X = RNG.normal(size=N)
Y = 1 + X + RNG.normal(size=N)
G = RNG.integers(0, 5, N)
TABLE = np.arange(5.0)


def prior() -> Any:
    return numpyro.sample("a", dist.Normal(0, 1)), numpyro.sample("s", dist.HalfNormal(1))


def likelihood(mean: Any, s: Any, y: Any) -> None:
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(mean, s), obs=y)


def no_plate(x: Any, y: Any) -> None:
    a, s = prior()
    numpyro.sample("y", dist.Normal(a * x, s), obs=y)


def summed_factor(x: Any, y: Any) -> None:
    a, s = prior()
    numpyro.factor("loglik", dist.Normal(a * x, s).log_prob(y).sum())


def kernel(x: Any) -> Any:
    return jnp.exp(-((x[:, None] - x) ** 2)) + jnp.eye(len(x))


def gaussian_process(x: Any, y: Any) -> None:
    _, s = prior()
    numpyro.sample("y", dist.MultivariateNormal(jnp.zeros(len(x)), s * kernel(x)), obs=y)


def latent_process(x: Any, y: Any) -> None:
    _, s = prior()
    f = numpyro.sample("f", dist.MultivariateNormal(jnp.zeros(len(x)), kernel(x)))
    likelihood(f, s, y)


def stochastic_volatility(y: Any) -> None:
    step = numpyro.sample("step", dist.Exponential(50.0))
    h = numpyro.sample("h", dist.GaussianRandomWalk(scale=step, num_steps=jnp.shape(y)[0]))
    numpyro.sample("r", dist.StudentT(5.0, 0.0, jnp.exp(h)), obs=y)


def volatility_with_plate(y: Any) -> None:
    step = numpyro.sample("step", dist.Exponential(50.0))
    h = numpyro.sample("h", dist.GaussianRandomWalk(scale=step, num_steps=jnp.shape(y)[0]))
    with numpyro.plate("time", len(y)):
        numpyro.sample("r", dist.Normal(0.0, jnp.exp(h)), obs=y)


def moving_average(y: Any) -> None:
    a, s = prior()

    def step(carry: Any, now: Any) -> Any:
        predicted = a * carry[0] + 0.5 * carry[1]
        return (now, now - predicted), predicted

    _, mean = jax.lax.scan(step, (y[0], jnp.zeros((), y.dtype)), y[1:])
    numpyro.sample("y", dist.Normal(mean, s), obs=y[1:])


def lagged_plate(y: Any) -> None:
    a, s = prior()
    likelihood(a * y[:-1], s, y[1:])


def state_space(y: Any) -> None:
    a, s = prior()

    def step(state: Any, now: Any) -> Any:
        state = numpyro.sample("state", dist.Normal(a * state, 1.0))
        numpyro.sample("y", dist.Normal(state, s), obs=now)
        return state, None

    scan(step, 0.0, y)


def forward_algorithm(y: Any) -> None:
    a, s = prior()

    def step(logs: Any, now: Any) -> Any:
        means = jnp.stack([a, -a])
        return jax.nn.logsumexp(logs[:, None] + jnp.log(0.5), 0) + dist.Normal(means, s).log_prob(now), None

    logs, _ = jax.lax.scan(step, jnp.zeros(2), y)
    numpyro.factor("forward", jax.nn.logsumexp(logs))


def plate_in_scan(y: Any) -> None:
    a, s = prior()

    def step(before: Any, now: Any) -> Any:
        with numpyro.plate("series", y.shape[0]):
            numpyro.sample("y", dist.Normal(a * before, s), obs=now)
        return now, None

    scan(step, y[:, 0], y[:, 1:].T)


def prior_of_n(x: Any, y: Any) -> None:
    a = numpyro.sample("a", dist.Normal(0, 1 / jnp.sqrt(len(x))))
    likelihood(a * x, 1.0, y)


def latent_in_plate(x: Any, y: Any) -> None:
    a, s = prior()
    with numpyro.plate("rows", len(y)):
        b = numpyro.sample("b", dist.Normal(a, 1))
        numpyro.sample("y", dist.Normal(b, s), obs=y)


def latent_per_row(x: Any, y: Any) -> None:
    a, s = prior()
    b = numpyro.sample("b", dist.Normal(a, 1).expand([len(x)]).to_event(1))
    likelihood(b * x, s, y)


def numpy_table(g: Any, y: Any) -> None:
    a, s = prior()
    likelihood(a * TABLE[g], s, y)


def closed_over(y: Any) -> None:
    a, s = prior()
    likelihood(a * X, s, y)


def standardised_inside(x: Any, y: Any) -> None:
    a, s = prior()
    likelihood(a * (x - x.mean()) / x.std(), s, y)


def discrete(x: Any, y: Any) -> None:
    a, s = prior()
    k = numpyro.sample("k", dist.Bernoulli(0.5))
    likelihood(a * x + k, s, y)


def batch_norm(x: Any, y: Any) -> None:
    a, s = prior()
    state = mutable("net$state", {"mean": jnp.zeros(())})
    state["mean"] = x.mean()
    likelihood(a * x, s, y)


def line(x: Any, y: Any) -> None:
    a, s = prior()
    likelihood(a * x, s, y)


def nothing_latent(x: Any, y: Any) -> None:
    likelihood(x, 1.0, y)


def infinite(x: Any, y: Any) -> None:
    a, s = prior()
    with numpyro.plate("rows", len(y)):
        numpyro.factor("y", dist.Normal(a, s).log_prob(y) + jnp.log(-jnp.abs(x)))


INDEPENDENT = "rows of the data must be conditionally independent"
INVALID = [
    (no_plate, (X, Y), "must have a data plate over the rows of its arguments; got plates around observed sites: none"),
    (summed_factor, (X, Y), "numpyro.factor\\('loglik'\\) outside any. Put the terms of single rows, unsummed"),
    (gaussian_process, (X, Y), INDEPENDENT + ".*one draw of MultivariateNormal .* 'y'"),
    (latent_process, (X, Y), INDEPENDENT + ".*one draw of MultivariateNormal .* 'f'"),
    (stochastic_volatility, (Y,), INDEPENDENT + ".*one draw of GaussianRandomWalk"),
    (volatility_with_plate, (Y,), INDEPENDENT + ".*one draw of GaussianRandomWalk"),
    (moving_average, (Y,), INDEPENDENT + ".*29 values of 'y' for 30 rows: a series with 1 lag"),
    (lagged_plate, (Y,), "pass the lagged values as arguments of their own, such as y\\[1:\\] and y\\[:-1\\]"),
    (state_space, (Y,), INDEPENDENT + ".*a scan along the data"),
    (forward_algorithm, (Y,), "as those of a time series, are no minibatch"),
    (plate_in_scan, (np.tile(Y, (4, 1)).T,), "outside numpyro's scan.*observe y\\[:, 1:\\] given y\\[:, :-1\\]"),
    (prior_of_n, (X, Y), "the prior of 'a' must not depend on the rows of the data, nor on their number"),
    (latent_in_plate, (X, Y), "'b' must not have one value per row.*sgdvi.integrate_rows\\(model, sites=\\['b'\\]\\)"),
    (latent_per_row, (X, Y), "'b' must not have one value per row.*unconstrained shape"),
    (numpy_table, (G, Y), "write jnp.asarray\\(table\\)\\[rows\\] for a NumPy table"),
    (closed_over, (Y,), "Pass all data to the model as arguments"),
    (standardised_inside, (X, Y), "every row must weigh the same"),
    (discrete, (X, Y), "'k' must be continuous.*Sum the site out"),
    (batch_norm, (X, Y), "must have no mutable state; got net\\$state"),
    (nothing_latent, (X, Y), "must have at least one latent site"),
    (line, (X, Y[:20]), "the model must run on the data"),
    (line, (X,), "the model must run on the data; got TypeError"),
    (line, (np.array(["a"] * N), Y), "data must be numeric|the model must run on the data"),
    (line, (X, np.where(Y > 1, np.nan, Y)), "must be finite at the start.*Look for NaN"),
    (infinite, (X, Y), "must be finite at the start"),
]


@pytest.mark.parametrize(
    ("model", "data", "text"), INVALID, ids=[f"{m.__name__}-{i}" for i, (m, *_) in enumerate(INVALID)]
)
def test_one_line_before_the_first_step(model: Any, data: Any, text: str, key: jax.Array, x64: None) -> None:
    steps: list[int] = []
    sampler = sgdvi.SGD(model, learning_rate=0.01, batch_size=5)
    with pytest.raises(sgdvi.InputError, match=text) as refused:
        sgdvi.sample(sampler, data, key=key, num_steps=5, progress=lambda done, total: steps.append(done))
    assert not steps
    assert "\n" not in str(refused.value)


@pytest.mark.slow
def test_a_model_with_dependent_rows_has_references(x64: None) -> None:
    problem = sgdvi.Problem("process", gaussian_process, (X, Y), {"s": lambda ds: ds["s"]})
    joint = Joint(problem)  # what variational inference is fitted to
    a, s = 0.3, 0.7
    kept = np.exp(-((X[:, None] - X) ** 2)) + np.eye(N)
    density = stats.multivariate_normal(np.zeros(N), s * kept).logpdf(Y)
    density += stats.norm.logpdf(a) + stats.halfnorm.logpdf(s) + np.log(s)
    assert joint.slope(np.array([a, np.log(s)]))[0] == pytest.approx(-density, rel=1e-9)

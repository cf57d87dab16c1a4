"""Models in the styles of other authors that must run: name -> (model, data), the docstring says what each tries."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pandas as pd
from numpyro import handlers
from numpyro.distributions import constraints, transforms
from numpyro.infer.reparam import LocScaleReparam

N, J = 24, 4
RNG = np.random.default_rng(7)
X = RNG.normal(size=(N, 2))
G = np.arange(N) % J
Y = X @ [1.0, -0.5] + 0.3 * G + 0.5 * RNG.normal(size=N)
COUNTS = RNG.poisson(3.0, N)
LABELS = RNG.integers(0, 3, N)
FRAME = pd.DataFrame({"x": X[:, 0], "y": Y, "g": G})


def scale() -> Any:
    return numpyro.sample("sigma", dist.HalfNormal(1.0))


def group_effects(g: Any, y: Any = None) -> None:
    """Nested plates: effects of groups in a plate of their own, picked by a NumPy index."""
    mu, tau = numpyro.sample("mu", dist.Normal(0, 1)), numpyro.sample("tau", dist.HalfNormal(1))
    with numpyro.plate("groups", J):
        a = numpyro.sample("a", dist.Normal(mu, tau))
    with numpyro.plate("rows", len(g)):
        numpyro.sample("y", dist.Normal(a[g], scale_of(g)), obs=y)


def scale_of(g: Any) -> Any:
    return jnp.full(jnp.shape(g), 0.5)


def rows_by_outputs(x: Any, y: Any) -> None:
    """Two plates with dims: rows along -2, outputs along -1."""
    with numpyro.plate("outputs", 2, dim=-1):
        w = numpyro.sample("w", dist.Normal(0, 1))
        with numpyro.plate("rows", len(x), dim=-2):
            numpyro.sample("y", dist.Normal(w * x, 1.0), obs=y)


def reparametrised(g: Any, y: Any = None) -> None:
    """`handlers.reparam` with LocScaleReparam around a site."""
    mu, tau = numpyro.sample("mu", dist.Normal(0, 1)), numpyro.sample("tau", dist.HalfNormal(1))
    with handlers.reparam(config={"a": LocScaleReparam(0)}), numpyro.plate("groups", J):
        a = numpyro.sample("a", dist.Normal(mu, tau))
    with numpyro.plate("rows", len(g)):
        numpyro.sample("y", dist.Normal(a[g], 0.5), obs=y)


def masked(x: Any, seen: Any, y: Any) -> None:
    """`handlers.mask` for missing outcomes."""
    b = numpyro.sample("b", dist.Normal(0, 1).expand([2]).to_event(1))
    with numpyro.plate("rows", len(x)), handlers.mask(mask=seen):
        numpyro.sample("y", dist.Normal(x @ b, 0.5), obs=y)


def weighted(x: Any, w: Any, y: Any) -> None:
    """`handlers.scale` with a weight for each row."""
    b = numpyro.sample("b", dist.Normal(0, 1).expand([2]).to_event(1))
    with numpyro.plate("rows", len(x)), handlers.scale(scale=w):
        numpyro.sample("y", dist.Normal(x @ b, 0.5), obs=y)


def two_likelihoods(x: Any, y: Any, count: Any) -> None:
    """Two likelihoods in one plate."""
    b = numpyro.sample("b", dist.Normal(0, 1).expand([2]).to_event(1))
    with numpyro.plate("rows", len(x)):
        numpyro.sample("y", dist.Normal(x @ b, scale_of(y)), obs=y)
        numpyro.sample("count", dist.Poisson(jnp.exp(0.3 * (x @ b))), obs=count)


def two_plates(x: Any, y: Any, count: Any) -> None:
    """The rows in two plates one after the other."""
    b, s = numpyro.sample("b", dist.Normal(0, 1).expand([2]).to_event(1)), scale()
    with numpyro.plate("first", x.shape[0]):
        numpyro.sample("y", dist.Normal(x @ b, s), obs=y)
    with numpyro.plate("second", x.shape[0]):
        numpyro.sample("count", dist.Poisson(jnp.exp(s)), obs=count)


def factor_in_plate(count: Any) -> None:
    """A hurdle model by `numpyro.factor` inside the plate."""
    p, rate = numpyro.sample("p", dist.Beta(1, 1)), numpyro.sample("rate", dist.Gamma(2, 1))
    with numpyro.plate("rows", len(count)):
        positive = jnp.log(p) + dist.Poisson(rate).log_prob(count) - jnp.log1p(-jnp.exp(-rate))
        numpyro.factor("hurdle", jnp.where(count == 0, jnp.log1p(-p), positive))


def dictionary(data: dict[str, Any]) -> None:
    """One argument, a dictionary of arrays."""
    b = numpyro.sample("b", dist.Normal(0, 1))
    with numpyro.plate("rows", len(data["y"])):
        numpyro.sample("y", dist.Normal(b * data["x"], 1.0), obs=data["y"])


def keywords(*, x: Any, y: Any, link: str, degree: int) -> None:
    """Keyword arguments, among them text and a number."""
    assert link == "log"
    b = numpyro.sample("b", dist.Normal(0, 1).expand([degree + 1]).to_event(1))
    with numpyro.plate("rows", len(x)):
        numpyro.sample("y", dist.Poisson(jnp.exp(0.2 * jnp.stack([x**k for k in range(degree + 1)], -1) @ b)), obs=y)


def subsampled_by_index(x: Any, y: Any) -> None:
    """A plate that subsamples, rows by its index."""
    b = numpyro.sample("b", dist.Normal(0, 1))
    with numpyro.plate("rows", N, subsample_size=6) as i:
        numpyro.sample("y", dist.Normal(b * x[i], 1.0), obs=y[i])


def conditioned(x: Any, y: Any) -> None:
    """Data through `handlers.condition`."""
    b = numpyro.sample("b", dist.Normal(0, 1))
    with handlers.condition(data={"y": y}), numpyro.plate("rows", len(x)):
        numpyro.sample("y", dist.Normal(b * x, 1.0))


def ordinal(x: Any, label: Any) -> None:
    """Ordered cut points by a transformed distribution."""
    cuts = numpyro.sample(
        "cuts", dist.TransformedDistribution(dist.Normal(0, 1).expand([2]).to_event(1), transforms.OrderedTransform())
    )
    b = numpyro.sample("b", dist.Normal(0, 1).expand([2]).to_event(1))
    with numpyro.plate("rows", len(x)):
        numpyro.sample("label", dist.OrderedLogistic(x @ b, cuts), obs=label)


def correlated(y: Any) -> None:
    """Rows that are vectors with an LKJ correlation matrix."""
    sd = numpyro.sample("sd", dist.HalfNormal(1).expand([2]).to_event(1))
    chol = numpyro.sample("chol", dist.LKJCholesky(2, 2.0))
    numpyro.deterministic("corr", chol @ chol.T)
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.MultivariateNormal(jnp.zeros(2), scale_tril=sd[:, None] * chol), obs=y)


def overdispersed(count: Any) -> None:
    """Zero inflation around a negative binomial."""
    m, k = numpyro.sample("m", dist.LogNormal(0, 1)), numpyro.sample("k", dist.Exponential(1))
    gate = numpyro.sample("gate", dist.Uniform(0, 1))
    with numpyro.plate("rows", count.shape[0]):
        numpyro.sample("y", dist.ZeroInflatedDistribution(dist.NegativeBinomial2(m, k), gate=gate), obs=count)


def mixture(y: Any) -> None:
    """A mixture with Dirichlet weights."""
    w = numpyro.sample("w", dist.Dirichlet(jnp.ones(2)))
    with numpyro.plate("components", 2):
        m, s = numpyro.sample("m", dist.Normal(0, 2)), numpyro.sample("s", dist.HalfNormal(1))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.MixtureSameFamily(dist.Categorical(w), dist.Normal(m, s)), obs=y)


def horseshoe(x: Any, y: Any) -> None:
    """Heavy-tailed scales with a deterministic product."""
    tau = numpyro.sample("tau", dist.HalfCauchy(0.1))
    with numpyro.plate("features", 2):
        lam, z = numpyro.sample("lam", dist.HalfCauchy(1)), numpyro.sample("z", dist.Normal(0, 1))
    b = numpyro.deterministic("b", tau * lam * z)
    with numpyro.plate("rows", len(x)):
        numpyro.sample("y", dist.StudentT(4.0, x @ b, 1.0), obs=y)


def flat_priors(x: Any, y: Any) -> None:
    """Improper priors, written both ways."""
    a = numpyro.sample("a", dist.ImproperUniform(constraints.real, (), ()))
    b = numpyro.sample("b", dist.Normal(0, 1).expand([2]).to_event(1).mask(False))
    with numpyro.plate("rows", len(x)):
        numpyro.sample("y", dist.Normal(a + x @ b, 1.0), obs=y)


def columns(x: Any, g: Any, table: Any, y: Any) -> None:
    """Columns of pandas, and a NumPy table of the groups that rows index."""
    b, s = numpyro.sample("b", dist.Normal(0, 1)), scale()
    with numpyro.plate("rows", len(x)):
        numpyro.sample("y", dist.Normal(b * x + table[g], s), obs=y)


def scoped(x: Any, y: Any) -> None:
    """Names with a slash by `handlers.scope`, and a curve over as many points as rows."""
    with handlers.scope(prefix="line"):
        a, b = numpyro.sample("a", dist.Normal(0, 1)), numpyro.sample("b", dist.Normal(0, 1))
    numpyro.deterministic("curve", a + b * jnp.linspace(-1, 1, N))
    with numpyro.plate("rows", len(x)):
        numpyro.deterministic("fit", a + b * x)
        numpyro.sample("y", dist.Normal(a + b * x, 1.0), obs=y)


def vmapped(x: Any, y: Any) -> None:
    """A likelihood by `jax.vmap`, rows censored at a bound."""
    b = numpyro.sample("b", dist.Normal(0, 1))
    mean = jax.vmap(lambda row: b * jnp.tanh(row))(x)
    with numpyro.plate("rows", len(x)):
        numpyro.sample("y", dist.LeftTruncatedDistribution(dist.Normal(mean, 1.0), low=-9.0), obs=y)


def integrated(y: Any) -> None:
    """A value per row, to be integrated out."""
    mu, tau = numpyro.sample("mu", dist.Normal(0, 1)), numpyro.sample("tau", dist.HalfNormal(1))
    with numpyro.plate("rows", len(y)):
        b = numpyro.sample("value", dist.Normal(mu, tau))
        numpyro.sample("y", dist.Normal(b, 0.5), obs=y)


TWO = np.stack([Y, Y[::-1]], 1)
VALID: dict[Any, Any] = {
    group_effects: (G, Y),
    rows_by_outputs: (X, TWO),
    reparametrised: (G, Y),
    masked: (X, Y > -1, Y),
    weighted: (X, np.linspace(0.5, 1.5, N), Y),
    two_likelihoods: (X, Y, COUNTS),
    two_plates: (X, Y, COUNTS),
    factor_in_plate: (COUNTS,),
    dictionary: ({"x": X[:, 0], "y": Y},),
    keywords: {"x": X[:, 0], "y": COUNTS, "link": "log", "degree": 2},
    subsampled_by_index: (X[:, 0], Y),
    conditioned: (X[:, 0], Y),
    ordinal: (X, LABELS),
    correlated: (TWO,),
    overdispersed: (COUNTS,),
    mixture: (Y,),
    horseshoe: (X, Y),
    flat_priors: (X, Y),
    columns: (FRAME.x, FRAME["g"], np.array([0.0, 0.1, 0.2, 0.3]), FRAME["y"]),
    scoped: (X[:, 0], Y),
    vmapped: (X[:, 0], Y),
    integrated: (Y,),
}

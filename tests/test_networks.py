"""Networks in NumPyro models: parameters that stand still or are sampled, predictions, names; the page of networks."""

import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from numpyro.infer.util import log_density

import sgdvi
from sgdvi import InputError
from sgdvi.problem.all_rows import with_fixed_params
from sgdvi.samplers.targets.model import model_target

X = np.random.default_rng(0).normal(size=(12, 2)).astype(np.float32)
Y = X.sum(1)
NET = {"hidden": {"w": np.full((2, 3), 0.5, np.float32)}, "out": np.ones(3, np.float32)}


def apply(net: Any, x: Any) -> Any:
    return jnp.tanh(x @ net["hidden"]["w"]) @ net["out"]


def held(x: Any, y: Any = None) -> None:
    """As `flax_module` does it, with a scale beside."""
    net = numpyro.param("net$params", lambda key: NET)
    sd = numpyro.param("sd", 0.5, constraint=dist.constraints.positive)
    slope = numpyro.sample("slope", dist.Normal(0, 1))
    with numpyro.plate("data", len(x)):
        numpyro.sample("y", dist.Normal(slope * x[:, 0] + apply(net, x), sd), obs=y)


def latent(x: Any, y: Any = None) -> None:
    """The same by hand, as `random_flax_module` does it."""
    w = numpyro.sample("net/hidden.w", dist.Normal(0, 2).expand([2, 3]).to_event(2))
    net = {"hidden": {"w": w}, "out": numpyro.sample("net/out", dist.Normal(0, 2).expand([3]).to_event(1))}
    sd = numpyro.sample("sd", dist.HalfNormal(1))
    slope = numpyro.sample("slope", dist.Normal(0, 1))
    with numpyro.plate("data", len(x)):
        numpyro.sample("y", dist.Normal(slope * x[:, 0] + apply(net, x), sd), obs=y)


VALUES = {
    "net/hidden.w": NET["hidden"]["w"] + 1,
    "net/out": NET["out"] * 2,
    "sd": jnp.array(0.3),
    "slope": jnp.ones(()),
}
PRIOR = {"net": dist.Normal(0, 2), "sd": dist.HalfNormal(1)}


def test_params_with_a_prior_are_the_sites_of_a_random_module() -> None:
    sampled = sgdvi.sample_params(held, PRIOR)
    densities = [float(log_density(model, (X, Y), {}, VALUES)[0]) for model in (sampled, latent)]
    assert densities[0] == pytest.approx(densities[1], rel=1e-6)
    target = model_target(sampled, ((X, Y), {}), jax.random.key(0))
    assert set(target.shapes) == set(VALUES)


def test_params_without_a_prior_stand_still_and_are_named() -> None:
    last = sgdvi.sample_params(held, {"net/out": dist.Normal(0, 2)})
    with pytest.warns(UserWarning, match="numpyro.param sites sd stand still .* sgdvi.sample_params"):
        full = with_fixed_params(last, ((X, Y), {}))
    trace = handlers.trace(handlers.seed(full, 0)).get_trace(X, Y)
    latent = [name for name, site in trace.items() if site["type"] == "sample" and not site["is_observed"]]
    assert latent == ["net/out", "slope"]


BAD_PRIORS = {
    "vector": (
        lambda: sgdvi.sample_params(held, dist.Normal(0, jnp.ones(2))),
        r"one entry; got one of shape \(2,\)",
    ),
    "no prior": (lambda: sgdvi.sample_params(held, 1.0), "prior must be .*got float 1.0"),
    "empty": (lambda: sgdvi.sample_params(held, {}), "must name at least one parameter; got none"),
    "unknown": (
        lambda: sgdvi.sample_params(held, {"nett": dist.Normal(0, 1)}),
        r"must name parameters of the model; got \['nett'\]. Its: net/hidden.w, net/out, sd",
    ),
    "support": (
        lambda: sgdvi.sample_params(held, {"sd": dist.Normal(0, 1)}),
        "the prior of 'sd' must have the support of the parameter; got Real",
    ),
    "none": (
        lambda: sgdvi.sample_params(latent, dist.Normal(0, 1)),
        "must have numpyro.param sites .*got none",
    ),
}


@pytest.mark.parametrize("name", BAD_PRIORS)
def test_priors_that_do_not_fit_are_one_line(name: str) -> None:
    make, text = BAD_PRIORS[name]
    with pytest.raises(InputError, match=text) as caught:
        model_target(make(), ((X, Y), {}), jax.random.key(0))
    assert "\n" not in str(caught.value)


def test_mutable_state_is_refused_in_one_line() -> None:
    def normalised(x: Any, y: Any) -> None:
        state = numpyro.primitives.mutable("net$state", {"mean": jnp.zeros(2)})
        held(x - state["mean"], y)

    with pytest.raises(InputError, match=r"must have no mutable state; got net\$state. .*leave dropout out") as caught:
        model_target(normalised, ((X, Y), {}), jax.random.key(0))
    assert "\n" not in str(caught.value)


def test_predictions_of_a_model_at_one_draw_and_at_all() -> None:
    predict = sgdvi.predictive_mean(latent, "y", X[:4])
    expected = X[:4, 0] + np.tanh(X[:4] @ VALUES["net/hidden.w"]) @ VALUES["net/out"]
    np.testing.assert_allclose(predict(VALUES), expected, rtol=1e-5)
    draws = {name: np.broadcast_to(value, (1, 3, *np.shape(value))) for name, value in VALUES.items()}
    tree = sgdvi.draws.make_tree(draws, kind="sgd")  # names with a "." for "/"
    np.testing.assert_allclose(predict(tree["posterior"].to_dataset()), np.tile(expected, (1, 3, 1)), rtol=1e-5)


def test_predictions_of_classes_and_of_deterministic_sites() -> None:
    def classes(x: Any, y: Any = None) -> None:
        w = numpyro.sample("w", dist.Normal(0, 1).expand([2, 3]).to_event(2))
        logits = numpyro.deterministic("logits", x @ w)
        with numpyro.plate("data", len(x)):
            numpyro.sample("y", dist.Categorical(logits=logits), obs=y)

    values = {"w": NET["hidden"]["w"] * np.arange(3)}
    logits = X @ values["w"]
    np.testing.assert_allclose(sgdvi.predictive_mean(classes, "logits", x=X)(values), logits, rtol=1e-5)
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(sgdvi.predictive_mean(classes, "y", X)(values), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: sgdvi.predictive_mean(latent, "z", X), "site must be an observed .* got 'z'. Its sites: net/hidden.w"),
        (lambda: sgdvi.predictive_mean(latent, "y", X[:, :1]), "must run on the new data; got TypeError"),
        (
            lambda: sgdvi.predictive_mean(latent, "y", X)({"sd": 1.0}),
            "of every latent site; got none of net/h",
        ),
    ],
)
def test_predictions_that_cannot_be_made_are_one_line(make: Any, text: str) -> None:
    with pytest.raises(InputError, match=text) as caught:
        make()
    assert "\n" not in str(caught.value)


WAYS = {
    "nnx": "nnx.Sequential.*sgdvi.Loss",
    "linen": "linen.Sequential.*sgdvi.Loss",
    "equinox": "eqx.nn.MLP.*sgdvi.Loss.*html",
    **{f"random_{name}": f"random_{name}_module" for name in ("flax", "nnx", "eqx")},
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_write_a_network_takes_at_most_fifteen_lines(way: str) -> None:
    page = (Path(__file__).parents[1] / "docs" / "networks.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (block,) = (block for block in blocks if re.search(WAYS[way], block, re.DOTALL))
    assert ".to_html(" in block or ".save(" in block
    assert len([line for line in block.splitlines() if line.strip()]) <= 15

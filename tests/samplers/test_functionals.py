"""Functions of the parameters of one draw: the same in `sample`, `compare` and by hand; parameters back from draws."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import sgdvi
from sgdvi import InputError
from sgdvi.draws.functionals import PerDraw
from sgdvi.problem.loss import split_module
from sgdvi.samplers.driver import devices

RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, 3)).astype(np.float32)
Y = X.sum(1)
TEST = RNG.normal(size=(5, 3)).astype(np.float32)
# a module: functions and a random key among its leaves
MODULE = {"hidden": {"w": np.ones((3, 2), np.float32)}, "out": np.ones(2, jnp.bfloat16), "act": jnp.tanh}
MODULE["key"] = jax.random.key(7)


def apply(net: Any, x: Any) -> Any:
    return net["act"](x @ net["hidden"]["w"]) @ net["out"].astype(jnp.float32)


LOSS = sgdvi.Loss(lambda net, batch: (apply(net, batch[0]) - batch[1]) ** 2, MODULE)
DRAWS = {
    "hidden.w": RNG.normal(size=(2, 50, 3, 2)).astype(np.float32),
    "out": np.asarray(jnp.asarray(RNG.normal(size=(2, 50, 2)), jnp.bfloat16), np.float32),
}
PREDICTED = np.einsum("cdnk,cdk->cdn", np.tanh(np.einsum("nf,cdfk->cdnk", TEST, DRAWS["hidden.w"])), DRAWS["out"])


def predictions() -> PerDraw:
    return LOSS.per_draw(lambda net: apply(net, TEST))


@pytest.fixture(scope="module")
def run() -> Any:
    sampler = sgdvi.SGD(LOSS, optax.sgd(0.05), batch_size=4)
    options: dict[str, Any] = {"num_steps": 30, "num_chains": 2, "progress": False}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices, "_ALONE_BYTES", 0)  # as a large network is run
        return sgdvi.sample(sampler, (X, Y), key=jax.random.key(0), functionals={"p": predictions()}, **options)


def test_a_module_is_split_and_put_together() -> None:
    assert LOSS.names == ("hidden.w", "out")
    assert [leaf.shape for leaf in jax.tree.leaves(LOSS.params)] == [(3, 2), (2,)]
    whole = LOSS.whole(LOSS.params)
    assert whole["act"] is jnp.tanh
    assert whole["key"] is MODULE["key"]
    assert split_module({"u": 1.0, "w": np.ones(2)})[1] is None
    with pytest.raises(InputError, match="at least one array; got none"):
        sgdvi.Loss(LOSS.function, {"act": jnp.tanh, "count": np.arange(3)})


def test_parameters_of_all_draws_are_the_modules_own() -> None:
    for given in (
        DRAWS,
        sgdvi.draws.make_tree(DRAWS, kind="sgd"),
        {"hidden/w": DRAWS["hidden.w"], "out": DRAWS["out"]},
    ):
        net = LOSS.unflatten(given)
        assert net["out"].dtype == jnp.bfloat16
        np.testing.assert_array_equal(net["hidden"]["w"], DRAWS["hidden.w"])
        assert net["act"] is jnp.tanh


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"out": DRAWS["out"]}, "must have all parameters of the loss; got none of hidden.w"),
        ({**DRAWS, "out": DRAWS["out"][..., :1]}, r"each draw of out must have shape \(2,\); got \(1,\)"),
        ({"out": np.ones(3)}, "arrays .chain, draw, ....; got fewer than two axes of out"),
        (3, "must be a DataTree, its posterior, or a dict of arrays .*got int"),
    ],
)
def test_draws_that_are_not_of_the_loss_are_one_line(given: Any, text: str) -> None:
    with pytest.raises(InputError, match=text) as caught:
        LOSS.unflatten(given)
    assert "\n" not in str(caught.value)


def test_a_functional_of_one_draw_is_mapped_over_all_draws() -> None:
    tree = sgdvi.draws.make_tree(DRAWS, kind="sgd")
    mapped = predictions()(tree["posterior"].to_dataset())  # 100 draws: a block of 64, and one that is filled up
    assert mapped.dims == ("chain", "draw", "value_dim_0")
    np.testing.assert_allclose(mapped, PREDICTED, rtol=2e-6, atol=1e-6)
    by_name = sgdvi.per_draw(lambda ds: (ds["hidden/w"] ** 2).sum() + ds.out[0])
    squares = (DRAWS["hidden.w"] ** 2).sum((2, 3)) + DRAWS["out"][..., 0]
    np.testing.assert_allclose(by_name(tree["posterior"].to_dataset()), squares, rtol=2e-6, atol=1e-6)


def test_compare_takes_the_functionals_of_sample_with_and_without_weights(run: Any) -> None:
    posterior = run["posterior"].to_dataset()
    assert list(posterior.data_vars) == ["hidden.w", "out", "p"]
    np.testing.assert_allclose(predictions()(posterior), posterior["p"], rtol=2e-6, atol=1e-6)
    assert (posterior["p"].values != 0).all()
    alone = posterior[["p"]]
    runs = {"with": posterior[["hidden.w", "out"]], "without": alone}
    compared = sgdvi.compare(runs, reference=None, functionals={"p": predictions()})
    assert list(compared.functionals) == [f"p[{k}]" for k in range(5)]
    for name in compared.functionals:
        np.testing.assert_allclose(*(compared.values[one][name] for one in runs), rtol=2e-6, atol=1e-6)
    with pytest.raises(InputError, match="'q' must be computable from the sites"):
        sgdvi.compare({"without": alone}, reference=None, functionals={"q": predictions()})


def test_functionals_that_are_no_functions_are_refused() -> None:
    with pytest.raises(InputError, match="must be functions of the parameters; got list"):
        LOSS.per_draw([1])
    with pytest.raises(InputError, match="function must be a function"):
        sgdvi.per_draw(3)


@pytest.mark.slow
def test_functionals_alone_go_on_from_a_store(tmp_path: Any) -> None:
    def sampled(steps: int, **words: Any) -> Any:
        # made anew, as by another process
        loss = sgdvi.Loss(lambda net, batch: (apply(net, batch[0]) - batch[1]) ** 2, MODULE)
        functionals = {"p": loss.per_draw(lambda net: apply(net, TEST))}
        sampler = sgdvi.SGD(loss, optax.sgd(0.05), batch_size=4)
        words = {"num_chains": 2, "progress": False, "keep": (), "functionals": functionals, **words}
        return sgdvi.sample(sampler, (X, Y), key=jax.random.key(0), num_steps=steps, **words)

    store = str(tmp_path / "draws.zarr")
    sampled(20, store=store)
    whole, again = sampled(50), sampled(50, store=store, resume=True)
    assert list(again["posterior"].data_vars) == ["p"]
    np.testing.assert_array_equal(whole["posterior"]["p"].values, again["posterior"]["p"].values)


@pytest.mark.slow
@pytest.mark.parametrize("library", ["flax.nnx", "equinox"])
def test_whole_modules_are_sampled_and_searched_for_symmetries(library: str) -> None:
    nets = pytest.importorskip(library)

    class Network(nets.Module):  # type: ignore[misc,name-defined]
        hidden: Any
        out: Any
        unused: Any
        normalise: Any

        def __init__(self) -> None:
            if library == "equinox":
                one, two, three = jax.random.split(jax.random.key(0), 3)
                self.hidden, self.out = nets.nn.Linear(3, 2, key=one), nets.nn.Linear(2, 1, key=two)
                self.unused, self.normalise = nets.nn.Linear(2, 2, key=three), jax.nn.relu
            else:
                rngs = nets.Rngs(0)
                self.hidden, self.out = nets.Linear(3, 2, rngs=rngs), nets.Linear(2, 1, rngs=rngs)
                self.unused = nets.Linear(2, 2, rngs=rngs)
                # its statistics are floating arrays, too, but no parameters
                self.normalise = nets.BatchNorm(2, use_running_average=True, use_bias=False, use_scale=False, rngs=rngs)

        def __call__(self, x: Any) -> Any:
            each = jax.vmap if library == "equinox" else lambda layer: layer
            return each(self.out)(jax.nn.relu(self.normalise(each(self.hidden)(x))))[:, 0]

    network = Network()
    loss = sgdvi.Loss(lambda net, batch: (net(batch[0]) - batch[1]) ** 2, network)
    assert len(loss.names) == 6
    functionals = {"p": loss.per_draw(lambda net: net(TEST))}
    options: dict[str, Any] = {"num_steps": 20, "num_chains": 2, "progress": False, "init": network}
    sampler = sgdvi.SGD(loss, learning_rate=0.01, batch_size=4)
    tree = sgdvi.sample(sampler, (X, Y), key=jax.random.key(0), functionals=functionals, **options)
    np.testing.assert_allclose(functionals["p"](tree["posterior"].to_dataset()), tree["posterior"]["p"], rtol=1e-5)
    found = sgdvi.find_symmetries(loss, None, (X, Y), key=jax.random.key(0))
    assert (len(found), len(found.unused)) == (2, 2)
    assert isinstance(found[0].balanced_point(network), Network)
    settings: dict[str, Any] = {"learning_rate": 0.01, "batch_size": 4, "symmetries": found}
    assert len(sgdvi.balance(loss, (X, Y), trajectory=loss.unflatten(tree), **settings).names) == 2

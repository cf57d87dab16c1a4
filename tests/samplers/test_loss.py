"""Losses as targets: SGD on them is what it says, draws are named by leaves, and bad losses are told what to do."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from numpyro.infer import MCMC

import sgdvi
from sgdvi._internal.batches import Batching
from sgdvi.samplers.algorithms.sgd import batch_indices, chain_seed
from sgdvi.samplers.references import nuts, pathfinder, variational

N = 30
RNG = np.random.default_rng(2)
X = RNG.normal(size=N)
Y = 0.5 * X + RNG.normal(size=N)
KEY = jax.random.key(5)
START = {"u": 0.9, "w": {"in": np.array([-0.3, 0.2])}}


def product(params: Any, batch: Any) -> Any:
    x, y = batch
    return (params["u"] * params["w"]["in"].sum() * x - y) ** 2


LOSS = sgdvi.Loss(product, START)


@pytest.fixture(scope="module")
def sampler() -> sgdvi.SGD:
    return sgdvi.SGD(LOSS, optax.sgd(0.02), batch_size=3)


def sample(sampler: sgdvi.SGD, data: Any = (X, Y), **options: Any) -> Any:
    settings = {"key": KEY, "num_steps": 40, "num_chains": 2, "progress": False}
    return sgdvi.sample(sampler, data, **(settings | options))


def values(tree: Any, name: str = "u") -> np.ndarray:
    return tree["posterior"][name].values


def test_every_step_is_the_gradient_step_on_the_mean_of_the_rows(x64: None) -> None:
    gamma, eta = 0.3, 0.02
    tree = sample(sgdvi.SGD(sgdvi.Loss(product, START, weight_decay=gamma), learning_rate=eta, batch_size=3))
    for chain in range(2):
        seed = chain_seed(jax.random.fold_in(KEY, chain))
        u, w = 0.9, np.array([-0.3, 0.2])
        for step, rows in enumerate(np.asarray(batch_indices(seed, jnp.arange(40), N, 3, Batching.REPLACEMENT))):
            slope = np.mean(2 * (u * w.sum() * X[rows] - Y[rows]) * X[rows])
            loss = np.mean((u * w.sum() * X[rows] - Y[rows]) ** 2) + gamma * (u**2 + w @ w)
            u, w = u - eta * (slope * w.sum() + 2 * gamma * u), w - eta * (slope * u + 2 * gamma * w)
            assert values(tree)[chain, step] == pytest.approx(u, rel=1e-12)
            np.testing.assert_allclose(values(tree, "w.in")[chain, step], w, rtol=1e-12)
            assert tree["sample_stats"]["loss"].values[chain, step] == pytest.approx(loss, rel=1e-12)


@pytest.mark.slow
def test_a_loss_and_a_model_with_the_same_density_move_alike(x64: None) -> None:
    network = sgdvi.LinearNetwork(X, Y, depth=1, noise_sd=1.0, prior_sd=2.0)

    def loss(params: Any, batch: Any) -> Any:
        x, y = batch
        return (params["u"] * params["w"] * x - y) ** 2 / 2

    start, options = {"u": 0.9, "w": -0.3}, {"learning_rate": 0.05, "batch_size": 2}
    of_loss = sample(sgdvi.SGD(sgdvi.Loss(loss, start, weight_decay=1 / 8 / N), **options))
    of_model = sample(sgdvi.SGD(network.model, **options), init=start)
    for name in start:
        np.testing.assert_allclose(values(of_loss, name), values(of_model, name), rtol=1e-12)


def test_names_are_paths_and_types_stay() -> None:
    params = {"layers": [{"w": np.float32([1, 2])}, {"w": jnp.ones(3, jnp.bfloat16)}], "a/b": 2.0}
    loss = sgdvi.Loss(lambda p, x: (p["layers"][0]["w"][0] * p["layers"][1]["w"][0] * p["a/b"] - x) ** 2, params)
    assert loss.names == ("a.b", "layers.0.w", "layers.1.w")
    tree = sample(sgdvi.SGD(loss, learning_rate=1e-3), X, num_steps=3)
    assert set(tree["posterior"].data_vars) == set(loss.names)
    assert values(tree, "layers.1.w").shape == (2, 3, 3)
    # half precision is stored as what NumPy and the files know
    assert {values(tree, name).dtype for name in loss.names} == {np.dtype(np.float32)}
    assert sgdvi.Loss(lambda p, x: (p - x) ** 2, 1.0).names == ("params",)


def test_chains_start_at_the_parameters_or_at_pytrees(sampler: sgdvi.SGD) -> None:
    still = sgdvi.SGD(LOSS, learning_rate=1e-7, batch_size=3)
    options: dict[str, Any] = {"num_steps": 1, "num_chains": 3}

    def starts(**change: Any) -> tuple[np.ndarray, np.ndarray]:
        tree = sample(still, **options, **change)
        return values(tree)[:, 0].round(4), values(tree, "w.in")[:, 0].round(4)

    np.testing.assert_allclose(starts()[0], 0.9, atol=1e-4)
    batched = {"u": [0.1, 0.2, 0.3], "w": {"in": np.array([5.0, 6.0])}}
    with pytest.raises(sgdvi.InputError, match="init must be a pytree like the loss's params"):
        starts(init=batched)  # a list is a pytree of its own
    u, w = starts(init=batched | {"u": np.array([0.1, 0.2, 0.3])})
    np.testing.assert_allclose(u, [0.1, 0.2, 0.3], atol=1e-4)
    np.testing.assert_allclose(w, [[5, 6]] * 3, atol=1e-4)
    np.testing.assert_allclose(starts(init={"u": 0.4, "w.in": [1.0, 2.0]})[0], 0.4, atol=1e-4)
    tree = sample(still, init={"near": START, "far": {"u": 2.0, "w": {"in": np.ones(2)}}}, **options)
    assert list(tree["posterior"]["start"].values) == ["near", "far", "near"]
    np.testing.assert_allclose(values(tree)[:, 0], [0.9, 2.0, 0.9], atol=1e-4)
    for init, text in (
        ({"u": 1.0}, "init must be a pytree like the loss's params, or a dict with the leaves"),
        ({"far": {"u": 1.0}}, "start 'far' must be a pytree like the loss's params"),
        ({"u": 1.0, "w": {"in": np.ones(3)}}, r"'w.in' must have shape \(2,\) or \(3, 2\); got \(3,\)"),
        ({"u": np.nan, "w": {"in": np.ones(2)}}, "'u' must be finite"),
    ):
        with pytest.raises(sgdvi.InputError, match=text):
            starts(init=init)


def test_an_optimizer_sees_the_pytree_of_the_caller() -> None:
    mask = {"u": True, "w": {"in": False}}
    optimizer = optax.chain(optax.masked(optax.set_to_zero(), mask), optax.sgd(0.02))
    tree = sample(sgdvi.SGD(LOSS, optimizer, batch_size=3))
    np.testing.assert_allclose(values(tree), 0.9, rtol=1e-6)
    assert np.ptp(values(tree, "w.in")) > 0.1


def test_draws_do_not_depend_on_chains_thinning_or_form_of_the_data(sampler: sgdvi.SGD) -> None:
    draws = values(sample(sampler))
    np.testing.assert_array_equal(values(sample(sampler, num_chains=5))[:2], draws)
    np.testing.assert_array_equal(values(sample(sampler, thinning=4)), draws[:, 3::4])
    by_name = sgdvi.SGD(
        sgdvi.Loss(lambda p, batch: product(p, (batch["x"], batch["y"])), START), learning_rate=0.02, batch_size=3
    )
    np.testing.assert_array_equal(values(sample(by_name, {"x": X, "y": Y})), draws)


def test_functionals_store_and_resume(sampler: sgdvi.SGD, tmp_path: Path) -> None:
    options: dict[str, Any] = {"functionals": {"v": lambda ds: ds.u * ds["w.in"].sum()}, "keep": ("u",)}
    whole = sample(sampler, **options)
    assert set(whole["posterior"].data_vars) == {"u", "v"}
    path = tmp_path / "draws.zarr"
    sample(sampler, num_steps=15, store=path, **options)
    stored = sample(sampler, store=path, resume=True, **options)
    for name in ("u", "v"):
        np.testing.assert_array_equal(values(stored, name), values(whole, name))
    other = sgdvi.SGD(sgdvi.Loss(lambda p, b: 2 * product(p, b), START), optax.sgd(0.02), batch_size=3)
    with pytest.raises(sgdvi.InputError, match="model"):
        sample(other, num_steps=60, store=path, resume=True, **options)
    with pytest.raises(sgdvi.InputError, match="data"):
        sample(sampler, (X, -Y), num_steps=60, store=path, resume=True, **options)


def test_overflow_is_recorded(sampler: sgdvi.SGD) -> None:
    starts = {"far": {"u": 90.0, "w": {"in": np.array([40.0, 50.0])}}, "near": START}
    status = sample(sampler, init=starts)["chain_status"]
    assert list(status["status"].values) == ["overflowed", "ok"]


@pytest.mark.slow
def test_the_kernel_makes_the_same_draws_under_numpyro(sampler: sgdvi.SGD) -> None:
    keys = jax.vmap(lambda chain: jax.random.fold_in(KEY, chain))(jnp.arange(2))
    mcmc = MCMC(sampler, num_warmup=0, num_samples=40, num_chains=2, chain_method="vectorized", progress_bar=False)
    mcmc.run(keys, (X, Y))
    draws = mcmc.get_samples(group_by_chain=True)
    tree = sample(sampler)
    for name in LOSS.names:
        np.testing.assert_allclose(draws[name], values(tree, name), rtol=1e-4, atol=1e-6)
    with pytest.raises(sgdvi.InputError, match="the data of a loss must be one argument"):
        mcmc.run(keys, X, Y)


def test_settings_are_those_of_any_run(sampler: sgdvi.SGD) -> None:
    config = json.loads(sample(sampler)["posterior"].attrs["config_json"])
    assert config["num_data"] == N
    assert config["noise_scale"] == pytest.approx(0.02 / 3)


def test_symmetries_and_noise_of_a_loss() -> None:
    loss = sgdvi.Loss(lambda p, b: (p["u"] * p["w"] * b[0] - b[1]) ** 2, {"u": 1.0, "w": 2.0}, weight_decay=0.1)
    found = sgdvi.find_symmetries(loss, None, (X, Y), key=KEY)
    assert len(found) == 1
    assert found[0].weight_decay == pytest.approx(0.1)
    noise = sgdvi.gradient_noise(loss, None, (X, Y))
    assert noise.variance[0] == pytest.approx(np.var(2 * (2 * X - Y) * X * 2))


def mean(params: Any, batch: Any) -> Any:
    return product(params, batch).mean()


def mean_of_every_row(params: Any, batch: Any) -> Any:
    return jnp.broadcast_to(mean(params, batch), batch[0].shape)


def two_outputs(params: Any, batch: Any) -> Any:
    return jnp.stack([product(params, batch)] * 2, axis=1)


def with_extras(params: Any, batch: Any) -> Any:
    return product(params, batch), {}


def normalised(params: Any, batch: Any) -> Any:
    x, y = batch
    return product(params, (x / (0.1 + jnp.std(x)), y))


def not_finite(params: Any, batch: Any) -> Any:
    x, _ = batch
    return jnp.where(x == x.dtype.type(X[7]), jnp.nan, product(params, batch))


def kinked(params: Any, batch: Any) -> Any:
    return product(params, batch) + jnp.sqrt(jnp.abs(params["w"]["in"][0] - jnp.float32(-0.3)))


def whole(params: Any, batch: Any) -> Any:
    return jnp.zeros(len(batch[0]), int)


def of_other_data(params: Any, batch: Any) -> Any:
    return product(params, (batch["x"], batch["y"]))


@pytest.mark.parametrize(
    ("loss", "data", "text"),
    [
        (mean, (X, Y), r"one value per row, shape \(3,\) for 3 rows; got shape \(\). Return the losses of the rows"),
        (mean_of_every_row, (X, Y), "must not depend on the other rows of its batch"),
        (two_outputs, (X, Y), r"got shape \(3, 2\). Sum over the outputs of each row"),
        (with_extras, (X, Y), "must run on rows of the data|Return the losses alone"),
        (normalised, (X, Y), "must not depend on the other rows of its batch"),
        (not_finite, (X, Y), "must be finite at the start of every chain; got .*nan in row 7"),
        (kinked, (X, Y), "must be finite at the start of every chain; got .*of the gradient"),
        (whole, (X, Y), "loss must return floating values"),
        (of_other_data, (X, Y), "must run on rows of the data; got TypeError"),
        (product, (X, Y[:9]), r"same number of rows; got \[9, 30\]"),
        (product, (X, 1.0), "one row per sample; got a scalar"),
        (product, (), "data must have at least one array"),
        (product, (X[:0], Y[:0]), "at least one row"),
        (product, (X, np.array(["a"] * N)), "data must be numeric"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
@pytest.mark.parametrize("batch_size", [1, 3])
def test_losses_that_are_no_targets(loss: Callable[..., Any], data: Any, text: str, batch_size: int) -> None:
    if loss is mean_of_every_row and batch_size == 1:
        batch_size = 2  # the mean of one row is its loss
    with pytest.raises(sgdvi.InputError, match=text):
        sample(sgdvi.SGD(sgdvi.Loss(loss, START), learning_rate=0.01, batch_size=batch_size), data)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((3.0, START), r"loss must be a function loss\(params, batch\); got float"),
        ((product, {}), "params must have at least one array"),
        ((product, {"u": 1, "w": 1.0}), "every leaf of params must be floating; u is not; got int64"),
        ((product, {"u": np.zeros(0)}), "every leaf of params must have entries; u has none"),
        ((product, {"a.b": 1.0, "a": {"b": 1.0}}), "the leaves of params must have different names"),
        ((product, START, -1.0), "weight_decay must be a finite number of at least 0"),
    ],
)
def test_what_is_no_loss(arguments: tuple[Any, ...], text: str) -> None:
    with pytest.raises(sgdvi.InputError, match=text):
        sgdvi.Loss(*arguments)


@pytest.mark.slow
def test_a_problem_of_a_loss_is_run_and_what_needs_a_posterior_does_not_apply(tmp_path: Path) -> None:
    source = tmp_path / "mine.py"
    source.write_text(
        "import numpy as np, sgdvi\n"
        "x = np.linspace(-1, 2, 40)\n"
        "loss = sgdvi.Loss(lambda p, b: (p['u'] * p['w'] * b[0] - b[1]) ** 2, {'u': 1.0, 'w': 0.5})\n"
        "def problem():\n"
        "    return sgdvi.Problem('mine', loss, (x, x + np.sin(9 * x)), {'v': lambda ds: ds.u * ds.w})\n"
    )
    problem = sgdvi.zoo.load(source)
    assert "no posterior" in problem.no_posterior
    settings: dict[str, Any] = {"num_steps": 400, "num_chains": 2}
    result = sgdvi.run(problem, learning_rate=0.01, batch_size=4, **settings)
    assert result.verdict.status is sgdvi.Status.NOT_APPLICABLE
    assert "no posterior" in result.verdict.sentence
    statuses = {finding.check: finding.status for finding in result.findings}
    assert statuses["distance.w1"] is statuses["kl.parameters"] is sgdvi.Status.NOT_APPLICABLE
    result.save(tmp_path / "report")
    with pytest.raises(sgdvi.InputError, match="learning_rate must be a number; got None. Give a learning rate"):
        sgdvi.run(problem, **settings)
    for reference in (nuts, pathfinder, variational):
        with pytest.raises(sgdvi.InputError, match="must have a posterior; got 'mine'"):
            reference(problem, key=KEY)
    source.write_text(source.read_text().replace("** 2, {", "** 2 + b[2], {"))
    with pytest.raises(sgdvi.InputError, match="must run on rows of the data"):
        sgdvi.zoo.load(source)

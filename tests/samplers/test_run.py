"""The driver: what it computes, that nothing but the key decides it, what it refuses."""

import functools
import json
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import optax
import pytest

import sgdvi
from sgdvi._internal.batches import Batching
from sgdvi.samplers.algorithms.sgd import batch_indices, chain_seed
from sgdvi.samplers.driver import devices, recorder, run

N = 30
RNG = np.random.default_rng(2)
X = RNG.normal(size=N)
Y = 0.5 * X + RNG.normal(size=N)
NETWORK = sgdvi.LinearNetwork(X, Y, depth=1, noise_sd=1.0, prior_sd=2.0)
MODEL = NETWORK.model
START = {"u": 0.9, "w": -0.3}


@pytest.fixture(scope="module")
def kernel() -> sgdvi.SGD:
    return sgdvi.SGD(MODEL, learning_rate=0.05, batch_size=2)


def sample(sampler: Any, **options: Any) -> Any:
    settings = {"key": jax.random.key(5), "num_steps": 60, "num_chains": 2, "init": START, "progress": False}
    return sgdvi.sample(sampler, (X, Y), **(settings | options))


def values(tree: Any, site: str = "u") -> np.ndarray:
    return tree["posterior"][site].values


def rows_of(chain: int, steps: int, batch_size: int = 2, batching: Batching = Batching.REPLACEMENT) -> np.ndarray:
    seed = chain_seed(jax.random.fold_in(jax.random.key(5), chain))
    return np.asarray(batch_indices(seed, jnp.arange(steps), N, batch_size, batching))


def test_depth_one_obeys_the_exact_identity_at_every_step(x64: None, kernel: sgdvi.SGD) -> None:
    tree = sample(kernel)
    eta, gamma = NETWORK.flow_learning_rate(0.05), NETWORK.weight_decay
    for chain in range(2):
        u, w = values(tree)[chain], values(tree, "w")[chain]
        assert u.dtype == np.float64
        before_u, before_w = np.append(START["u"], u[:-1]), np.append(START["w"], w[:-1])
        rows = rows_of(chain, 60)
        xi = np.mean(2 * (before_u[:, None] * before_w[:, None] * X[rows] - Y[rows]) * X[rows], axis=1)
        np.testing.assert_allclose(u + w, (before_u + before_w) * (1 - 2 * eta * gamma - eta * xi), atol=1e-13)
        np.testing.assert_allclose(u - w, (before_u - before_w) * (1 - 2 * eta * gamma + eta * xi), atol=1e-13)


def test_loss_is_the_minibatch_loss_before_the_step(x64: None, kernel: sgdvi.SGD) -> None:
    tree = sample(kernel)
    u, w = values(tree)[0], values(tree, "w")[0]
    rows = rows_of(0, 60)[7]
    fit = np.mean((u[6] * w[6] * X[rows] - Y[rows]) ** 2) / 2 + np.log(2 * np.pi) / 2
    prior = (u[6] ** 2 + w[6] ** 2) / 8 + np.log(2 * np.pi * 4)
    assert tree["sample_stats"]["loss"].values[0, 7] == pytest.approx(fit + prior / N, rel=1e-12)


def test_momentum_keeps_its_state(x64: None) -> None:
    tree = sample(sgdvi.SGD(MODEL, optax.sgd(0.02, momentum=0.8), batch_size=2), num_chains=1)
    u, w, mu, mw = START["u"], START["w"], 0.0, 0.0
    for step, rows in enumerate(rows_of(0, 60)):
        slope = np.mean((u * w * X[rows] - Y[rows]) * X[rows])
        mu, mw = 0.8 * mu + slope * w + u / 4 / N, 0.8 * mw + slope * u + w / 4 / N
        u, w = u - 0.02 * mu, w - 0.02 * mw
        assert values(tree)[0, step] == pytest.approx(u, rel=1e-11)
    config = json.loads(tree["posterior"].attrs["config_json"])
    assert "far below 1 - mu" in config["rate_note"]
    assert (config["learning_rate"], config["momentum"], config["nesterov"]) == (pytest.approx(0.1), 0.8, False)


def test_adam_runs_and_has_no_temperature() -> None:
    tree = sample(sgdvi.SGD(MODEL, optax.adam(0.01), batch_size=2), num_steps=5)
    assert np.isfinite(values(tree)).all()
    config = json.loads(tree["posterior"].attrs["config_json"])
    assert config["learning_rate"] is None
    assert config["noise_scale"] is None


@pytest.mark.parametrize(
    "change",
    [
        {"num_chains": 40},
        {"num_steps": 90},
        {"progress": lambda done, total: None},
        {"init": {"u": [0.9, 0.9], "w": [-0.3, -0.3]}},
    ],
    ids=["chains", "steps", "progress", "init"],
)
def test_same_key_same_draws_whatever_else(kernel: sgdvi.SGD, change: dict[str, Any]) -> None:
    draws = values(sample(kernel))
    np.testing.assert_array_equal(values(sample(kernel, **change))[:2, :60], draws)


def test_thinning_and_warmup_choose_among_the_same_iterates(kernel: sgdvi.SGD) -> None:
    draws = values(sample(kernel))
    np.testing.assert_array_equal(values(sample(kernel, thinning=7)), draws[:, 6:56:7])
    np.testing.assert_array_equal(values(sample(kernel, num_warmup=11, num_steps=49)), draws[:, 11:])
    np.testing.assert_array_equal(values(sample(kernel, num_warmup=11, num_steps=40, thinning=5)), draws[:, 15:51:5])


@pytest.mark.parametrize("thinning", [1, 4])
def test_same_draws_in_any_chunks(kernel: sgdvi.SGD, monkeypatch: pytest.MonkeyPatch, thinning: int) -> None:
    whole = sample(kernel, thinning=thinning, num_warmup=10)
    monkeypatch.setattr(run, "_FIRST_STEPS", 3)
    # both times, so that no call grows, however fast the machine is
    monkeypatch.setattr(run, "_CALL_SECONDS", 1e-9)
    monkeypatch.setattr(run, "_LONGEST_SECONDS", 1e-9)
    monkeypatch.setattr(recorder, "BUFFER_BYTES", 100)
    monkeypatch.setattr(run, "_MOST_BLOCK", 5)
    calls: list[tuple[int, int]] = []
    parts = sample(kernel, thinning=thinning, num_warmup=10, progress=lambda *done: calls.append(done))
    assert len(calls) > 20
    assert calls[-1] == (70, 70)
    np.testing.assert_array_equal(values(parts), values(whole))
    np.testing.assert_array_equal(parts["sample_stats"]["loss"], whole["sample_stats"]["loss"])


def test_other_keys_and_chains_differ(kernel: sgdvi.SGD) -> None:
    draws = values(sample(kernel))
    assert not np.array_equal(draws[0], draws[1])
    assert not np.array_equal(values(sample(kernel, key=jax.random.key(6))), draws)
    raw = jax.random.PRNGKey(5)
    np.testing.assert_array_equal(values(sample(kernel, key=raw)), draws)


def test_all_rows_without_replacement_is_gradient_descent() -> None:
    tree = sample(sgdvi.SGD(MODEL, learning_rate=0.05, batch_size=N, batching="without-replacement"))
    np.testing.assert_allclose(values(tree)[0], values(tree)[1], rtol=1e-5)


def test_without_replacement_rows(x64: None) -> None:
    tree = sample(sgdvi.SGD(MODEL, learning_rate=0.05, batch_size=4, batching="without-replacement"), num_chains=1)
    eta, gamma, v = NETWORK.flow_learning_rate(0.05), NETWORK.weight_decay, START["u"] * START["w"]
    rows = rows_of(0, 1, 4, Batching.WITHOUT_REPLACEMENT)[0]
    xi = np.mean(2 * (v * X[rows] - Y[rows]) * X[rows])
    total = (START["u"] + START["w"]) * (1 - 2 * eta * gamma - eta * xi)
    assert float(values(tree)[0, 0] + values(tree, "w")[0, 0]) == pytest.approx(total, rel=1e-12)


def test_starts(kernel: sgdvi.SGD) -> None:
    drawn = sample(kernel, init=None, num_chains=40, num_steps=1)
    assert values(drawn).std() > 0.7
    assert np.abs(values(drawn)).max() < 2.6
    np.testing.assert_array_equal(values(sample(kernel, init=None, num_steps=1)), values(drawn)[:2])

    starts = {"balanced": {"u": 0.5, "w": 0.5}, "wrong side": {"u": 1.0, "w": -1.0}}
    named = sample(kernel, init=starts, num_chains=40, num_steps=1)
    assert list(named["posterior"]["start"].values) == ["balanced", "wrong side"] * 20
    assert named["posterior"]["start"].dims == ("chain",)
    np.testing.assert_array_equal(np.sign(values(named, "w")[:, 0]), [1, -1] * 20)


def test_starts_are_constrained_values() -> None:
    def model(x: Any) -> None:
        sd = numpyro.sample("sd", dist.HalfNormal(2))
        weights = numpyro.sample("weights", dist.Normal(jnp.zeros(3), 1).to_event(1))
        with numpyro.plate("data", len(x)):
            numpyro.sample("x", dist.Normal(weights.sum(), sd), obs=x)

    kernel = sgdvi.SGD(model, learning_rate=1e-6)
    options: dict[str, Any] = {"key": jax.random.key(0), "num_steps": 1, "num_chains": 3, "progress": False}
    weights = np.arange(9.0).reshape(3, 3) / 10
    tree = sgdvi.sample(kernel, X, init={"sd": 1.7, "weights": weights}, dims={"weights": ["feature"]}, **options)
    np.testing.assert_allclose(tree["posterior"]["sd"].values[:, 0], 1.7, rtol=1e-4)
    np.testing.assert_allclose(tree["posterior"]["weights"].values[:, 0], weights, atol=1e-3)
    assert tree["posterior"]["weights"].dims == ("chain", "draw", "feature")
    with pytest.raises(sgdvi.InputError, match="'sd' must lie in the support"):
        sgdvi.sample(kernel, X, init={"sd": -1.0, "weights": weights}, **options)
    with pytest.raises(sgdvi.InputError, match=r"'weights' must have shape \(3,\) or \(3, 3\); got \(2,\)"):
        sgdvi.sample(kernel, X, init={"sd": 1.0, "weights": np.zeros(2)}, **options)


@pytest.mark.parametrize("data", [[X, Y], {"x": X, "y": Y}], ids=["list", "dict"])
def test_forms_of_data(kernel: sgdvi.SGD, data: Any) -> None:
    tree = sgdvi.sample(kernel, data, key=jax.random.key(5), num_steps=60, num_chains=2, init=START, progress=False)
    np.testing.assert_array_equal(values(tree), values(sample(kernel)))


def test_new_rows_with_the_same_kernel(kernel: sgdvi.SGD) -> None:
    first = values(sample(kernel))
    other = sgdvi.sample(kernel, (X, -Y), key=jax.random.key(5), num_steps=60, num_chains=2, init=START, progress=False)
    assert not np.array_equal(values(other), first)
    np.testing.assert_array_equal(values(sample(kernel)), first)


@pytest.mark.parametrize("alone", [False, True], ids=["together", "alone"])
def test_overflow_is_recorded_and_not_hidden(monkeypatch: pytest.MonkeyPatch, alone: bool) -> None:
    monkeypatch.setattr(devices, "_ALONE_BYTES", 0 if alone else 1 << 30)
    kernel = sgdvi.SGD(MODEL, learning_rate=0.2, batch_size=2)
    starts = {"far": {"u": 60.0, "w": 60.0}, "near": {"u": 0.5, "w": 0.5}}
    tree = sample(kernel, init=starts, num_chains=4)
    status = tree["chain_status"]
    assert list(status["status"].values) == ["overflowed", "ok", "overflowed", "ok"]
    assert list(status["step"].values[1::2]) == [-1, -1]
    for chain in (0, 2):
        step = int(status["step"].values[chain])
        assert 2 <= step < 30
        finite = np.isfinite(values(tree)[chain]) & np.isfinite(values(tree, "w")[chain])
        np.testing.assert_array_equal(finite, np.arange(1, 61) < step)
        assert np.isnan(values(tree)[chain, step - 1 :]).all()
    assert np.isfinite(values(tree)[1::2]).all()
    # draws and what is said of their steps are those of all iterates, at any thinning
    thinned = sample(kernel, init=starts, num_chains=4, thinning=7, num_warmup=1, num_steps=59)
    np.testing.assert_array_equal(values(thinned), values(tree)[:, 7:57:7])
    np.testing.assert_array_equal(thinned["sample_stats"]["loss"], tree["sample_stats"]["loss"][:, 7:57:7])
    assert np.isfinite(tree["sample_stats"]["loss"].values[1::2]).all()
    assert len(np.unique(tree["sample_stats"]["loss"].values[1])) == 60


def test_collapse_is_recorded() -> None:
    x = np.tile([1.0, -1.0], 20)
    y = 0.1 * x + np.tile([1.0, 1.0, -1.0, -1.0], 10)
    network = sgdvi.LinearNetwork(x, y, depth=1, prior_sd=20.0)
    critical = network.critical_temperature

    @functools.cache
    def kernel_at(factor: float) -> sgdvi.SGD:
        return sgdvi.SGD(network.model, learning_rate=network.learning_rate(factor * critical, 1), batch_size=1)

    def status(factor: float, **options: Any) -> Any:
        settings = {"num_chains": 3, "num_steps": 30_000, "thinning": 5000, "num_warmup": 0, "progress": False}
        run = sgdvi.sample(kernel_at(factor), (x, y), key=jax.random.key(1), init=START, **(settings | options))
        return run["chain_status"]

    collapsed = status(2.0)
    assert list(collapsed["status"].values) == ["collapsed"] * 3
    steps = collapsed["step"].values
    assert (steps > 1000).all()
    assert (steps % 1024 == 0).all()
    # the step is a fact of the chain, not of the way it was run
    other = status(2.0, num_warmup=10_000, num_steps=20_000, thinning=20_000)
    np.testing.assert_array_equal(other["step"], steps)
    alive = status(0.3)
    assert list(alive["status"].values) == ["ok"] * 3
    assert (alive["step"].values == -1).all()


def test_a_chain_that_comes_to_rest_away_from_zero_has_collapsed_too() -> None:
    kernel = sgdvi.SGD(MODEL, learning_rate=1e-12, batch_size=2)  # steps below the rounding of float32
    status = sample(kernel, num_steps=5000, thinning=1000)["chain_status"]
    assert list(status["status"].values) == ["collapsed", "collapsed"]
    assert list(sample(kernel, num_steps=900)["chain_status"]["status"].values) == ["ok", "ok"]


def test_a_run_has_a_last_step(kernel: sgdvi.SGD) -> None:
    with pytest.raises(sgdvi.InputError, match="at most 2147483647 steps"):
        sample(kernel, num_steps=2**31)


def test_settings_are_stored(kernel: sgdvi.SGD) -> None:
    tree = sample(kernel, num_warmup=3, thinning=2)
    assert tree["posterior"].attrs["kind"] == "sgd"
    assert tree["posterior"].attrs["inference_library"] == "sgdvi"
    config = json.loads(tree["posterior"].attrs["config_json"])
    assert config.pop("seconds") > 0
    assert config == {
        "learning_rate": 0.05,
        "rate_note": "",
        "noise_scale": 0.025,
        "noise_note": "",
        "injected_noise": 0.0,
        "batch_size": 2,
        "batching": "replacement",
        "num_data": N,
        "num_steps": 60,
        "num_warmup": 3,
        "num_chains": 2,
        "thinning": 2,
    }


def test_draws_have_the_type_of_the_caller(kernel: sgdvi.SGD) -> None:
    assert values(sample(kernel)).dtype == np.float32
    with jax.enable_x64(True):
        assert values(sample(kernel)).dtype == np.float64
    assert not jax.config.jax_enable_x64


def test_interruption_passes_through(kernel: sgdvi.SGD) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample(kernel, progress=stop)
    assert np.isfinite(values(sample(kernel))).all()


def test_bar(kernel: sgdvi.SGD, capsys: pytest.CaptureFixture[str]) -> None:
    sample(kernel, progress=True)
    assert "60.0/60.0" in capsys.readouterr().err
    sample(kernel, progress=False)
    assert not capsys.readouterr().err


def test_bar_costs_under_two_percent(kernel: sgdvi.SGD, monkeypatch: pytest.MonkeyPatch) -> None:
    spent, update = [], run._reporter._report

    def clocked(*args: Any) -> None:
        start = time.process_time()
        update(*args)
        spent.append(time.process_time() - start)

    monkeypatch.setattr(run._reporter, "_report", clocked)
    sample(kernel)
    spent.clear()
    start = time.process_time()
    sample(kernel, num_steps=3_000_000, thinning=50_000, progress=True)
    assert len(spent) > 2
    assert sum(spent) < 0.02 * (time.process_time() - start)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"num_steps": 0}, "num_steps must be a whole number of at least 1"),
        ({"num_warmup": -1}, "num_warmup must be"),
        ({"num_chains": 0}, "num_chains must be"),
        ({"thinning": 61}, "num_steps must be at least thinning"),
        ({"key": 0}, "key must be one JAX key"),
        ({"key": jnp.zeros((3, 2), jnp.uint32)}, "key must be one JAX key"),
        ({"init": {"u": 1.0}}, r"init must be a dict with the sites \['u', 'w'\]; got \['u'\]"),
        ({"init": {"u": 1.0, "w": np.nan}}, "'w' must be finite"),
        ({"init": {"u": 1.0, "w": [1.0, 2.0, 3.0]}}, r"'w' must have shape \(\) or \(2,\); got \(3,\)"),
        ({"init": 3.0}, "init must be a dict"),
        ({"init": {}}, "init must be a dict"),
        ({"init": {"far": {"u": 1e30, "w": 1e30}}}, "loss and gradient must be finite at the start of every chain"),
        ({"init": {"a": {"u": 1.0}}}, "start 'a' must be a dict with the sites"),
        ({"init": {"u": "a", "w": 1.0}}, "init: 'u' must be an array of numbers; got could not convert"),
        ({"init": {"u": [[1.0], [1.0, 2.0]], "w": 1.0}}, "init: 'u' must be an array of numbers"),
        ({"dims": {"u": ["unit"]}}, "dims of 'u' must name its 0 axes"),
        ({"dims": {"beta": ["unit"]}}, r"dims must name sites or functionals, \['u', 'w'\]; got \['beta'\]"),
        ({"dims": "u"}, "dims must be a dict of the names of axes by site; got 'u'"),
        ({"functionals": [len]}, "functionals must be a dict of functions by name"),
        ({"functionals": {1: len}}, "functionals must be a dict of functions by name"),
        ({"functionals": {"v": "u * w"}}, "functionals must be a dict of functions by name"),
        ({"keep": "u"}, "keep must be a sequence of names; got 'u'"),
        ({"progress": "yes"}, "progress must be True, False or a function"),
    ],
)
def test_bad_settings(kernel: sgdvi.SGD, change: dict[str, Any], text: str) -> None:
    with pytest.raises(sgdvi.InputError, match=text):
        sample(kernel, **change)


def test_more_draws_than_memory_holds_are_refused_with_their_size(kernel: sgdvi.SGD) -> None:
    text = (
        r"the draws of a run must fit in memory, .* GB; got 5\.12e\+04 GB for 2000000000 draws of 1600 chains.*store="
    )
    with pytest.raises(sgdvi.InputError, match=text):
        sample(kernel, num_steps=2 * 10**9, num_chains=1600)


def test_bad_sampler_data_and_batch(kernel: sgdvi.SGD) -> None:
    with pytest.raises(sgdvi.InputError, match="sampler must be an sgdvi.SGD"):
        sample(MODEL)
    sample(kernel)
    words: dict[str, Any] = {"key": jax.random.key(5), "num_steps": 1, "progress": False}
    for x in (X.astype(object), np.full(N, "a")):
        with pytest.raises(sgdvi.InputError, match="data must be numeric; got dtype"):
            sgdvi.sample(kernel, (x, Y), **words)
    with pytest.raises(sgdvi.InputError, match="batch_size must be at most N = 30 with batching=.without-replacement."):
        sample(sgdvi.SGD(MODEL, learning_rate=0.1, batch_size=31, batching="without-replacement"))


def test_a_batch_beyond_n_with_replacement() -> None:
    assert np.isfinite(values(sample(sgdvi.SGD(MODEL, learning_rate=0.1, batch_size=50)))).all()


def test_params_of_flax_like_models_stay_fixed() -> None:
    def model(x: Any) -> None:
        shift = numpyro.param("shift", lambda key: jax.random.normal(key))
        a = numpyro.sample("a", dist.Normal(shift, 1))
        with numpyro.plate("data", len(x)):
            numpyro.sample("x", dist.Normal(a, 1), obs=x)

    kernel = sgdvi.SGD(model, learning_rate=0.01)
    fn: Callable[[], Any] = lambda: sgdvi.sample(kernel, X, key=jax.random.key(0), num_steps=3, progress=False)  # noqa: E731
    with pytest.warns(UserWarning, match="numpyro.param sites shift stand still"):
        tree = fn()
    assert list(tree["posterior"].data_vars) == ["a"]
    np.testing.assert_array_equal(tree["posterior"]["a"], fn()["posterior"]["a"])


def test_calls_with_a_cost_of_their_own_get_longer_not_shorter() -> None:
    """Predictions of a large network on the fly: half a second a call, 10 ms a step."""
    pace, taken = run.Pace(), []
    for _ in range(30):
        taken.append(pace.steps)
        pace.took(pace.steps, 0.5 + 0.01 * pace.steps)
    assert taken[10:] == pytest.approx([150] * 20, abs=2)  # 2 s, no longer
    cheap = run.Pace()
    for _ in range(30):
        cheap.took(cheap.steps, 1e-5 * cheap.steps)
    assert cheap.steps == pytest.approx(25_000, rel=0.01)  # a quarter of a second

"""SGD inside numpyro.infer.MCMC: every chain method, extra fields, thinning, continuation."""

import os
import pickle
import subprocess
import sys
from typing import Any

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import optax
import pytest
import simuk
from numpyro.infer import MCMC, Predictive

import sgdvi

RNG = np.random.default_rng(2)
X = RNG.normal(size=30)
Y = 0.5 * X + RNG.normal(size=30)
MODEL = sgdvi.LinearNetwork(X, Y, depth=1, noise_sd=1.0, prior_sd=2.0).model


@pytest.fixture(scope="module")
def kernel() -> sgdvi.SGD:
    return sgdvi.SGD(MODEL, learning_rate=0.05, batch_size=2)


def mcmc(kernel: sgdvi.SGD, **options: Any) -> MCMC:
    return MCMC(kernel, **({"num_warmup": 5, "num_samples": 20, "progress_bar": False} | options))


@pytest.mark.parametrize(
    ("method", "chains"), [pytest.param("sequential", 2, marks=pytest.mark.slow), ("vectorized", 2)]
)
def test_draws_are_those_of_the_driver(kernel: sgdvi.SGD, method: str, chains: int) -> None:
    key = jax.random.key(5)
    keys = jax.vmap(lambda chain: jax.random.fold_in(key, chain))(jnp.arange(chains))
    run = mcmc(kernel, chain_method=method, num_chains=chains, thinning=2)
    run.run(keys, X, Y, extra_fields=("loss", "overflow"))
    tree = sgdvi.sample(
        kernel, (X, Y), key=key, num_steps=20, num_warmup=5, num_chains=chains, thinning=2, progress=False
    )
    for site, draws in run.get_samples(group_by_chain=True).items():
        np.testing.assert_allclose(draws, tree["posterior"][site], rtol=1e-4, atol=1e-6)
    fields = run.get_extra_fields(group_by_chain=True)
    np.testing.assert_allclose(fields["loss"], tree["sample_stats"]["loss"], rtol=1e-4)
    assert (fields["overflow"] == -1).all()


def test_one_key_is_split_for_the_chains(kernel: sgdvi.SGD) -> None:
    run = mcmc(kernel, chain_method="vectorized", num_chains=2)
    run.run(jax.random.key(0), X, Y)
    draws = run.get_samples(group_by_chain=True)["u"]
    assert draws.shape == (2, 20)
    assert len(np.unique(draws)) == 40


def test_init_params_are_unconstrained(kernel: sgdvi.SGD) -> None:
    run = mcmc(kernel, num_warmup=0, num_samples=1, chain_method="vectorized", num_chains=2)
    run.run(jax.random.key(0), X, Y, init_params={"u": jnp.array([1.0, 5.0]), "w": jnp.zeros(2)})
    np.testing.assert_allclose(run.get_samples()["u"], [1.0, 5.0], rtol=0.01)
    with pytest.raises(sgdvi.InputError, match="init_params must be a dict with the sites"):
        mcmc(kernel).run(jax.random.key(0), X, Y, init_params={"u": jnp.array(1.0)})


def test_a_run_goes_on_from_its_state(kernel: sgdvi.SGD) -> None:
    whole, parts = mcmc(kernel, num_warmup=0, num_samples=40), mcmc(kernel, num_warmup=0)
    whole.run(jax.random.key(0), X, Y)
    parts.run(jax.random.key(0), X, Y)
    first = parts.get_samples()["u"]
    assert int(parts.last_state.step) == 20
    parts.post_warmup_state = parts.last_state
    parts.run(parts.post_warmup_state.rng_key, X, Y)
    both = np.concatenate([first, parts.get_samples()["u"]])
    np.testing.assert_allclose(both, whole.get_samples()["u"], rtol=1e-4, atol=1e-6)


def test_what_numpyro_and_arviz_do_with_a_run(kernel: sgdvi.SGD) -> None:
    run = mcmc(kernel, num_samples=30, num_chains=2, chain_method="vectorized")
    run.run(jax.random.key(0), X, Y, extra_fields=("loss", "step"))
    assert run.last_state.z["u"].shape == (2,)
    np.testing.assert_array_equal(run.last_state.step, [35, 35])
    np.testing.assert_array_equal(run.get_extra_fields(group_by_chain=True)["step"], [range(6, 36)] * 2)
    grouped, flat = run.get_samples(group_by_chain=True)["u"], run.get_samples()["u"]
    np.testing.assert_array_equal(grouped.reshape(-1), flat)

    tree = az.from_numpyro(run, log_likelihood=True)
    np.testing.assert_array_equal(tree["posterior"]["u"], grouped)
    assert tree["log_likelihood"]["y"].shape == (2, 30, len(X))
    np.testing.assert_allclose(tree["observed_data"]["y"], Y, rtol=1e-6)
    pickled = pickle.loads(pickle.dumps(run))
    np.testing.assert_array_equal(pickled.get_samples()["u"], flat)
    np.testing.assert_array_equal(pickled.last_state.step, [35, 35])
    np.testing.assert_array_equal(az.from_numpyro(pickled)["posterior"]["u"], grouped)
    assert pickled.sampler.batch_size == 2
    with pytest.raises(sgdvi.InputError, match="must have its algorithm to run; got one from a pickle"):
        pickled.run(jax.random.key(0), X, Y)
    # the one here goes on
    jax.jit(lambda state: kernel.sample(state, (X, Y), {}))(jax.tree.map(lambda leaf: leaf[0], run.last_state))

    predicted = Predictive(pickled.sampler.model, pickled.get_samples())(jax.random.key(1), X)["y"]
    assert predicted.shape == (60, len(X))
    assert bool(jnp.isfinite(predicted).all())


def test_chains_go_on_after_a_warmup(kernel: sgdvi.SGD) -> None:
    whole = mcmc(kernel, num_chains=2, chain_method="vectorized")
    whole.run(jax.random.key(0), X, Y)
    parts = mcmc(kernel, num_chains=2, chain_method="vectorized")
    parts.warmup(jax.random.key(0), X, Y)
    np.testing.assert_array_equal(parts.post_warmup_state.step, [5, 5])
    parts.run(jax.random.key(0), X, Y)  # numpyro gives the chains the keys of this call
    np.testing.assert_allclose(parts.get_samples()["u"], whole.get_samples()["u"], rtol=1e-4, atol=1e-6)


def test_progress_bar_and_jitted_arguments(kernel: sgdvi.SGD, capsys: pytest.CaptureFixture[str]) -> None:
    run = mcmc(kernel, progress_bar=True, jit_model_args=True, num_samples=5)
    run.progress_bar = True  # numpyro turns it off where CI is set
    run.run(jax.random.key(0), X, Y)
    assert "minibatch loss" in capsys.readouterr().err
    run.print_summary()
    assert "u" in capsys.readouterr().out


def regression(x: Any, y: Any = None) -> None:
    a, scale = numpyro.sample("a", dist.Normal(0, 1)), numpyro.sample("scale", dist.HalfNormal(1.0))
    numpyro.deterministic("double", 2 * a)
    with numpyro.plate("data", len(x)):
        numpyro.sample("y", dist.Normal(a * x, scale), obs=y)


def test_sites_in_other_coordinates_and_left_out() -> None:
    run = mcmc(sgdvi.SGD(regression, optax.sgd(0.01, momentum=0.5), batch_size=2))
    run.run(jax.random.key(0), X, Y, extra_fields=("z.scale", "~z.double", "state.opt_state"))
    assert set(run.get_samples()) == {"a", "scale"}
    fields = run.get_extra_fields(group_by_chain=True)
    np.testing.assert_allclose(run.get_samples(group_by_chain=True)["scale"], np.exp(fields["z.scale"]), rtol=1e-6)
    (momentum,) = [leaf for path, leaf in jax.tree.leaves_with_path(fields["state.opt_state"]) if "'a'" in str(path)]
    np.testing.assert_allclose(np.diff(run.get_samples()["a"]), -0.01 * momentum[0, 1:], rtol=1e-3, atol=1e-6)


@pytest.mark.slow
def test_a_run_inside_jit() -> None:
    @jax.jit
    def draws(key: jax.Array, x: Any, y: Any, rate: Any) -> Any:
        run = mcmc(sgdvi.SGD(MODEL, optax.sgd(rate), batch_size=2), num_chains=2, chain_method="vectorized")
        run.run(key, x, y)
        return run.get_samples()

    for key, rate in ((0, 0.05), (1, 0.02)):
        run = mcmc(sgdvi.SGD(MODEL, learning_rate=rate, batch_size=2), num_chains=2, chain_method="vectorized")
        run.run(jax.random.key(key), X, Y)
        for site, values in draws(jax.random.key(key), X, Y, rate).items():
            np.testing.assert_allclose(values, run.get_samples()[site], rtol=1e-4, atol=1e-6)


def test_a_kernel_goes_on_after_a_run_inside_jit() -> None:
    kernel = sgdvi.SGD(scaled, learning_rate=0.05, batch_size=2)

    @jax.jit
    def draws(x: Any, y: Any, scale: Any) -> Any:
        run = mcmc(kernel)
        run.run(jax.random.key(0), x, y, scale)
        return run.get_samples()["a"]

    run = mcmc(kernel)
    traced = draws(X, Y, 2.0)
    run.run(jax.random.key(0), X, Y, 2.0)
    np.testing.assert_allclose(traced, run.get_samples()["a"], rtol=1e-4, atol=1e-6)


def scaled(x: Any, y: Any = None, scale: Any = 1.0) -> None:
    a = numpyro.sample("a", dist.Normal(0, scale))
    with numpyro.plate("data", len(x)):
        numpyro.sample("y", dist.Normal(a * x, 1.0), obs=y)


@pytest.mark.slow
@pytest.mark.parametrize("jit", [False, True])
def test_other_data_and_other_sites_in_the_next_run(jit: bool) -> None:
    def model(x: Any = None, z: Any = None, y: Any = None) -> None:
        mean = 0.0 if x is None else numpyro.sample("a", dist.Normal(0, 5)) * x
        mean = mean if z is None else mean + numpyro.sample("b", dist.Normal(0, 5)) * z
        with numpyro.plate("data", len(y)):
            numpyro.sample("y", dist.Normal(mean, 1.0), obs=y)

    run = mcmc(sgdvi.SGD(model, learning_rate=0.1, batch_size=4), num_warmup=500, jit_model_args=jit)
    for data, expected in [
        ({"x": X, "y": 2 * X}, {"a": 2.0}),
        ({"x": X[:20], "y": -3 * X[:20]}, {"a": -3.0}),
        ({"z": X, "y": 2 * X}, {"b": 2.0}),
        ({"x": X, "z": X**2, "y": X - X**2}, {"a": 1.0, "b": -1.0}),
    ]:
        run.run(jax.random.key(0), **data)
        assert set(run.get_samples()) == set(expected)
        for site, value in expected.items():
            np.testing.assert_allclose(run.get_samples()[site][-5:], value, rtol=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(("chains", "method"), [(2, "sequential"), (2, "vectorized"), (1, "parallel")])
@pytest.mark.parametrize("bar", [False, True])
def test_compiled_beforehand(kernel: sgdvi.SGD, chains: int, method: str, bar: bool) -> None:
    run = mcmc(kernel, num_chains=chains, chain_method=method, progress_bar=bar)
    key = jax.random.key(0)
    run.run(key, X, Y)
    expected = run.get_samples()["u"]
    run._compile(key, X, Y)
    run.warmup(key, X, Y, collect_warmup=True)
    assert run.get_samples()["u"].shape == (chains * 5,)
    run.run(run.last_state.rng_key, X, Y)
    np.testing.assert_allclose(run.get_samples()["u"], expected, rtol=1e-4, atol=1e-6)
    alone = mcmc(kernel, progress_bar=bar)
    alone.run(key if chains == 1 else jax.random.split(key)[0], X, Y)
    np.testing.assert_allclose(expected[:20], alone.get_samples()["u"], rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("share", "calibrated"), [(1.0, True), (15.0, False)])
def test_simulation_based_calibration(share: float, calibrated: bool) -> None:
    """At Mandt's rate SGD on a line has the posterior; at 15 times that rate its draws lie too far apart."""
    x = np.random.default_rng(0).normal(size=100)
    rate = share * 4 / len(x) / np.mean(x**2)  # 2 S / (N C), where C = A
    sbc = simuk.SBC(
        sgdvi.SGD(scaled, learning_rate=rate, batch_size=2),
        num_simulations=20,
        seed=1,
        data_dir={"x": x, "y": np.zeros(100)},
        sample_kwargs={"num_warmup": 2000, "num_samples": 10_000, "thinning": 100},
        progress_bar=False,
    )
    sbc.run_simulations()
    ranks = np.asarray(sbc.simulations["prior_sbc"]["a"]).ravel()
    # 1/2 for uniform ranks, less where the truth lies in the middle of its draws
    outwards, error = np.mean(np.abs(2 * ranks / 100 - 1)), 1 / np.sqrt(12 * len(ranks))
    assert abs(outwards - 0.5) < 2 * error if calibrated else outwards < 0.5 - 4 * error


def test_bad_models_are_refused_here_too(kernel: sgdvi.SGD) -> None:
    with pytest.raises(sgdvi.InputError, match="must run on the data"):
        mcmc(kernel).run(jax.random.key(0), X, Y[:7])
    with pytest.raises(sgdvi.InputError, match="must be initialised"):
        sgdvi.SGD(MODEL, learning_rate=0.1).sample(None, (X, Y), {})  # type: ignore[arg-type]


PARALLEL = """
import jax, numpy as np, sgdvi
from numpyro.infer import MCMC
x = np.random.default_rng(0).normal(size=20)
model = sgdvi.LinearNetwork(x, x + 0.1 * x**2, depth=0, noise_sd=1.0).model
assert jax.local_device_count() == 2
kernel, runs = sgdvi.SGD(model, learning_rate=0.1), {}
for method in ("parallel", "vectorized"):
    run = runs[method] = MCMC(kernel, num_warmup=2, num_samples=4, num_chains=2, chain_method=method,
                              progress_bar=False)
    run.run(jax.random.key(0), x, x + 0.1 * x**2, extra_fields=("loss",), init_params={"u": np.array([0.0, 1.0])})
    run.post_warmup_state = run.last_state
    run.run(run.last_state.rng_key, x, x + 0.1 * x**2, extra_fields=("loss",))
for get in ("get_samples", "get_extra_fields"):
    one, other = (getattr(run, get)(group_by_chain=True) for run in runs.values())
    for name, draws in one.items():
        assert draws.shape == (2, 4) and len(np.unique(draws)) == 8
        np.testing.assert_allclose(draws, other[name], rtol=1e-5)
np.testing.assert_array_equal(runs["parallel"].last_state.step, [10, 10])
"""


@pytest.mark.slow
def test_parallel_chains_on_two_devices() -> None:
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", PARALLEL], env=environment, check=True, timeout=120)

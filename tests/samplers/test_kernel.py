"""SGD inside numpyro.infer.MCMC: every chain method, extra fields, thinning, continuation."""

import os
import subprocess
import sys
from typing import Any

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import pytest
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


@pytest.mark.parametrize(("method", "chains"), [("sequential", 1), ("sequential", 2), ("vectorized", 2)])
def test_draws_are_those_of_the_driver(kernel: sgdvi.SGD, method: str, chains: int) -> None:
    key = jax.random.key(5)
    keys = jax.vmap(lambda chain: jax.random.fold_in(key, chain))(jnp.arange(chains))
    run = mcmc(kernel, chain_method=method, num_chains=chains, thinning=2)
    run.run(keys[0] if chains == 1 else keys, X, Y, extra_fields=("loss", "overflow"))
    tree = sgdvi.sample(
        kernel, (X, Y), key=key, num_steps=20, num_warmup=5, num_chains=chains, thinning=2, progress=False
    )
    for site, draws in run.get_samples(group_by_chain=True).items():
        np.testing.assert_allclose(draws, tree["posterior"][site], rtol=1e-4, atol=1e-6)
    fields = run.get_extra_fields(group_by_chain=True)
    np.testing.assert_allclose(fields["loss"], tree["sample_stats"]["loss"], rtol=1e-4)
    assert (fields["overflow"] == -1).all()


def test_one_key_is_split_for_the_chains(kernel: sgdvi.SGD) -> None:
    run = mcmc(kernel, chain_method="vectorized", num_chains=3)
    run.run(jax.random.key(0), X, Y)
    draws = run.get_samples(group_by_chain=True)["u"]
    assert draws.shape == (3, 20)
    assert len(np.unique(draws)) == 60


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
    predicted = Predictive(MODEL, run.get_samples())(jax.random.key(1), X)["y"]
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
run = MCMC(sgdvi.SGD(model, learning_rate=0.1), num_warmup=2, num_samples=4, num_chains=2,
           chain_method="parallel", progress_bar=False)
run.run(jax.random.key(0), x, x + 0.1 * x**2)
draws = run.get_samples(group_by_chain=True)["u"]
assert draws.shape == (2, 4) and np.isfinite(draws).all() and len(np.unique(draws)) == 8
"""


def test_parallel_chains_on_two_devices() -> None:
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", PARALLEL], env=environment, check=True, timeout=120)

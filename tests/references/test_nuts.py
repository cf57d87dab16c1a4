"""NUTS in the background of a person's time: the same draws as NumPyro's, kept on Ctrl-C, with a word on how long."""

from typing import Any

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer import MCMC, NUTS

from sgdvi import Problem
from sgdvi.draws import config
from sgdvi.samplers.references import _nuts, nuts

Y = np.random.default_rng(0).normal(1.0, 1.0, 30)


def model(y: Any = None) -> None:
    mu = numpyro.sample("mu", dist.Normal(0, 1))
    numpyro.deterministic("square", mu**2)
    with numpyro.plate("data", len(Y)):
        numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)


PROBLEM = Problem("mean", model, (Y,), {"mu": lambda d: d["mu"]})


def test_draws_are_those_of_numpyro(key: jax.Array, x64: None) -> None:
    tree = nuts(PROBLEM, key, num_warmup=40, num_samples=50, num_chains=2)  # chunks of 16 that do not fit
    kernel = NUTS(model, target_accept_prob=_nuts.TARGET_ACCEPTANCE)
    mcmc = MCMC(kernel, num_warmup=40, num_samples=50, num_chains=2, chain_method="vectorized", progress_bar=False)
    mcmc.run(key, *PROBLEM.arguments[0], extra_fields=("potential_energy",))
    # as one program or in pieces: rounding alone differs
    np.testing.assert_allclose(tree["posterior"]["mu"], mcmc.get_samples(group_by_chain=True)["mu"], rtol=1e-9)
    np.testing.assert_allclose(tree["posterior"]["square"], tree["posterior"]["mu"] ** 2, rtol=1e-12)
    potential = mcmc.get_extra_fields(group_by_chain=True)["potential_energy"]
    np.testing.assert_allclose(tree["sample_stats"]["lp"], -potential, rtol=1e-9)


def test_ctrl_c_keeps_the_draws(key: jax.Array, x64: None, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = _nuts._chunks

    def interrupted(after: int) -> Any:
        def steps(*args: Any) -> Any:
            for done, drawn in pieces(*args):
                if done > after:
                    raise KeyboardInterrupt
                yield done, drawn

        return steps

    monkeypatch.setattr(_nuts, "_chunks", interrupted(60))
    with pytest.raises(_nuts.Stopped) as stopped:
        nuts(PROBLEM, key, num_warmup=40, num_samples=100, num_chains=2)
    tree = stopped.value.tree
    assert tree["posterior"].sizes["draw"] == 16
    assert config(tree)["num_samples"] == 16
    monkeypatch.setattr(_nuts, "_chunks", interrupted(20))
    with pytest.raises(KeyboardInterrupt) as early:
        nuts(PROBLEM, key, num_warmup=40, num_samples=100, num_chains=2)
    assert not isinstance(early.value, _nuts.Stopped)


def test_a_long_run_is_told_what_takes_five_minutes() -> None:
    assert _nuts.suggestion(30.0, 300, 1000, 2000) == ""  # five minutes
    said = _nuts.suggestion(60.0, 300, 1000, 2000)  # ten
    assert "about 10 minutes for 2000 draws per chain" in said
    assert "--nuts-draws 1000 " in said
    assert "Ctrl-C keeps" in _nuts.suggestion(60.0, 3, 1000, 2000)


def test_the_speed_of_the_last_steps_counts() -> None:
    # forty seconds of compiling and of deep trees, then sixteen steps a second
    assert _nuts.at_last([(40.0 + k, 16 * (k + 1)) for k in range(5)], 3000) == pytest.approx(44 + 2920 / 16)
    assert _nuts.at_last([(40.0, 16)], 160) == pytest.approx(400)


def test_a_slow_run_says_so_once_and_shows_how_far_it_is(
    key: jax.Array, x64: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_nuts, "_FIRST_LOOK", -1.0)
    monkeypatch.setattr(_nuts, "PATIENCE", 0.0)
    said: list[str] = []
    nuts(PROBLEM, key, num_warmup=40, num_samples=60, num_chains=2, progress=True, say=said.append)
    assert len(said) == 1
    assert "for 60 draws per chain" in said[0]
    assert "100/100" in capsys.readouterr().err

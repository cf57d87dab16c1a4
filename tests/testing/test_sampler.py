"""The contract of samplers: what passes, and that each mistake is found and named."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import scipy.stats
from numpyro.infer import NUTS

import sgdvi
from sgdvi.testing import SAMPLER_CHECKS, ContractError, check_sampler

ROWS = np.random.default_rng(1).normal(size=22)
LOSS = sgdvi.Loss(lambda z, x: (z - x) ** 2 / 2, float(ROWS.mean()))
NOISE, RATE = 0.5, 0.3
# z' = (1 - eta) z + eta (mean of all rows) + s n is an autoregression: its law is Gaussian
LAW = scipy.stats.norm(ROWS.mean(), NOISE / np.sqrt(1 - (1 - RATE) ** 2))


class State(NamedTuple):
    z: Any


class Info(NamedTuple):
    loss: jax.Array


def init(z: Any) -> State:
    return State(z)


def langevin(fault: str = "") -> sgdvi.Sampler:
    made = np.random.default_rng().normal()

    def step(key: jax.Array, state: State, batch: sgdvi.Batch) -> tuple[State, Info]:
        loss, gradient = batch.value_and_grad(state.z)
        if fault == "chains":
            key = jax.random.key(3)
        noise = NOISE * (1.2 if fault == "law" else 1.0) * jax.random.normal(key)
        z = state.z - RATE * gradient + (0.1 * made if fault == "keys" else 0.0) + noise
        return State(jnp.where(jnp.isfinite(z), z, 0.0) if fault == "overflow" else z), Info(loss)

    return sgdvi.Sampler(LOSS, sgdvi.Algorithm(init, step), batch_size=None)


def only(name: str) -> set[str]:
    return set(SAMPLER_CHECKS) - {name}


def test_the_law_of_a_right_sampler_passes_and_its_overflow_is_seen() -> None:
    settings: dict[str, Any] = {"num_warmup": 20, "num_steps": 200, "reference": {"params": LAW}}
    report = check_sampler(langevin, ROWS, skip=set(SAMPLER_CHECKS) - {"law", "overflow"}, **settings)
    assert {check.name for check in report.passed} == {"law", "overflow"}


@pytest.mark.slow
def test_right_samplers_pass() -> None:
    settings: dict[str, Any] = {"num_warmup": 20, "num_steps": 200, "reference": {"params": LAW}}
    assert {check.name for check in check_sampler(langevin, ROWS, **settings).passed} == set(SAMPLER_CHECKS)
    sgd = check_sampler(lambda: sgdvi.SGD(LOSS, learning_rate=RATE, batch_size=4), ROWS, num_steps=200)
    assert [check.name for check in sgd.skipped] == ["law"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("law", "with probability .*, within .*; got"),
        ("keys", "the same key must give the same draws"),
        ("chains", "chains must differ; got the same draws of params"),
        ("overflow", "a step from parameters that are NaN must leave them so"),
    ],
)
def test_mistakes_are_found(fault: str, text: str) -> None:
    with pytest.raises(ContractError, match=text) as caught:
        check_sampler(
            lambda: langevin(fault), ROWS, num_warmup=20, num_steps=200, reference={"params": LAW}, skip=only(fault)
        )
    assert {check.name for check in caught.value.report.failed} == {fault}
    assert "user breaks the contract of a sampler in 1 check" in str(caught.value)


def test_bad_options() -> None:
    for changes, text in (
        ({"sampler": 3.0}, "sampler must be a sgdvi.Sampler, a kernel of numpyro.infer, or a function"),
        ({"sampler": lambda: 3.0}, "a function that makes 3.0"),
        ({"num_chains": 1}, "num_chains must be a whole number of at least 2"),
        ({"skip": ["everything"]}, "skip must name checks of shapes"),
    ):
        with pytest.raises(sgdvi.InputError, match=text):
            check_sampler(**{"sampler": langevin, "data": ROWS, **changes})


@pytest.mark.slow
def test_a_kernel_of_numpyro_passes() -> None:
    def model(y: Any) -> None:
        mean = numpyro.sample("mean", dist.Normal(0, 1))
        with numpyro.plate("data", len(y)):
            numpyro.sample("y", dist.Normal(mean, 1), obs=y)

    y = np.array([0.3, 1.2, -0.4])
    law = scipy.stats.norm(y.sum() / 4, 0.5)
    settings: dict[str, Any] = {"num_warmup": 100, "num_steps": 300, "num_chains": 8, "reference": {"mean": law}}
    report = check_sampler(lambda: NUTS(model), (y,), skip={"keys", "thinning"}, **settings)
    skipped = {check.name: check.message for check in report.skipped}
    assert skipped == {"keys": "as asked", "thinning": "as asked", "overflow": "numpyro keeps no status of chains"}

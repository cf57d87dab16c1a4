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
from numpyro.infer.mcmc import MCMCKernel

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


class WalkState(NamedTuple):
    z: Any
    count: jax.Array
    rng_key: jax.Array


class Walk(MCMCKernel):
    """A random walk as a kernel of NumPyro, with one of the mistakes that such kernels can have."""

    made = 0

    def __init__(self, fault: str) -> None:
        Walk.made += 1
        self.fault, self.number = fault, Walk.made

    sample_field = "z"

    @property
    def model(self) -> Any:
        return None

    def init(self, rng_key: Any, num_warmup: int, init_params: Any, model_args: Any, model_kwargs: Any) -> WalkState:
        shape = rng_key.shape if jnp.issubdtype(rng_key.dtype, jax.dtypes.prng_key) else rng_key.shape[:-1]
        z = jnp.zeros((1, *shape) if self.fault == "shapes" and shape else shape)
        return WalkState({"z": z}, jnp.zeros(shape, int), rng_key)

    def sample(self, state: WalkState, model_args: Any, model_kwargs: Any) -> WalkState:
        def one(z: Any, count: Any, key: Any) -> Any:
            move = jax.random.normal(jax.random.fold_in(key, count))
            z = z + move + (self.number if self.fault == "resume" else 0)
            return jnp.where((self.fault == "finite") & (count == 7), jnp.nan, z), count + 1

        each = jax.vmap(one) if state.count.ndim else one
        flat = state.z["z"].reshape(state.count.shape)
        z, count = each(flat, state.count, state.rng_key)
        if self.fault == "transformations" and not isinstance(z, jax.core.Tracer):
            z = z + 1
        return WalkState({"z": z.reshape(state.z["z"].shape)}, count, state.rng_key)


class Annealed(sgdvi.Sampler):
    """Steps that depend on how many of them are kept."""

    def check_run(self, num_data: int, num_steps: int, num_warmup: int, thinning: int) -> None:
        plain = langevin().algorithm

        def step(key: jax.Array, state: State, batch: sgdvi.Batch) -> Any:
            state, info = plain.step(key, state, batch)
            return State(state.z / thinning), info

        self._algorithm = sgdvi.Algorithm(init, step)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("shapes", r"z must have the axes \(chain, draw\) = \(3, 12\); got shape"),
        ("finite", "draws must be finite; got nan for z in chain 0, draw 7"),
        ("resume", "a resumed run must be that of an uninterrupted one; got .* Keep all memory in the state"),
        ("transformations", "a step under jit must return what a plain one does; got another state"),
        ("thinning", "thinning by k must keep every k-th draw; got .* instead of .* in chain 0, draw 0"),
    ],
    ids=lambda value: value if value.isalpha() else "",
)
def test_other_mistakes_are_found(fault: str, text: str) -> None:
    broken: Any = (lambda: Annealed(LOSS, langevin().algorithm, None)) if fault == "thinning" else lambda: Walk(fault)
    settings: dict[str, Any] = {"num_steps": 12, "num_chains": 3}
    with pytest.raises(ContractError, match=text) as caught:
        check_sampler(broken, ROWS, skip=only(fault), **settings)
    assert {check.name for check in caught.value.report.failed} == {fault}
    if fault != "thinning":
        check_sampler(lambda: Walk(""), ROWS, skip=only(fault), **settings)


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

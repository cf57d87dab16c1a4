"""Chains on several devices and in several processes: the draws are those of one device, bit by bit."""

import functools
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import optax
import pytest

import sgdvi
from sgdvi.samplers.driver import devices
from sgdvi.samplers.driver.devices import Plan

RNG = np.random.default_rng(2)
X = RNG.normal(size=(40, 3))
Y = X.sum(1) + RNG.normal(size=40)


def network(x: Any, y: Any = None) -> None:
    """Two layers: products of matrices, whose sums may depend on shapes."""
    first = numpyro.sample("first", dist.Normal(0, 1).expand([3, 16]).to_event(2))
    second = numpyro.sample("second", dist.Normal(0, 1).expand([16]).to_event(1))
    with numpyro.plate("data", len(x)):
        numpyro.sample("y", dist.Normal(jnp.tanh(x @ first) @ second, 1.0), obs=y)


@functools.cache
def kernel() -> sgdvi.SGD:
    """Momentum and random keys in the state; one object, so that a process compiles once."""
    optimizer = optax.chain(optax.add_noise(0.1, 0.5, jax.random.key(3)), optax.sgd(0.01, momentum=0.5))
    return sgdvi.SGD(network, optimizer, batch_size=8)


def sample(**options: Any) -> Any:
    settings: dict[str, Any] = {"num_steps": 300, "num_warmup": 50, "num_chains": 7, "thinning": 10, "progress": False}
    return sgdvi.sample(kernel(), (X, Y), key=jax.random.key(5), **(settings | options))


def arrays(tree: Any) -> dict[str, np.ndarray]:
    kept = {name: tree["posterior"][name].values for name in ("first", "second")}
    return kept | {"loss": tree["sample_stats"]["loss"].values, "step": tree["chain_status"]["step"].values}


def assert_same(one: Any, other: Any) -> None:
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


@pytest.mark.parametrize(
    ("chains", "groups", "size"), [(1, 1, 1), (7, 1, 7), (128, 1, 128), (129, 2, 65), (1000, 8, 125)]
)
def test_groups_on_one_device(chains: int, groups: int, size: int) -> None:
    plan = Plan.make(chains, jax.devices()[:1])
    assert (plan.groups, plan.group_size, plan.writes) == (groups, size, True)
    values = {"a": jnp.arange(chains), "key": jax.random.split(jax.random.key(0), chains)}
    spread = plan.spread(values)
    assert spread["a"].shape == (groups * size,)
    assert set(np.asarray(spread["a"])) == set(range(chains))
    back = plan.gather(spread)
    np.testing.assert_array_equal(back["a"], values["a"])
    np.testing.assert_array_equal(jax.random.key_data(back["key"]), jax.random.key_data(values["key"]))
    np.testing.assert_array_equal(plan.gather(spread["a"][None], axis=1)[0], values["a"])


@pytest.mark.slow
def test_chains_in_several_groups() -> None:
    few, many = arrays(sample()), arrays(sample(num_chains=150, thinning=50))
    np.testing.assert_array_equal(many["first"][:7], few["first"][:, 4::5])
    assert len(np.unique(many["second"][:, -1, 0])) == 150


@pytest.mark.slow
def test_chains_that_are_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    together = arrays(sample())
    monkeypatch.setattr(devices, "_ALONE_BYTES", 0)
    many, few = arrays(sample()), arrays(sample(num_chains=2))
    for name in many:
        np.testing.assert_allclose(many[name], together[name], rtol=1e-3, atol=1e-4)
        np.testing.assert_array_equal(few[name], many[name][:2])


def test_bad_devices() -> None:
    for bad in ([], 2, ["cpu"]):
        with pytest.raises(sgdvi.InputError, match="devices must be a sequence of JAX devices"):
            sample(devices=bad)


def test_the_default_device_is_respected() -> None:
    with jax.default_device(jax.devices()[0]):
        assert Plan.make(3).mesh.size == 1


def run(script: str, *arguments: Any, flags: str = "") -> subprocess.Popen[str]:
    flags = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    begin = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\nfrom test_devices import *\n"
    command = [sys.executable, "-c", begin + script, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        printed, _ = process.communicate(timeout=280)
        assert process.returncode == 0, printed


DEVICES = """
import tempfile
place = tempfile.mkdtemp() + "/a.zarr"
assert len(jax.devices()) == int(sys.argv[1])
whole = arrays(sample())
np.savez(sys.argv[2], **whole)
# a store begun on one device goes on on all of them
sample(store=place, num_steps=110, devices=jax.devices()[:1])
assert_same(arrays(sample(store=place, resume=True)), whole)
"""


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
def test_same_draws_on_any_number_of_devices(tmp_path: Path, count: int) -> None:
    finish(run(DEVICES, count, tmp_path / "a.npz", flags=f"--xla_force_host_platform_device_count={count}"))
    assert_same(arrays(sample()), np.load(tmp_path / "a.npz"))


PROCESSES = """
address, number, folder = sys.argv[1:]
jax.distributed.initialize(address, num_processes=2, process_id=int(number))
assert len(jax.devices()) == 2 and len(jax.local_devices()) == 1
reports = []
np.savez(f"{folder}/{number}.npz", **arrays(sample(progress=lambda done, total: reports.append(done))))
assert bool(reports) == (number == "0")
place = f"{folder}/a.zarr"
sample(store=place, num_steps=110)
np.savez(f"{folder}/stored-{number}.npz", **arrays(sample(store=place, resume=True)))
try:
    sample(store=place)
except sgdvi.InputError as error:
    assert ("must be a new name" if number == "0" else "the first process must open the store") in str(error)
else:
    raise AssertionError("an existing store was taken")
"""


@pytest.mark.slow
def test_same_draws_in_two_processes(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    finish(*(run(PROCESSES, address, number, tmp_path) for number in range(2)))
    expected = arrays(sample())
    for name in ("0", "1", "stored-0", "stored-1"):
        assert_same(expected, np.load(tmp_path / f"{name}.npz"))

"""Data that stay on the host: the draws of the run in memory, bit by bit, and no more memory than the rows in use."""

import re
import threading
from pathlib import Path
from typing import Any

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import optax
import pytest
import zarr

import sgdvi
from sgdvi.samplers.driver import feed
from sgdvi.samplers.targets.host import TRIAL_ROWS, HostArray, HostRows

N = 3000
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 2)).astype(np.float32)
Y = X.sum(1) + RNG.normal(size=N)
KEY = jax.random.key(1)


def model(x: Any, scale: Any, y: Any = None) -> None:
    w = numpyro.sample("w", dist.Normal(0, 1).expand([2]).to_event(1))
    with numpyro.plate("data", len(x)):
        numpyro.sample("y", dist.Normal(x @ w, scale[0]), obs=y)


def squares(params: Any, batch: Any) -> Any:
    return (batch["x"] @ params["w"] - batch["y"]) ** 2


SCALE = np.array([1.3, 0.0, 0.0])
LOSS = sgdvi.Loss(squares, {"w": np.zeros(2, np.float32)})


def mapped(path: Path, array: np.ndarray) -> np.memmap:
    made = np.memmap(path, array.dtype, "w+", shape=array.shape)
    made[:] = array
    made.flush()
    return np.memmap(path, array.dtype, "r", shape=array.shape)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, Any]]:
    folder = tmp_path_factory.mktemp("data")
    for name, array in (("x", X), ("y", Y)):
        zarr.create_array(folder / f"{name}.zarr", data=array, chunks=(257, *array.shape[1:]))
    zarrs = tuple(zarr.open_array(folder / f"{name}.zarr", mode="r") for name in ("x", "y"))
    maps = mapped(folder / "x", X), mapped(folder / "y", Y)
    return {"memory": (X, Y), "memmap": maps, "zarr": zarrs, "mixed": (maps[0], Y)}


def sample(sampler: sgdvi.SGD, data: Any, **options: Any) -> Any:
    settings = {"key": KEY, "num_steps": 300, "num_warmup": 11, "num_chains": 3, "thinning": 7, "progress": False}
    return sgdvi.sample(sampler, data, **(settings | options))


def same(one: Any, other: Any) -> None:
    for group in ("posterior", "sample_stats"):
        for name in one[group].data_vars:
            np.testing.assert_array_equal(one[group][name].values, other[group][name].values)


@pytest.mark.parametrize("batching", ["replacement", pytest.param("epochs", marks=pytest.mark.slow)])
def test_draws_are_those_of_a_run_in_memory(
    data: dict[str, Any], batching: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampler = sgdvi.SGD(LOSS, optax.sgd(0.01, momentum=0.5), batch_size=5, batching=batching)
    trees = {}
    for where, (x, y) in data.items():
        trees[where] = sample(sampler, {"x": x, "y": y})
        monkeypatch.setattr(feed, "_BLOCK_BYTES", 20_000)  # many blocks, which end where they like
    for where in ("memmap", "zarr", "mixed"):
        same(trees[where], trees["memory"])
    assert f'"num_data": {N}' in trees["zarr"]["posterior"].attrs["config_json"]


@pytest.mark.slow
def test_a_model_is_traced_on_some_rows_and_knows_them_all(data: dict[str, Any], x64: None) -> None:
    sampler = sgdvi.SGD(model, learning_rate=0.01, batch_size=5, batching="without-replacement")
    init = {"w": np.zeros(2)}
    memory, held = (sample(sampler, (x, SCALE, y), init=init) for x, y in (data["memory"], data["memmap"]))
    same(memory, held)
    assert held["posterior"]["w"].dtype == np.float64
    assert sampler.prepare(HostRows((((data["memmap"][0], SCALE, data["memmap"][1])), {})).trial, N).num_data == N
    # the same kernel on as many rows as it was tried on
    few = sample(sampler, (X[:TRIAL_ROWS], SCALE, Y[:TRIAL_ROWS]), init=init)
    assert f'"num_data": {TRIAL_ROWS}' in few["posterior"].attrs["config_json"]


def test_resume_on_the_same_file_and_no_other(data: dict[str, Any], tmp_path: Path) -> None:
    sampler = sgdvi.SGD(LOSS, learning_rate=0.01, batch_size=5)
    x, y = data["memmap"]
    whole, path = sample(sampler, {"x": x, "y": y}), tmp_path / "draws.zarr"
    sample(sampler, {"x": x, "y": y}, num_steps=100, store=path)
    same(sample(sampler, {"x": x, "y": y}, store=path, resume=True), whole)
    other = Y.copy()
    other[1234] += 1
    with pytest.raises(sgdvi.InputError, match="data"):
        sample(sampler, {"x": x, "y": mapped(tmp_path / "y", other)}, num_steps=400, store=path, resume=True)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_data(tmp_path: Path) -> None:
    """A hundred million rows of 400 MB, of which the file system holds those that were written."""
    rows = 100_000_000
    big = np.memmap(tmp_path / "big", np.float32, "w+", shape=(rows,))
    big[::10_000_000] = 1.0

    def anonymous() -> int:
        return int(re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text(encoding="ascii"))[1])  # type: ignore[index]

    before, peak, done = anonymous(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            peak[0] = max(peak[0], anonymous())

    thread = threading.Thread(target=watch)
    thread.start()
    sampler = sgdvi.SGD(sgdvi.Loss(lambda z, x: (z - x) ** 2, 1.0), learning_rate=0.1, batch_size=4)
    tree = sgdvi.sample(sampler, big, key=KEY, num_steps=200, progress=False)
    done.set()
    thread.join()
    assert peak[0] - before < 300_000
    assert f'"num_data": {rows}' in tree["posterior"].attrs["config_json"]


def test_rows_of_host_arrays(data: dict[str, Any]) -> None:
    numbers = np.array([[5, 2999, 5], [0, 1, 257]])
    for where in ("memmap", "zarr"):
        x, y = map(HostArray, data[where])
        np.testing.assert_array_equal(x.take(numbers), X[numbers])
        np.testing.assert_array_equal(y.take(numbers), Y.astype(np.float32)[numbers])
        np.testing.assert_array_equal(y[10:20], Y.astype(np.float32)[10:20])
        assert (x.shape, x.dtype, y.dtype, x.nbytes) == (X.shape, np.float32, np.float32, X.nbytes)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"batch_size": N}, "must be smaller than the data; got 3000 of 3000 rows"),
        ({"batching": "full"}, "must be smaller than the data; got all of 3000 rows"),
    ],
)
def test_all_rows_do_not_stay_on_the_host(data: dict[str, Any], change: dict[str, Any], text: str) -> None:
    x, y = data["memmap"]
    with pytest.raises(sgdvi.InputError, match=text):
        sample(sgdvi.SGD(LOSS, **({"learning_rate": 0.01, "batch_size": 5} | change)), {"x": x, "y": y})


def test_bad_arrays_on_the_host(data: dict[str, Any], tmp_path: Path) -> None:
    x, y = data["memmap"]
    sampler = sgdvi.SGD(model, learning_rate=0.01)
    with pytest.raises(sgdvi.InputError, match=r"on the host must have the same number of rows.*got \[7, 3000\]"):
        sample(sampler, (x, SCALE, y[:7]))
    with pytest.raises(sgdvi.InputError, match=r"same number of rows; got \[7, 3000\]"):
        sample(sgdvi.SGD(LOSS, learning_rate=0.01), {"x": x, "y": Y[:7]})
    with pytest.raises(sgdvi.InputError, match="must be over the rows of the arrays on the host; got a plate over 7"):
        sample(sampler, (X[:7], mapped(tmp_path / "scale", np.exp(Y)), Y[:7]))
    with pytest.raises(sgdvi.InputError, match="must be numeric; got dtype"):
        sample(sampler, (x, SCALE, mapped(tmp_path / "complex", Y * 1j)))

"""Draws on disk: the same as in memory, visible while the run goes on, safe against crashes, full disks, mistakes."""

import asyncio
import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import arviz as az
import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import optax
import pytest
import xarray as xr
from zarr.storage import LocalStore, MemoryStore, WrapperStore

import sgdvi
from sgdvi import draws as labelled
from sgdvi.samplers.driver import loop, recorder, run, store_recorder

N = 30
RNG = np.random.default_rng(2)
X = RNG.normal(size=N)
Y = 0.5 * X + RNG.normal(size=N)
MODEL = sgdvi.LinearNetwork(X, Y, depth=1, noise_sd=1.0, prior_sd=2.0).model
V = {"v": lambda ds: ds.u * ds["w"]}
DRAWS = 40


@pytest.fixture(scope="module")
def kernel() -> sgdvi.SGD:
    return sgdvi.SGD(MODEL, optax.sgd(0.05, momentum=0.5), batch_size=2)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    # about seven draws of two chains with u, w, v and the loss
    monkeypatch.setattr(recorder, "BUFFER_BYTES", 300)
    monkeypatch.setattr(store_recorder, "_COMMIT_SECONDS", 1e9)


def sample(kernel: sgdvi.SGD, data: Any = (X, Y), **options: Any) -> Any:
    settings: dict[str, Any] = {"num_steps": DRAWS, "num_warmup": 5, "num_chains": 2, "progress": False}
    settings |= {"key": jax.random.key(5), "functionals": V}
    return sgdvi.sample(kernel, data, **(settings | options))


def assert_same(one: Any, other: Any, draws: int | None = None) -> None:
    for group in ("posterior", "sample_stats"):
        assert set(one[group].data_vars) == set(other[group].data_vars)
        for name in one[group].data_vars:
            np.testing.assert_array_equal(one[group][name], other[group][name][:, :draws])
            assert one[group][name].dtype == other[group][name].dtype
            assert one[group][name].dims == other[group][name].dims


def test_a_store_changes_nothing(kernel: sgdvi.SGD, tmp_path: Path, small_chunks: None) -> None:
    starts = {"near": {"u": 0.5, "w": 0.5}, "far": {"u": 1.0, "w": -1.0}}
    memory = sample(kernel, init=starts)
    disk = sample(kernel, init=starts, store=tmp_path / "draws.zarr")
    assert_same(disk, memory)
    for group in ("posterior", "sample_stats", "chain_status"):
        assert list(disk[group].coords) == list(memory[group].coords)
        xr.testing.assert_equal(
            disk[group].to_dataset().coords.to_dataset(), memory[group].to_dataset().coords.to_dataset()
        )
    assert list(disk["chain_status"]["status"].values) == ["ok", "ok"]
    config = [json.loads(tree["posterior"].attrs["config_json"]) for tree in (memory, disk)]
    assert config[0].pop("seconds") > 0
    assert config[1].pop("seconds") > 0
    assert config[0] == config[1]
    assert_same(labelled.load(labelled.save({"run": disk}, tmp_path).parent)["run"], memory)
    assert float(az.rhat(az.from_zarr(tmp_path / "draws.zarr"))["v"]) > 0


@pytest.mark.parametrize("store", ["memory://sgdvi-test/draws.zarr", MemoryStore()], ids=["fsspec", "zarr"])
def test_other_stores(kernel: sgdvi.SGD, store: Any) -> None:
    assert_same(sample(kernel, store=store), sample(kernel))
    assert_same(sample(kernel, store=store, resume=True, num_steps=60), sample(kernel, num_steps=60))


def test_thinned_and_without_parameters(kernel: sgdvi.SGD, tmp_path: Path, small_chunks: None) -> None:
    every = sample(kernel)
    thinned = sample(kernel, thinning=3, keep=(), store=tmp_path / "a.zarr")
    assert list(thinned["posterior"].data_vars) == ["v"]
    np.testing.assert_array_equal(thinned["posterior"]["v"], every["posterior"]["v"][:, 2:39:3])
    np.testing.assert_array_equal(every["posterior"]["v"], every["posterior"]["u"] * every["posterior"]["w"])
    assert sorted(sample(kernel, keep=["w"])["posterior"].data_vars) == ["v", "w"]


def test_readers_see_complete_chunks_while_the_run_goes_on(
    kernel: sgdvi.SGD, tmp_path: Path, small_chunks: None
) -> None:
    whole, seen = sample(kernel), []

    def look(done: int, total: int) -> None:
        for tree in (az.from_zarr(tmp_path / "a.zarr"), xr.open_datatree(tmp_path / "a.zarr", engine="zarr")):
            assert_same(tree, whole, tree["posterior"].sizes["draw"])
        seen.append((done, tree["posterior"].sizes["draw"]))

    sample(kernel, store=tmp_path / "a.zarr", progress=look)
    counts = [draws for _, draws in seen]
    assert counts[0] == 0
    assert counts[-1] == DRAWS
    assert len(set(counts)) > 4
    assert all(draws >= done - 5 - 8 for done, draws in seen)


class Failing(WrapperStore[LocalStore]):
    """Lets the first `allowed` writes through."""

    error: Exception = RuntimeError("killed")
    allowed = 0
    writes = 0

    def count(self) -> None:
        self.writes += 1
        if self.writes > self.allowed:
            raise self.error

    async def set(self, key: str, value: Any) -> None:
        self.count()
        await super().set(key, value)

    async def set_if_not_exists(self, key: str, value: Any) -> None:
        self.count()
        await super().set_if_not_exists(key, value)

    def set_sync(self, key: str, value: Any) -> None:
        self.count()
        super().set_sync(key, value)


def failing(path: Path, allowed: int, error: Exception | None = None) -> Failing:
    store = Failing(LocalStore(path))
    store.allowed = allowed
    store.error = error or store.error
    return store


@pytest.mark.parametrize("many", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["some", "many"])
def test_a_crash_at_any_write_loses_one_chunk_at_most(
    kernel: sgdvi.SGD, tmp_path: Path, small_chunks: None, many: bool
) -> None:
    draws = 21  # three chunks
    whole = sample(kernel, num_steps=draws)
    counted = failing(tmp_path / "counted.zarr", 10**9)
    sample(kernel, num_steps=draws, store=counted)
    chunk = 21  # writes of one; those before are of the creation
    made = counted.writes - 3 * chunk
    assert made > 50
    kept = set()
    # at another place of every chunk, before and after each kind of write
    more = (0, made - 9, made + 1, made + chunk + 5) if many else ()
    for allowed in (30, made + 8, made + chunk + 12, counted.writes - 4, *more):
        path = tmp_path / f"{allowed}.zarr"
        with pytest.raises(RuntimeError, match="killed"):
            sample(kernel, num_steps=draws, store=failing(path, allowed))
        created = path.exists() and (path / "checkpoint").exists()
        if created and json.loads((path / "zarr.json").read_text()).get("consolidated_metadata"):
            tree = az.from_zarr(path)
            kept.add(tree["posterior"].sizes["draw"])
            assert_same(tree, whole, tree["posterior"].sizes["draw"])
        assert_same(sample(kernel, num_steps=draws, store=path, resume=True), whole)
    assert kept == {0, 7, 14}


def test_a_full_disk_is_told_and_leaves_the_draws(kernel: sgdvi.SGD, tmp_path: Path, small_chunks: None) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(
        OSError, match="must take what the run writes; got No space left on device.*Make room.*resume=True"
    ) as info:
        sample(kernel, store=failing(tmp_path / "a.zarr", 110, full))
    assert info.value.errno == errno.ENOSPC
    tree = az.from_zarr(tmp_path / "a.zarr")
    draws = tree["posterior"].sizes["draw"]
    assert 0 < draws < DRAWS
    assert f"the store shows {draws} draws" in str(info.value)
    assert_same(tree, sample(kernel), draws)
    assert_same(sample(kernel, store=tmp_path / "a.zarr", resume=True), sample(kernel))


class Waiting(WrapperStore[LocalStore]):
    """Writes no draws before `may_write` is set, and has no room for those of the second chunk if it is `small`."""

    def __init__(self, store: LocalStore) -> None:
        super().__init__(store)
        self.may_write, self.small = threading.Event(), False

    def wait(self, key: str) -> None:
        if key.startswith("posterior/u/c/"):
            assert self.may_write.wait(30)
            if self.small and key == "posterior/u/c/0/1":
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async def set(self, key: str, value: Any) -> None:
        await asyncio.to_thread(self.wait, key)
        await super().set(key, value)

    def set_sync(self, key: str, value: Any) -> None:
        self.wait(key)
        super().set_sync(key, value)


def test_a_chunk_is_written_while_the_next_steps_run(
    kernel: sgdvi.SGD, tmp_path: Path, small_chunks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, shown = Waiting(LocalStore(tmp_path / "a.zarr")), []

    def advance(*args: Any, **options: Any) -> Any:
        shown.append(draws_in(tmp_path / "a.zarr"))
        if len(shown) > 1:  # the steps after those of the first chunk
            store.may_write.set()
        return loop.advance(*args, **options)

    monkeypatch.setattr(run, "advance", advance)
    assert_same(sample(kernel, store=store), sample(kernel))
    assert shown[:2] == [0, 0]


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_disk_that_fills_while_the_next_steps_run_leaves_no_hole(
    kernel: sgdvi.SGD, tmp_path: Path, small_chunks: None, interrupted: bool
) -> None:
    store = Waiting(LocalStore(tmp_path / "a.zarr"))
    store.may_write.set()
    store.small = True

    def stop(done: int, total: int) -> None:
        if interrupted and done == 5 + 2 * 7:  # the second chunk is being written
            raise KeyboardInterrupt

    with pytest.raises(OSError, match="No space left on device .the store shows 7 draws"):
        sample(kernel, store=store, progress=stop)
    assert_same(az.from_zarr(tmp_path / "a.zarr"), sample(kernel), 7)
    assert_same(sample(kernel, store=tmp_path / "a.zarr", resume=True), sample(kernel))


KILLED = """
import sys
import jax
sys.path.insert(0, {tests!r})
jax.config.update("jax_compilation_cache_dir", {cache!r})
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
from test_store import *
store_recorder._COMMIT_SECONDS = 0.0
print("running", flush=True)
sample(sgdvi.SGD(MODEL, optax.sgd(0.05, momentum=0.5), batch_size=2), num_steps=10**9, thinning=1000,
       store={store!r}, resume=True)
"""


@pytest.mark.slow
def test_kill_9_at_random_moments(kernel: sgdvi.SGD, tmp_path: Path) -> None:
    script = KILLED.format(
        tests=str(Path(__file__).parent), cache=str(tmp_path / "cache"), store=str(tmp_path / "a.zarr")
    )
    reached = [0]
    for delay in np.random.default_rng().uniform(0.0, 0.5, size=2):
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        limit = time.monotonic() + 60
        while draws_in(tmp_path / "a.zarr") <= reached[-1] and time.monotonic() < limit:
            time.sleep(0.05)
        time.sleep(delay)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        reached.append(draws_in(tmp_path / "a.zarr"))
    assert 0 < reached[1] < reached[2]
    sample(kernel, num_steps=(reached[2] + 5) * 1000, thinning=1000, store=tmp_path / "a.zarr", resume=True)
    whole = sample(kernel, num_steps=(reached[2] + 5) * 1000, thinning=1000)
    assert_same(labelled.open_store(tmp_path / "a.zarr"), whole)


def draws_in(path: Path) -> int:
    root = path / "zarr.json"
    if not root.exists() or "consolidated_metadata" not in json.loads(root.read_text()):
        return 0
    return az.from_zarr(path)["posterior"].sizes["draw"]


def test_an_interrupted_run_keeps_all_it_made(kernel: sgdvi.SGD, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done >= 1000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample(kernel, num_steps=5000, store=tmp_path / "a.zarr", progress=stop)
    assert draws_in(tmp_path / "a.zarr") == 995
    done: list[int] = []
    resumed = sample(
        kernel, num_steps=5000, store=tmp_path / "a.zarr", resume=True, progress=lambda now, total: done.append(now)
    )
    assert done[0] == 1000
    assert_same(resumed, sample(kernel, num_steps=5000))


def test_the_state_of_any_optimizer_is_kept(tmp_path: Path) -> None:
    noisy = optax.chain(optax.add_noise(0.1, 0.5, jax.random.key(3)), optax.adam(0.01))
    kernel = sgdvi.SGD(MODEL, noisy, batch_size=2)
    sample(kernel, store=tmp_path / "a.zarr", num_steps=15)
    assert_same(sample(kernel, store=tmp_path / "a.zarr", resume=True), sample(kernel))


def test_a_sampler_of_another_version_does_not_go_on(
    kernel: sgdvi.SGD, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.zarr"
    sample(kernel, store=path, num_steps=15)
    assert draws_in(path) > 0
    monkeypatch.setattr(sgdvi.SGD, "version", 2)
    with pytest.raises(sgdvi.InputError, match=r"version of the sampler sgd that it began with; got 2 \(1"):
        sample(kernel, store=path, resume=True)
    averages = sgdvi.SWAG(sgdvi.SGHMC(MODEL, 1e-5, batch_size=2), burn_in=0, period=1, snapshots=2, rank=2)
    assert averages.versions == {"sghmc": sgdvi.SGHMC.version}


def test_what_must_not_change(kernel: sgdvi.SGD, tmp_path: Path) -> None:
    store = tmp_path / "a.zarr"
    sample(kernel, store=store)

    def other(x: Any, y: Any = None) -> None:
        u, w = numpyro.sample("u", dist.Normal(0, 2)), numpyro.sample("w", dist.Normal(0, 2.5))
        with numpyro.plate("data", len(x)):
            numpyro.sample("y", dist.Normal(u * w * x, 1.0), obs=y)

    with pytest.raises(sgdvi.InputError, match=r"must be a new name; got .* 40 draws\. Go on with it with resume=True"):
        sample(kernel, store=store)
    shifted = np.where(np.arange(N) == 7, Y + 1e-6, Y)
    refused: list[tuple[str, sgdvi.SGD, dict[str, Any]]] = [
        ("another data than", kernel, {"data": (X, shifted)}),
        ("another model than", sgdvi.SGD(other, kernel.optimizer, batch_size=2), {}),
        (
            "another learning rate: 0.102 .*\\(0.1 in",
            sgdvi.SGD(MODEL, optax.sgd(0.051, momentum=0.5), batch_size=2),
            {},
        ),
        ("the key that", kernel, {"key": jax.random.key(6)}),
        ("thinning that it began with; got 2 \\(1 in", kernel, {"thinning": 2}),
        ("num_warmup that", kernel, {"num_warmup": 6}),
        ("another start than", kernel, {"init": {"u": 1.0, "w": 1.0}}),
        ("another functionals than", kernel, {"functionals": {"v": lambda ds: ds.u * ds.w * 2}}),
        ("num_steps must be at least what the store holds, 40 draws", kernel, {"num_steps": 39}),
    ]
    for text, sampler, change in refused:
        with pytest.raises(sgdvi.InputError, match=text):
            sample(sampler, store=store, resume=True, **change)
    assert_same(sample(kernel, store=store, resume=True), sample(kernel))


@pytest.mark.slow
def test_what_else_must_not_change(kernel: sgdvi.SGD, tmp_path: Path) -> None:
    options: dict[str, Any] = {"store": tmp_path / "sgld.zarr"}
    sample(sgdvi.SGLD(MODEL, 0.01, batch_size=2), **options)
    with pytest.raises(sgdvi.InputError, match="another learning rate"):
        sample(sgdvi.SGLD(MODEL, 0.02, batch_size=2), resume=True, **options)
    store = tmp_path / "a.zarr"
    sample(kernel, store=store)
    refused: list[tuple[str, sgdvi.SGD, dict[str, Any]]] = [
        ("optimizer and algorithm that", sgdvi.SGD(MODEL, optax.adam(0.051), batch_size=2), {}),
        ("batch size that it began with; got 3", sgdvi.SGD(MODEL, kernel.optimizer, batch_size=3), {}),
        ("num_chains that it began with; got 3 ", kernel, {"num_chains": 3}),
    ]
    for text, sampler, change in refused:
        with pytest.raises(sgdvi.InputError, match=text):
            sample(sampler, store=store, resume=True, **change)


@pytest.mark.slow
def test_constants_that_a_model_closes_over_are_part_of_it(tmp_path: Path) -> None:
    def kernel(scales: Any) -> sgdvi.SGD:
        def model(x: Any, y: Any = None) -> None:
            u = numpyro.sample("u", dist.Normal(np.zeros(3), scales).to_event(1))
            with numpyro.plate("data", len(x)):
                numpyro.sample("y", dist.Normal(u.sum() * x, 1.0), obs=y)

        return sgdvi.SGD(model, learning_rate=0.01, batch_size=2)

    options: dict[str, Any] = {"functionals": None, "store": tmp_path / "a.zarr"}
    sample(kernel(np.array([1.0, 2.0, 3.0])), **options)
    # another function with the same program is the same model
    sample(kernel(np.array([1.0, 2.0, 3.0])), resume=True, num_steps=50, **options)
    with pytest.raises(sgdvi.InputError, match="another model than"):
        sample(kernel(np.array([1.0, 2.0, 3.1])), resume=True, num_steps=50, **options)


def test_bad_stores(kernel: sgdvi.SGD, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.tex").write_text("x")
    xr.Dataset({"a": 1}).to_zarr(tmp_path / "other.zarr", consolidated=False)
    for store, text in [
        (3, "must be a path, an fsspec URL or a Zarr store; got 3"),
        (tmp_path / "file", "got the file"),
        (tmp_path / "folder", "a store that sgdvi.sample has written; got .*folder', which is neither"),
        (tmp_path / "other.zarr", "which is neither"),
        ("nosuchthing://bucket/a.zarr", "must be a path, an fsspec URL.*Install fsspec"),
    ]:
        with pytest.raises(sgdvi.InputError, match=text):
            sample(kernel, store=store, resume=True)
    with pytest.raises(sgdvi.InputError, match="resume=True needs a store"):
        sample(kernel, resume=True)
    assert (tmp_path / "folder" / "thesis.tex").read_text() == "x"
    with pytest.raises(OSError, match="must take.*See that it can be written to"):
        sample(kernel, store="/proc/draws.zarr")


def test_bad_functionals(kernel: sgdvi.SGD) -> None:
    for change, text in [
        ({"functionals": {"u": lambda ds: ds.u}}, "must not have the name of a site; got 'u'"),
        ({"functionals": {"a": lambda ds: ds.beta}}, "'a' must be computable.*no site 'beta'; sites: u, w"),
        ({"keep": ["u", "b"]}, r"keep must name sites of the model, \['u', 'w'\]; got \['b'\]"),
        ({"keep": (), "functionals": None}, "a draw must have something in it"),
    ]:
        with pytest.raises(sgdvi.InputError, match=text):
            sample(kernel, **change)

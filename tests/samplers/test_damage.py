"""Stores that are damaged, written by two, of an older version or still written: right draws, or one line."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import arviz as az
import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import zarr

import sgdvi
from sgdvi import draws as labelled
from sgdvi.draws.committed import inspect
from sgdvi.draws.lock import LOCK
from sgdvi.samplers.driver import recorder, store_recorder

# draws are held against stored ones, bit by bit
pytestmark = pytest.mark.usefixtures("optimised")
OLD = Path(__file__).parent / "data" / "store-0.1.0.dev0.zarr"
X = (np.arange(30) - 15) / 8
Y = 0.5 * X + ((np.arange(30) * 7) % 11 - 5) / 4
STARTS = {"near": {"u": 0.5, "w": 0.5}, "far": {"u": 1.0, "w": -1.0}}


def model(x: Any, y: Any = None) -> None:
    u, w = numpyro.sample("u", dist.Normal(0, 2)), numpyro.sample("w", dist.Normal(0, 2))
    with numpyro.plate("data", len(x)):
        numpyro.sample("y", dist.Normal(u * w * x, 1.0), obs=y)


KERNEL = sgdvi.SGD(model, learning_rate=0.05, batch_size=2)
FUNCTIONALS = {"v": lambda ds: ds.u * ds.w}  # the same function for all runs: they share what is compiled


def sample(num_steps: int = 300, **options: Any) -> Any:
    settings: dict[str, Any] = {"num_warmup": 5, "num_chains": 2, "init": STARTS, "progress": False}
    settings |= {"key": jax.random.key(5), "functionals": FUNCTIONALS}
    return sgdvi.sample(KERNEL, (X, Y), num_steps=num_steps, **(settings | options))


def values(tree: Any) -> dict[str, np.ndarray]:
    return {
        f"{group}/{name}": np.asarray(values)
        for group in ("posterior", "sample_stats", "chain_status")
        for name, values in tree[group].variables.items()
    }


def assert_same(one: Any, other: Any) -> None:
    left, right = values(one), values(other)
    assert left.keys() == right.keys()
    for name in left:
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)


@pytest.fixture(scope="module")
def whole() -> Any:
    return sample()


@pytest.fixture
def chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "BUFFER_BYTES", 4000)  # some hundred draws
    monkeypatch.setattr(store_recorder, "_COMMIT_SECONDS", 1e9)


def test_a_store_of_the_first_format_is_read_and_goes_on(whole: Any, tmp_path: Path) -> None:
    assert_same(labelled.open_store(OLD), whole)
    store = tmp_path / "old.zarr"
    shutil.copytree(OLD, store)
    versions = json.loads((OLD / "checkpoint" / "zarr.json").read_text())["attributes"]["fingerprint"]
    if all(versions.get(f"version of {name}") == __import__(name).__version__ for name in ("jax", "numpyro", "optax")):
        # an earlier version whose algorithm is that of this one
        root = store / "zarr.json"
        root.write_text(root.read_text().replace('"version of sgdvi": "0.1.0.dev0"', '"version of sgdvi": "0.0.9"'))
        assert_same(sample(500, store=store, resume=True), sample(500))
        assert "0.0.9" in root.read_text()
    (store / "posterior" / "u" / "c" / "0" / "0").unlink()
    with pytest.raises(sgdvi.InputError, match="must be whole; got posterior/u/c/0/0, which is missing"):
        labelled.open_store(store).load()


def test_stores_are_runs_by_path_and_through_arviz(whole: Any, tmp_path: Path) -> None:
    store = tmp_path / "run.zarr"
    sample(store=store)
    functionals = {"v": lambda ds: ds.v}
    wanted = sgdvi.compare({"SGD": whole, "b": whole}, reference="b", functionals=functionals, key=jax.random.key(0))
    for run in (store, str(store), az.from_zarr(store), labelled.open_store(store)):
        got = sgdvi.compare({"SGD": run, "b": whole}, reference="b", functionals=functionals, key=jax.random.key(0))
        assert got.summaries == wanted.summaries


def test_draws_that_were_not_committed_are_not_read(
    whole: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunks: None
) -> None:
    resized: list[int] = []
    resize = zarr.Array.resize

    def fails(array: Any, shape: Any) -> None:
        resize(array, shape)
        resized.append(1)
        if len(resized) > 12:  # in the middle of the second commit
            raise RuntimeError("killed")

    monkeypatch.setattr(zarr.Array, "resize", fails)
    with pytest.raises(RuntimeError, match="killed"):
        sample(store=tmp_path / "a.zarr")
    monkeypatch.undo()
    read = sgdvi.inputs.read_file(tmp_path / "a.zarr")["posterior"]
    assert 0 < read.sizes["draw"] < 300
    np.testing.assert_array_equal(read["w"], whole["posterior"]["w"][:, : read.sizes["draw"]])
    # a reader that does not look at commits sees no numbers, rather than zeros
    raw = zarr.open_group(tmp_path / "a.zarr", mode="r", use_consolidated=False)["posterior"]["w"]
    assert np.isnan(raw[:, read.sizes["draw"] :]).all()


def damaged(kind: str, file: Path, other: Path) -> None:
    data = file.read_bytes()
    if kind == "emptied":
        file.write_bytes(b"")
    elif kind == "truncated":
        file.write_bytes(data[: len(data) // 2])
    elif kind == "flipped":
        middle = len(data) // 2
        file.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
    elif kind == "deleted":
        file.unlink()
    elif other.exists():
        shutil.copyfile(other, file)


FILES = [
    "zarr.json",
    "posterior/u/c/0/0",
    "posterior/u/zarr.json",
    "posterior/start/c/0",
    "sample_stats/loss/c/0/2",
    "chain_status/status/c/0",
    "checkpoint/state_0/c/0",
    "checkpoint/state_1/c/0",
    "checkpoint/sums/c/0/0",
    "checkpoint/zarr.json",
]


RESUMED = ["zarr.json", "checkpoint/state_0/c/0", "checkpoint/state_1/c/0"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stores")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorder, "BUFFER_BYTES", 4000)
        patch.setattr(store_recorder, "_COMMIT_SECONDS", 1e9)
        sample(store=folder / "made.zarr")
        sample(store=folder / "other.zarr", key=jax.random.key(6))
    return folder


@pytest.fixture(scope="module")
def longer() -> Any:
    return sample(320)


@pytest.mark.parametrize("kind", ["emptied", "truncated", "flipped", "deleted", "swapped"])
def test_damage_is_one_line_or_does_no_harm(whole: Any, longer: Any, made: Path, tmp_path: Path, kind: str) -> None:
    lines, store = {}, tmp_path / "a.zarr"
    for name, resume in [*((name, False) for name in FILES), *((name, True) for name in RESUMED)]:
        shutil.rmtree(store, ignore_errors=True)
        shutil.copytree(made / "made.zarr", store)
        damaged(kind, store / name, made / "other.zarr" / name)
        try:
            if resume:
                assert_same(sample(320, store=store, resume=True).load(), longer)
            else:
                assert_same(labelled.open_store(store).load(), whole)
        except sgdvi.InputError as error:
            lines[name, resume] = str(error)
    for (name, _), line in lines.items():
        assert "must be whole; got " in line or "neither" in line
        assert name.partition("/c/")[0] in line or name.partition("/")[2] in line
    # those of which the reading would differ, and the root and one of the states when the run goes on
    assert len(lines) >= 6


def test_metadata_that_were_edited_are_noticed(made: Path, tmp_path: Path) -> None:
    store = shutil.copytree(made / "made.zarr", tmp_path / "a.zarr")
    text = (store / "zarr.json").read_text()
    assert json.loads(text)["consolidated_metadata"]["metadata"]["checkpoint"]["attributes"]["draws"] == 300
    (store / "zarr.json").write_text(text.replace('"draws": 300', '"draws": 200'))
    with pytest.raises(sgdvi.InputError, match="must be whole; got zarr.json, which is not as it was written"):
        labelled.open_store(store)


def test_what_is_whole_of_a_damaged_store(whole: Any, tmp_path: Path, chunks: None) -> None:
    store = tmp_path / "a.zarr"
    sample(store=store)
    assert inspect(store) == (300, 300, (), True)
    size = zarr.open_group(store, mode="r")["checkpoint"].attrs["chunk"]
    (store / "posterior" / "w" / "c" / "0" / "1").unlink()
    found = inspect(store)
    assert found[:3] == (300, size, ("posterior/w/c/0/1, which is missing",))
    assert not found.can_resume
    saved = labelled.open_store(store, draws=found.whole).load()
    np.testing.assert_array_equal(saved["posterior"]["w"], whole["posterior"]["w"][:, :size])


def test_two_writers(tmp_path: Path, chunks: None) -> None:
    store = tmp_path / "a.zarr"

    def look(done: int, total: int) -> None:
        if done < total:
            with pytest.raises(sgdvi.InputError, match=f"only one run at a time .* got process {os.getpid()} on"):
                sample(store=store, resume=True)

    sample(store=store, progress=look)
    assert not (store / LOCK).exists()

    def steals(done: int, total: int) -> None:
        if 100 < done < total:
            sample(350, store=store, resume=True, break_lock=True)

    with pytest.raises(sgdvi.InputError, match="lost the lock to .*Nothing more was written"):
        sample(400, store=store, resume=True, progress=steals)
    assert_same(labelled.open_store(store), sample(350))


def test_locks_of_processes_that_ended_are_taken_over_and_others_are_not(tmp_path: Path) -> None:
    store = tmp_path / "a.zarr"
    store.mkdir()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    held = {"host": os.uname().nodename, "pid": ended.pid, "started": "", "since": "2026-01-01"}
    # the number of a process that lives, but was started at another time
    for record in (held, held | {"pid": os.getpid(), "started": "long ago"}):
        (store / LOCK).write_text(json.dumps(record))
        sample(store=store, resume=True)
    for text in (json.dumps(held | {"host": "elsewhere"}), "not json"):
        (store / LOCK).write_text(text)
        with pytest.raises(sgdvi.InputError, match="If it has ended, give break_lock=True"):
            sample(320, store=store, resume=True)
        assert (store / LOCK).read_text() == text
    sample(320, store=store, resume=True, break_lock=True)

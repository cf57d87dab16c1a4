"""Folders of checkpoints: iterates of one run are one chain, by their numbers; else refused in one line."""

import pickle
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sgdvi import InputError
from sgdvi.inputs import read_file

save_file = pytest.importorskip("safetensors.numpy").save_file
STEPS = (5, 10, 100)


def weights(value: float) -> dict[str, np.ndarray]:
    return {
        "0.weight": np.full((2, 3), value, np.float32),
        "norm.count": np.array(3),
        "b": np.full(2, value, np.float16),
    }


def steps(folder: Path, name: str = "step-{}.safetensors") -> None:
    for step in STEPS:
        path = folder / name.format(step)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(weights(step), path)


def test_iterates_of_one_run_are_one_chain(tmp_path: Path) -> None:
    steps(tmp_path)
    (tmp_path / "optimizer.pt").write_bytes(b"the state of a trainer")
    posterior = read_file(tmp_path)["posterior"]
    assert posterior["0.weight"].shape == (1, 3, 2, 3)
    np.testing.assert_array_equal(posterior["b"].values[0, :, 0], STEPS)
    assert posterior["b"].dtype == np.float32
    assert "norm.count" not in posterior
    assert posterior.attrs["kind"] == "sgd"


def test_folders_in_a_folder_are_chains_or_steps(tmp_path: Path) -> None:
    for chain in ("seed-2", "seed-10"):
        steps(tmp_path / "run" / chain)
    assert read_file(tmp_path / "run")["posterior"]["b"].shape == (2, 3, 2)
    steps(tmp_path / "trainer", "checkpoint-{}/model.safetensors")
    np.testing.assert_array_equal(read_file(tmp_path / "trainer")["posterior"]["b"].values[0, :, 0], STEPS)


def test_checkpoints_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    for name, change, words in (
        ("shape", {"0.weight": np.zeros((3, 3), np.float32)}, r"\(2, 3\) in step-5.* and \(3, 3\) in step-10"),
        ("names", {"more": np.zeros(1, np.float32)}, "more in only one of step-5.safetensors and step-10"),
        ("counts", None, "no weights in floating point"),
    ):
        steps(tmp_path / name)
        other = weights(1.0) | change if change is not None else {"n": np.array(3)}
        save_file(other, tmp_path / name / "step-10.safetensors")
        with pytest.raises(InputError, match=words) as caught:
            read_file(tmp_path / name)
        assert "\n" not in str(caught.value)
    steps(tmp_path / "cut")
    whole = (tmp_path / "cut" / "step-10.safetensors").read_bytes()
    (tmp_path / "cut" / "step-10.safetensors").write_bytes(whole[:-4])
    with pytest.raises(InputError, match="step-10.safetensors' must be a checkpoint, whole"):
        read_file(tmp_path / "cut")
    for chain in ("1", "2"):
        steps(tmp_path / "ragged" / chain)
    (tmp_path / "ragged" / "1" / "step-5.safetensors").unlink()
    with pytest.raises(InputError, match="folders of 2 and 3 checkpoints"):
        read_file(tmp_path / "ragged")


def test_what_a_package_is_needed_for_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps(tmp_path / "safe")
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "1.pt").write_bytes(pickle.dumps({}))
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    for folder, words in (("safe", ".safetensors files need safetensors"), ("torch", ".pt files need torch")):
        with pytest.raises(InputError, match=words):
            read_file(tmp_path / folder)


class Tensor(np.ndarray):
    """As much of a tensor of PyTorch as is asked of one."""

    def detach(self) -> "Tensor":
        return self

    def numpy(self) -> np.ndarray:
        return np.asarray(self)


def test_files_of_torch_are_read_without_unpickling_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # a stand-in for PyTorch, which the tests do not install: what it is asked, and what is made of its answer
    def load(path: Path, *, map_location: str, weights_only: bool) -> Any:
        assert weights_only
        assert map_location == "cpu"
        step = int(path.stem)
        if step == 0:
            raise pickle.UnpicklingError("Weights only load failed.\nRe-running with weights_only=False ...")
        state = {"w": np.full(2, step, np.float32).view(Tensor), "note": "text"}
        return {"epoch": step, "model_state_dict": state} if step < 3 else [state]

    torch: Any = types.ModuleType("torch")
    torch.load, torch.Tensor, torch.bfloat16, torch.float16 = load, Tensor, "bfloat16", "float16"
    monkeypatch.setitem(sys.modules, "torch", torch)
    for step in (1, 2):
        (tmp_path / f"{step}.pt").write_bytes(b"")
    np.testing.assert_array_equal(read_file(tmp_path)["posterior"]["w"], [[[1, 1], [2, 2]]])
    for name, words in (("0.pt", "objects in a pickle, which is never read"), ("3.pt", "got list")):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(InputError, match=words) as caught:
            read_file(tmp_path)
        assert "\n" not in str(caught.value)
        (tmp_path / name).unlink()

"""Files of NumPy, and which reader takes which file: read, or refused in one line; nothing is unpickled."""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sgdvi import InputError
from sgdvi.inputs import read_file

RNG = np.random.default_rng(6)
W, B = RNG.normal(size=(2, 9, 3)).astype(np.float32), RNG.normal(size=(2, 9))


class Mark:
    """An object whose pickle leaves a file where it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, ("mark", "w"))


def archive(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def test_arrays_of_one_file_or_of_one_for_each_chain(tmp_path: Path) -> None:
    np.savez(tmp_path / "run.npz", w=W, b=B)
    tree = read_file(tmp_path / "run.npz")
    np.testing.assert_array_equal(tree["posterior"]["w"], W)
    assert tree["posterior"]["w"].dtype == np.float32
    folder = tmp_path / "chains"
    folder.mkdir()
    for chain, number in enumerate((2, 10)):  # in the order of the numbers, not of the letters
        np.savez(folder / f"chain-{number}.npz", w=W[chain : chain + 1], b=B[chain])
    for path in (folder, [folder / "chain-2.npz", folder / "chain-10.npz"]):
        assert read_file(path).identical(tree)
    np.save(tmp_path / "w.npy", W)
    np.testing.assert_array_equal(read_file(tmp_path / "w.npy")["posterior"]["x"], W)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("x.npz", archive(w=W)[:200], "must be a file of numpy.savez"),
        ("x.npz", archive(), "got no arrays"),
        ("x.npz", archive(w=W, b=B[:, :5]), r"'b' must have axes \(chain, draw, ...\) = \(2, 9\)"),
        ("x.npz", archive(w=np.array(["a", "b"])), "'w' of type <U1"),
        ("x.npz", archive(w=np.float64(1)), r"'w' of type float64 and shape \(\)"),
        ("x.npz", archive(w=np.zeros((2, 0, 3))), r"'w' of shape \(2, 0, 3\)"),
        ("x.npz", archive(w=np.array([Mark()])), "objects in a pickle, which is never read"),
        ("x.npy", pickle.dumps(Mark()), "objects in a pickle, which is never read"),
        ("x.pkl", pickle.dumps(Mark()), "safely; got the pickle x.pkl"),
        ("x.pt", b"", "more than one checkpoint; got the file x.pt"),
        ("x.txt", b"1 2 3", "must be a NetCDF file"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, data: bytes, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(data)
    with pytest.raises(InputError, match=words) as caught:
        read_file(name)
    assert "\n" not in str(caught.value)
    assert not Path("mark").exists()


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    for name, arrays in {"a": {"w": W}, "b": {"v": W}, "c": {"w": W[:, :5]}}.items():
        np.savez(tmp_path / f"{name}.npz", **arrays)
    (tmp_path / "t.csv").write_text("w\n1\n2\n")
    for files, words in (
        (["a.npz", "b.npz"], "w, v in only one of a.npz and b.npz"),
        (["a.npz", "c.npz"], r"'w' must have the same shape in all files.*\(9, 3\) in a.npz and \(5, 3\) in c.npz"),
        (["a.npz", "t.csv"], "must be of one kind; got a.npz and t.csv"),
        (["a.npz", "none.npz"], "must exist"),
        (["x.nc", "x.nc"], "must exist"),
    ):
        with pytest.raises(InputError, match=words):
            read_file([tmp_path / file for file in files])


def test_an_archive_that_declares_more_than_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez_compressed(tmp_path / "x.npz", w=np.zeros((2, 9, 1000)))
    monkeypatch.setattr("sgdvi._internal.memory.total_memory", lambda: 1e5)
    with pytest.raises(InputError, match="must fit in memory"):
        read_file(tmp_path / "x.npz")

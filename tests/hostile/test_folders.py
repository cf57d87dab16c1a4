"""Folders that are damaged, or made to do harm, for `sgdvi report`: the same page or one line."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import jax
import numpy as np
import pytest
from hostile.counts import Counts
from sizes import FULL

import sgdvi
from sgdvi._internal.check import InputError
from sgdvi.cli import main
from sgdvi.report import Context, write_record
from sgdvi.report.record import _sums

VALUES: list[Any] = [None, "x", -1, [], {}, 1e308, "nan", [[[]]], True, "a$b$c\\frac{", "\0<script>", 10**400]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made, rng = tmp_path_factory.mktemp("report"), np.random.default_rng(0)
    runs = {name: {"v": rng.normal(size=(4, 200))} for name in ("SGD", "NUTS")}
    draws = {"v $x_{$": lambda data: data.v}
    write_record(sgdvi.compare(runs, reference="NUTS", functionals=draws, key=jax.random.key(0)), Context(), made)
    assert main(["report", str(made)]) == 0
    return made


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the places of a nested record, of each kind of list entry the first."""
    yield path
    items = value.items() if isinstance(value, dict) else list(enumerate(value))[:1] if isinstance(value, list) else []
    for name, item in items:
        yield from paths(item, (*path, name))


def changed(record: Any, path: tuple[Any, ...], value: Any) -> Any:
    copy = json.loads(json.dumps(record))
    if not path:
        return value
    place = copy
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    return copy


def external_link(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file["other"] = h5py.ExternalLink("/etc/passwd", "/")


def external_values(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file.create_dataset("raw", (16,), "u1", external=[("/etc/passwd", 0, 16)])


def huge(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file.create_dataset("huge", (1 << 45,), "f8", chunks=(1 << 20,))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def text(path: Path) -> None:
    path.write_text("not HDF5")


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


DRAWS = [external_link, external_values, huge, cut, text, directory, Path.unlink]


def outcome(folder: Path, page: str, capsys: pytest.CaptureFixture[str]) -> str:
    status = main(["report", str(folder), "--out", str(folder / "page.html")])
    _, err = capsys.readouterr()
    if status == 0:
        return "right" if (folder / "page.html").read_text(encoding="utf-8") == page else "silent"
    return "clear" if status == 2 and len(err.strip().splitlines()) == 1 else "raw"


def copy_of(folder: Path, target: Path) -> Path:
    shutil.rmtree(target, ignore_errors=True)
    return shutil.copytree(folder, target)


def test_draws_that_reach_out_of_their_file_are_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "v $x_{$" in page
    for change in DRAWS:
        copy = copy_of(folder, tmp_path / "copy")
        change(copy / "draws.nc")
        # a hostile sender makes the sums fit
        if (copy / "draws.nc").is_file():
            record = json.loads((copy / "report.json").read_text(encoding="utf-8"))
            (copy / "report.json").write_text(json.dumps({**record, "sums": _sums(record, copy)}), encoding="utf-8")
        assert outcome(copy, page, capsys) == "clear", change
        with pytest.raises(InputError):
            sgdvi.draws.load(copy)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_records_changed_in_every_place(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, record = (
        (folder / "report.html").read_text(encoding="utf-8"),
        json.loads((folder / "report.json").read_text()),
    )
    counts, hostile, wrong = Counts(), Counts(), []
    places = list(paths(record))[:: 1 if FULL else 3]
    rng = np.random.default_rng(0)
    for number, path in enumerate(places):
        for value in VALUES:
            copy = copy_of(folder, tmp_path / "copy")
            damaged = changed(record, path, value)
            (copy / "report.json").write_text(json.dumps(damaged), encoding="utf-8")
            found = outcome(copy, page, capsys)
            counts[found] += 1
            wrong += [] if found in ("clear", "right") else [f"{path} {value!r:.20}: {found}"]
        # with sums that fit the page may be another one, but there is a page or one line
        if path and number and rng.random() < 0.5:
            damaged = changed(record, path, VALUES[number % len(VALUES)])
            if isinstance(damaged, dict):
                damaged["sums"] = _sums(damaged, copy)
            (copy / "report.json").write_text(json.dumps(damaged), encoding="utf-8")
            found = outcome(copy, page, capsys)
            hostile["right" if found == "silent" else found] += 1
            wrong += [f"{path} {VALUES[number % len(VALUES)]!r:.20}: raw"] if found == "raw" else []
    with capsys.disabled():
        print("\n" + counts.report("folders, damaged") + "\n" + hostile.report("folders, made to fit"))
    assert not wrong, "\n".join(wrong)

"""Every file of a store in turn emptied, cut, changed, deleted, or exchanged: right draws or one line."""

import shutil
from collections.abc import Callable
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import jax
import pytest
from hostile.counts import Counts, sample, short_chunks, values
from sizes import FULL

import sgdvi
from sgdvi.draws.committed import inspect, open_store


def _flipped(place: float) -> Callable[[bytes, bytes], bytes]:
    def flip(data: bytes, other: bytes) -> bytes:
        at = min(int(place * len(data)), len(data) - 1)
        return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]

    return flip


KINDS: dict[str, Callable[[bytes, bytes], bytes | None]] = {
    "emptied": lambda data, other: b"",
    "truncated": lambda data, other: data[: len(data) // 2],
    "one byte short": lambda data, other: data[:-1],
    "flipped at the start": _flipped(0.0),
    "flipped in the middle": _flipped(0.5),
    "flipped at three quarters": _flipped(0.75),
    "flipped at the end": _flipped(1.0),
    "deleted": lambda data, other: None,
    "exchanged": lambda data, other: other,
}


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two stores of the same form, of two full chunks and a part of a third."""
    folder = tmp_path_factory.mktemp("stores")
    short_chunks()
    sample(250, store=folder / "made")
    sample(250, store=folder / "other", key=jax.random.key(6))
    return folder


@cache
def memory(draws: int) -> Any:
    """Return a run that was never on disk."""
    return sample(draws)


def read(store: Path) -> bool:
    return values(open_store(store)) == values(memory(250))


def resume(store: Path) -> bool:
    return values(sample(300, store=store, resume=True)) == values(memory(300))


def examine(store: Path) -> bool:
    """Whether what `sgdvi doctor` says is true: the draws that it calls whole can be read, and were written."""
    condition = inspect(store)
    if not condition.whole:
        return bool(condition.problems)
    tree = open_store(store, draws=condition.whole).load()
    return values(tree) == values(memory(250), condition.whole) and bool(condition.problems or condition.whole == 250)


USES = {"reading": read, "resuming": resume, "doctor": examine}


def outcome(use: str, store: Path) -> str:
    try:
        return "right" if USES[use](store) else "silent"
    except sgdvi.InputError as error:
        return "clear" if "\n" not in str(error) and "; got " in str(error) else f"raw {error!r}"
    except Exception as error:
        return f"raw {error!r}"


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_file_damaged_in_every_way(stores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counts, wrong = {use: Counts() for use in USES}, []
    made, other, store = stores / "made", stores / "other", tmp_path / "store"
    names = sorted(path.relative_to(made) for path in made.rglob("*") if path.is_file())
    every = 1 if FULL else 5  # each file has one or two kinds of damage, each kind comes to every fifth file
    for (number, name), (place, (kind, change)) in product(enumerate(names), enumerate(KINDS.items())):
        if (number + place) % every == 0:
            data = change((made / name).read_bytes(), (other / name).read_bytes())
            for use, count in counts.items():
                shutil.rmtree(store, ignore_errors=True)
                shutil.copytree(made, store)
                (store / name).unlink() if data is None else (store / name).write_bytes(data)
                came = outcome(use, store)
                count[came.partition(" ")[0]] += 1
                wrong += [] if came in ("right", "clear") else [f"{use} {name} {kind}: {came}"]
    with capsys.disabled():
        print()
        for use, count in counts.items():
            print(count.report(f"corrupt, {use}"))
    assert not wrong, "\n".join(wrong)

"""Every file of a store in turn emptied, cut, changed, deleted, or exchanged: right draws or one line."""

import shutil
from collections.abc import Callable
from pathlib import Path

import jax
import pytest
from hostile.counts import Counts, sample, short_chunks, values

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


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_file_damaged_in_every_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short_chunks()
    counts, wrong = {name: Counts() for name in ("reading", "resuming", "doctor")}, []
    whole, longer = values(sample(250)), values(sample(300))
    made, other, store = tmp_path / "made", tmp_path / "other", tmp_path / "store"
    sample(250, store=made)
    sample(250, store=other, key=jax.random.key(6))
    files = sorted(path.relative_to(made) for path in made.rglob("*") if path.is_file())
    for name in files:
        for kind, change in KINDS.items():
            data = change((made / name).read_bytes(), (other / name).read_bytes())
            for use, right in (("reading", whole), ("resuming", longer), ("doctor", None)):
                shutil.rmtree(store, ignore_errors=True)
                shutil.copytree(made, store)
                (store / name).unlink() if data is None else (store / name).write_bytes(data)
                try:
                    if right is None:
                        found = inspect(store)
                        kept = values(open_store(store).isel(draw=slice(found.whole))) if not found.problems else whole
                        outcome = "right" if kept == whole else "silent"
                    else:
                        tree = open_store(store) if use == "reading" else sample(300, store=store, resume=True)
                        outcome = "right" if values(tree) == right else "silent"
                except sgdvi.InputError as error:
                    outcome = "clear" if "\n" not in str(error) else "raw"
                except Exception as error:
                    outcome = "raw"
                    wrong.append(f"{use} {name} {kind}: {error!r}")
                if outcome == "silent":
                    wrong.append(f"{use} {name} {kind}")
                counts[use][outcome] += 1
    with capsys.disabled():
        print()
        for use, count in counts.items():
            print(count.report(f"corrupt, {use}"))
    assert not wrong, "\n".join(wrong)

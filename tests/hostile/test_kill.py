"""SIGKILL and SIGTERM at random moments: the run goes on with the same draws, and loses one chunk at most, or none."""

import signal
import time
from pathlib import Path

import numpy as np
import pytest
import zarr
from hostile.counts import Counts, sample, short_chunks, values
from hostile.writers import BEGUN, Writer
from sizes import FULL

import sgdvi
from sgdvi.draws.committed import open_store

TRIES, PER_STORE = 100 if FULL else 10, 10
WARMUP, THINNING, CHUNK = 5, 100, 100


def killed(store: Path, number: signal.Signals, rng: np.random.Generator, from_call: bool, chunk: int) -> int:
    """Return how many draws a run had reported when the signal came, some time after its call or its first report."""
    writer = Writer(store, 10**9, THINNING, chunk, store.parent / "cache")
    writer.wait_for(BEGUN if from_call else WARMUP + THINNING)
    time.sleep(rng.uniform(0.0, 1.5 if from_call else 0.6))
    writer.send(number)
    status, steps, _ = writer.ended()
    assert status == -number
    return max(0, steps - WARMUP) // THINNING


def campaign(folder: Path, number: signal.Signals, tries: int, chunk: int = CHUNK) -> Counts:
    short_chunks(chunk)
    counts, rng, kept = Counts(), np.random.default_rng(int(number)), []
    for trial in range(tries):
        store = folder / f"{number}-{trial // PER_STORE}.zarr"
        # every third while the run is being prepared or its store read
        reported = killed(store, number, rng, trial % 3 == 2, chunk)
        try:
            tree = open_store(store)
        except sgdvi.InputError as error:
            # before its first commit there is no run
            begun = (store / "zarr.json").exists() and b"consolidated_metadata" in (store / "zarr.json").read_bytes()
            counts["clear" if not begun and not reported and "\n" not in str(error) else "silent"] += 1
            continue
        draws = tree["posterior"].sizes["draw"]
        size = zarr.open_group(store, mode="r")["checkpoint"].attrs["chunk"]
        lost = 0 if number == signal.SIGTERM else int(str(size))
        kept.append((draws, draws >= reported - lost, values(tree)))
    whole = sample(max(draws for draws, *_ in kept) * THINNING + THINNING, thinning=THINNING)
    for draws, enough, read in kept:
        counts["right" if enough and read == values(whole, draws) else "silent"] += 1
    return counts


def test_sigterm_loses_nothing(tmp_path: Path) -> None:
    # the chunk never becomes full: all draws are those that are written when the signal comes
    assert campaign(tmp_path, signal.SIGTERM, 1, chunk=100_000) == {"right": 1}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_signals_at_random_moments(tmp_path: Path, number: signal.Signals, capsys: pytest.CaptureFixture[str]) -> None:
    counts = campaign(tmp_path, number, TRIES)
    with capsys.disabled():
        print("\n" + counts.report(f"kill, {number.name}"))
    assert counts["silent"] == counts["raw"] == 0
    assert counts["right"] >= 0.9 * TRIES

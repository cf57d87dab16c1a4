"""SIGKILL and SIGTERM at random moments: the run goes on with the same draws, and loses one chunk at most, or none."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hostile.counts import Counts, environment, sample, short_chunks, values

import sgdvi
from sgdvi.draws.committed import open_store

TRIES = 100
THINNING, CHUNK = 100, 100
# Says how many draws it has reported: what may be lost is counted from there.
WRITER = """
import sys
from hostile.counts import sample, short_chunks
short_chunks()
said = lambda done, total: print(done, flush=True)
sample(10**9, store=sys.argv[1], resume=True, thinning=100, progress=said)
"""


def run_and_signal(store: Path, number: signal.Signals, delay: float) -> int:
    """Return how many draws the run had reported when the signal came; `delay` counts from its first report."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(store)], env=environment(), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    reported = int(process.stdout.readline())
    time.sleep(delay)
    process.send_signal(number)
    rest, _ = process.communicate()
    # a line that was being written may be cut short
    reported = max([reported, *(int(line) for line in rest.split()[:-1])])
    assert process.returncode == -number
    return (reported - 5) // THINNING


def outcome(store: Path, reported: int, lost: int) -> str:
    tree = open_store(store)
    draws = tree["posterior"].sizes["draw"]
    whole = sample(max(draws, 1) * THINNING, thinning=THINNING)
    right = draws >= reported - lost and values(tree) == values(whole, draws)
    return "right" if right else "silent"


def campaign(folder: Path, number: signal.Signals, tries: int) -> Counts:
    short_chunks(CHUNK)
    counts, rng = Counts(), np.random.default_rng(int(number))
    for trial in range(tries):
        store = folder / f"{number}-{trial // 10}.zarr"
        reported = run_and_signal(store, number, rng.uniform(0.0, 0.6))
        try:
            # one chunk of draws is being written while the next is made
            counts[outcome(store, reported, 0 if number == signal.SIGTERM else 2 * CHUNK)] += 1
        except sgdvi.InputError:
            counts["clear"] += 1
    return counts


def test_sigterm_loses_nothing(tmp_path: Path) -> None:
    assert campaign(tmp_path, signal.SIGTERM, 1) == {"right": 1}


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_signals_at_random_moments(tmp_path: Path, number: signal.Signals, capsys: pytest.CaptureFixture[str]) -> None:
    counts = campaign(tmp_path, number, TRIES)
    with capsys.disabled():
        print("\n" + counts.report(f"kill, {number.name}"))
    assert counts == {"right": TRIES}

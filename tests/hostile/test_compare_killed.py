"""`sgdvi compare` killed at random moments, or started twice: whole reports or none, and what ran is kept."""

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from hostile.counts import Counts
from hostile.writers import MEAN, compare, start
from sizes import FULL

from sgdvi.draws import load
from sgdvi.report import read_record

TRIES = 30 if FULL else 9  # whole rounds of the signals
FILES = {"draws.nc", "report.html", "report.json"}
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGKILL)
STATUSES = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGKILL: -9}


def finish(folder: Path, number: signal.Signals | None, delay: float) -> tuple[int, str]:
    """Return the status and the errors of a comparison that was sent a signal."""
    process, told = start(compare, str(folder), ["--overwrite"])
    told.recv()
    process.join(delay)
    if number is not None and process.exitcode is None:
        os.kill(process.pid, number)
    process.join()
    return process.exitcode, (folder / f"err-{process.pid}").read_text(encoding="utf-8")


def outcome(folder: Path, status: int, err: str, number: signal.Signals) -> str:
    page = folder / "page"
    names = {path.name for path in page.glob("[!.]*") if path.is_file()}
    if status not in (0, STATUSES[number]) or "Traceback" in err:
        return f"raw {status} {err[-300:]}"
    if status != 0 and number != signal.SIGKILL and ("interrupted" not in err or any(page.glob(".*"))):
        return f"raw {err[-300:]} {list(page.glob('.*'))}"
    if status == 0 and names != FILES:
        return f"silent {names}"
    # a report is all of its files, and they belong together; draws may stand without one
    if "report.html" in names or "report.json" in names:
        if names != FILES or read_record(page)[0].verdict is None:
            return f"silent {names}"
    if "draws.nc" in names and not all(np.isfinite(run["posterior"]["mu"]).all() for run in load(page).values()):
        return "silent draws"
    kept, _, place = err.rpartition("the draws of ")[2].partition(";")[0].partition(" are in ")
    if place and set(kept.replace(" and ", ", ").split(", ")) - set(load(folder / place)):
        return f"silent {kept}"
    return "right"


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_signals_at_random_moments_and_two_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mean.py").write_text(MEAN)
    counts, wrong, rng = Counts(), [], np.random.default_rng(0)
    for _ in range(2):  # the first compiles
        begin = time.perf_counter()
        status, err = finish(tmp_path, None, 600)
        assert status == 0, err
        seconds = time.perf_counter() - begin
    for trial in range(TRIES):
        number = SIGNALS[trial % len(SIGNALS)]
        status, err = finish(tmp_path, number, rng.uniform(0.0, 1.2 * seconds))
        came = outcome(tmp_path, status, err, number)
        counts[came.partition(" ")[0]] += 1
        wrong += [] if came == "right" else [f"{number.name}: {came}"]
    first, told = start(compare, str(tmp_path), ["--overwrite"])
    told.recv()
    while not (tmp_path / "page" / ".sgdvi-lock").exists():
        time.sleep(0.01)
    status, err = finish(tmp_path, None, 600)
    counts["clear" if status == 2 and "only one run at a time" in err else "silent"] += 1
    first.join()
    counts["right" if first.exitcode == 0 and read_record(tmp_path / "page")[0].verdict else "silent"] += 1
    with capsys.disabled():
        print("\n" + counts.report("compare, killed and twice"))
    assert not wrong, "\n".join(wrong)
    assert counts["silent"] == 0

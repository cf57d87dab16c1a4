"""Two processes that write to one store at once: one is refused, or both are right."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hostile.counts import Counts, environment, sample, short_chunks, values

from sgdvi.draws.committed import open_store

WRITER = """
import sys, sgdvi
from hostile.counts import sample, short_chunks
short_chunks()
try:
    tree = sample(int(sys.argv[2]), store=sys.argv[1], resume=True, thinning=50)
except sgdvi.InputError as error:
    print(error, file=sys.stderr)
    sys.exit(2)
print(tree["posterior"].sizes["draw"])
"""


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_writers_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short_chunks()
    counts, rng, lengths = Counts(), np.random.default_rng(1), (100_000, 120_000)
    right = {steps: values(sample(steps, thinning=50)) for steps in lengths}
    for pair in range(12):
        store = str(tmp_path / f"{pair}.zarr")
        both = []
        for steps in lengths:
            both.append(
                subprocess.Popen(
                    [sys.executable, "-c", WRITER, store, str(steps)],
                    env=environment(),
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            if rng.random() < 0.5:
                try:
                    both[0].wait(rng.uniform(0.0, 3.0))
                except subprocess.TimeoutExpired:
                    pass
        for process, steps in zip(both, lengths, strict=True):
            out, err = process.communicate(timeout=600)
            if process.returncode == 0:
                counts["right" if int(out) == steps // 50 else "silent"] += 1
            else:
                clear = process.returncode == 2 and len(err.strip().splitlines()) == 1
                counts["clear" if clear else "raw"] += 1
                assert clear, err
        tree = open_store(store)
        assert values(tree) == right[tree["posterior"].sizes["draw"] * 50]
    with capsys.disabled():
        print("\n" + counts.report("two writers"))
    assert counts["silent"] == counts["raw"] == 0

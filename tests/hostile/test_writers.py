"""Two processes that write to one store at once: one is refused, or both are right."""

import time
from pathlib import Path

import numpy as np
import pytest
from hostile.counts import Counts, sample, short_chunks, values
from hostile.writers import BEGUN, Writer
from sizes import FULL

from sgdvi.draws.committed import open_store

PAIRS, THINNING, CHUNK = 25 if FULL else 6, 50, 100
LENGTHS = (100_000, 120_000)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_writers_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short_chunks(CHUNK)
    counts, rng = Counts(), np.random.default_rng(1)
    whole = sample(max(LENGTHS), thinning=THINNING)
    for pair in range(PAIRS):
        store, both = tmp_path / f"{pair}.zarr", []
        for steps in LENGTHS:
            both.append((steps, Writer(store, steps, THINNING, CHUNK, tmp_path / "cache")))
            # half of the pairs begin together, the second of the others comes later
            if rng.random() < 0.5:
                both[-1][1].wait_for(BEGUN)
                time.sleep(rng.uniform(0.0, 2.0))
        for steps, writer in both:
            status, told, text = writer.ended()
            if status == 0:
                counts["right" if told == steps + 5 else "silent"] += 1
            else:
                counts["clear" if status == 2 and text and "\n" not in text else "raw"] += 1
        tree = open_store(store)
        counts["silent"] += values(tree) != values(whole, tree["posterior"].sizes["draw"])
    with capsys.disabled():
        print("\n" + counts.report("two writers"))
    assert counts["silent"] == counts["raw"] == 0
    assert counts["clear"] > 0

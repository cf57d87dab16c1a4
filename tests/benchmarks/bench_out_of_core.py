"""Data larger than memory: speed and anonymous memory of a run on a memory map of 1e8 rows (800 MB).

Run: python tests/benchmarks/bench_out_of_core.py [rows] [folder]
"""

import re
import sys
import tempfile
import threading
import time
from pathlib import Path

import jax
import numpy as np
import optax

import sgdvi

PIECE = 1 << 20


def anonymous() -> float:
    """Anonymous resident memory of this process, MB."""
    return int(re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


def make(folder: Path, rows: int) -> tuple[np.memmap, np.memmap]:
    rng = np.random.default_rng(0)
    x, y = (np.memmap(folder / name, np.float32, "w+", shape=(rows,)) for name in ("x.f32", "y.f32"))
    for start in range(0, rows, PIECE):
        part = rng.standard_normal(min(PIECE, rows - start), dtype=np.float32)
        x[start : start + PIECE] = part
        y[start : start + PIECE] = part + rng.standard_normal(len(part), dtype=np.float32)
    x.flush(), y.flush()
    return tuple(np.memmap(folder / name, np.float32, "r", shape=(rows,)) for name in ("x.f32", "y.f32"))


def loss(params, batch):
    x, y = batch
    return (params["u"] * params["w"] * x - y) ** 2


def main() -> None:
    rows = int(float(sys.argv[1])) if len(sys.argv) > 1 else 100_000_000
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as folder:
        data = make(Path(folder), rows)
        sampler = sgdvi.SGD(sgdvi.Loss(loss, {"u": 1.0, "w": 0.5}), optax.sgd(0.01), batch_size=16)
        options = {"key": jax.random.key(0), "thinning": 100, "num_chains": 16, "progress": False}
        jax.numpy.zeros(1).block_until_ready()
        before, peak, done = anonymous(), [0.0], threading.Event()

        def watch() -> None:
            while not done.wait(0.02):
                peak[0] = max(peak[0], anonymous())

        thread = threading.Thread(target=watch)
        thread.start()
        for steps in (2_000, 100_000):
            begin = time.perf_counter()
            tree = sgdvi.sample(sampler, data, num_steps=steps, **options)
            seconds = time.perf_counter() - begin
            print(f"{rows:.0e} rows, {steps} steps of 16 chains: {seconds:.1f} s, {16 * steps / seconds:,.0f} steps/s")
        done.set()
        thread.join()
        v = (tree["posterior"].u * tree["posterior"].w).values[:, 500:]
        print(f"anonymous memory: {before:.0f} MB before, {peak[0]:.0f} MB at most, {peak[0] - before:.0f} MB more")
        print(f"v = {v.mean():.4f}, sd {v.std():.4f}; the slope of the data is 1")
        if rows <= 10_000_000:
            memory = tuple(np.array(part) for part in data)
            begin = time.perf_counter()
            sgdvi.sample(sampler, memory, num_steps=100_000, **options)
            print(f"the same in memory: {16 * 100_000 / (time.perf_counter() - begin):,.0f} steps/s")


if __name__ == "__main__":
    main()

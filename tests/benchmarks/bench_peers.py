"""Laws, samplers and reports beside what one would use in their place, in one process.

Run: python tests/benchmarks/bench_peers.py [laws] [samplers] [reports] [--posteriors PYTHON] [--json FILE]

The samplers are compared with `posteriors` too where a Python is named that has it: it needs PyTorch, so it runs in an
environment of its own (`pip install torch posteriors numpy`), right after this package.

Processor time of both, medians of alternating calls after one that compiles, and their ratio. `--json` adds the figures
to a file, from which docs/make_performance.py makes the table of docs/performance.md.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import arviz as az
import jax
import jax.numpy as jnp
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from bench_sampling import BATCH, blackjax_run, depth_one
from numpyro.distributions import StudentT
from scipy import stats
from scipy.interpolate import CubicSpline

import sgdvi
from sgdvi.draws import make_tree

Job = Callable[[], Any]
Row = tuple[str, str, float, float]
REPEATS = 5


def medians(ours: Job, theirs: Job, repeats: int = REPEATS) -> tuple[float, float]:
    """Return seconds of processor time of both, of alternating calls; the first pair compiles."""
    seconds: list[list[float]] = [[], []]
    for _ in range(repeats + 1):
        for kept, job in zip(seconds, (ours, theirs), strict=True):
            begin = time.process_time()
            jax.block_until_ready(job())
            kept.append(time.process_time() - begin)
    return statistics.median(seconds[0][1:]), statistics.median(seconds[1][1:])


def laws() -> Iterator[Row]:
    """The law of depth 1 beside SciPy's generic law of the same density; depth 0 without skew beside Student's t."""
    law = sgdvi.SGDStationary(sgdvi.Moments.linear(1.0, 1.0), 0.1, depth=1)

    # SciPy asks for one value at a time: it gets them from an interpolant, which costs it next to nothing
    logs = np.linspace(np.log(1e-6), np.log(50.0), 4000)
    density = CubicSpline(logs, law.log_prob(np.exp(logs)))

    class Generic(stats.rv_continuous):
        def _pdf(self, v: Any) -> Any:
            return np.exp(density(np.log(np.maximum(v, 1e-6))))

    generic = Generic(a=0.0, name="generic")
    v, q, few = np.linspace(0.01, 3, 100), np.linspace(0.1, 0.9, 9), np.linspace(0.1, 2, 5)
    assert np.allclose(law.cdf(few), generic.cdf(few), atol=1e-6)
    beside = "`rv_continuous` with the same density"
    yield (
        f"distribution function at {v.size} points, depth 1",
        beside,
        *medians(lambda: law.cdf(v), lambda: generic.cdf(v), 3),
    )
    yield f"{q.size} quantiles, depth 1", beside, *medians(lambda: law.icdf(q), lambda: generic.ppf(q), 1)
    keys = iter(jax.random.split(jax.random.key(0), 100))
    rng = np.random.default_rng(0)
    yield (
        "100 draws, depth 1",
        beside,
        *medians(lambda: law.sample(next(keys), (100,)), lambda: generic.rvs(size=100, random_state=rng), 1),
    )
    # y = v x + noise: the gradients' noise is symmetric about the minimum, and the law of depth 0 is Student's t
    flat = sgdvi.SGDStationary(sgdvi.Moments.linear(1.0, 1.0), 0.1, depth=0)
    df = float(flat.tail_exponent) - 1
    scale = float(flat.std) * math.sqrt((df - 2) / df)
    t, peer = stats.t(df, float(flat.mean), scale), StudentT(df, float(flat.mean), scale)
    many = float(flat.mean) + scale * np.linspace(-8, 8, 1_000_000)
    some = many[::1000]
    assert np.allclose(flat.log_prob(some), t.logpdf(some), atol=1e-8)
    assert np.allclose(flat.cdf(some), t.cdf(some), atol=1e-8)
    yield (
        "log density at 1e6 points, depth 0",
        "`scipy.stats.t`",
        *medians(lambda: flat.log_prob(many), lambda: t.logpdf(many)),
    )
    yield (
        "distribution function at 1000 points, depth 0",
        "`scipy.stats.t`",
        *medians(lambda: flat.cdf(some), lambda: t.cdf(some)),
    )
    compiled, array = jax.jit(peer.log_prob), jnp.asarray(many)
    yield (
        "log density at 1e6 points, depth 0",
        "NumPyro's `StudentT`, compiled",
        *medians(lambda: flat.log_prob(array), lambda: compiled(array)),
    )


def samplers(python: str | None) -> Iterator[Row]:
    """Chains of SGD on the depth-1 model, N = 1000, S = 8, per 1e6 steps of chains; `python` has posteriors."""
    data, model = depth_one()
    x, y = map(jnp.asarray, data)
    chains, steps = 64, 20_000
    share = 1 / (4 * len(x))
    kernel = sgdvi.SGD(model, learning_rate=1e-3, batch_size=BATCH)
    settings: dict[str, Any] = {"num_steps": steps, "num_chains": chains, "thinning": steps // 10, "progress": False}

    @jax.jit
    def bare(u: jax.Array, w: jax.Array) -> Any:
        """As a plain compiled loop: uniform rows, gradients by `jax.grad`."""

        def loss(z: Any, rows: jax.Array) -> jax.Array:
            residual = z[0] * z[1] * x[rows] - y[rows]
            return (jnp.mean(residual**2, axis=0) / 2 + share * (z[0] ** 2 + z[1] ** 2) / 2).sum()

        def step(number: jax.Array, z: Any) -> Any:
            key = jax.random.fold_in(jax.random.key(0), number)
            rows = jax.random.randint(key, (BATCH, chains), 0, len(x))
            slope = jax.grad(loss)(z, rows)
            return tuple(value - 1e-3 * change for value, change in zip(z, slope, strict=True))

        return jax.lax.fori_loop(0, steps, step, (u, w))

    def ours() -> Any:
        return sgdvi.sample(kernel, data, key=jax.random.key(0), **settings)

    what, million = f"1e6 chain-steps, in runs of {steps} steps of {chains} chains", 1e6 / (steps * chains)
    start = jnp.ones(chains), jnp.full(chains, 0.5)
    for name, job in (
        ("blackjax's SGLD, vmapped in a compiled loop", blackjax_run(data, chains, steps, hashed=False)),
        ("a bare compiled loop of SGD", lambda: bare(*start)),
    ):
        mine, other = medians(ours, job)
        yield what, name, million * mine, million * other
    if python is not None:
        # a tenth of the steps: each is a call, and costs the same
        other = statistics.median(posteriors_seconds(python, data, chains, steps // 10)) * 10
        yield what, "SGLD of `posteriors`, a call for each step", million * mine, million * other


def posteriors_seconds(python: str, data: Any, chains: int, steps: int) -> list[float]:
    """Processor time of runs of `posteriors` in a process of its own, with one thread."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "data.npz")
        np.savez(path, x=data[0], y=data[1])
        words = [python, Path(__file__).with_name("posteriors_sgld.py"), path, chains, steps, BATCH]
        done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{python} must have torch, posteriors and numpy; got {done.stderr.strip().splitlines()[-1]}")
    seconds: list[float] = json.loads(done.stdout)
    return seconds


def reports() -> Iterator[Row]:
    """Two runs with four functionals: the comparison with its page, and tables and figures of ArviZ for both runs."""
    rng = np.random.default_rng(0)
    runs = {
        name: make_tree({f"b{k}": rng.normal(size=(4, 1000)) for k in range(4)}, kind=name.lower())
        for name in ("SGD", "NUTS")
    }
    folder = Path(tempfile.mkdtemp())

    def by_hand() -> None:
        for name, run in runs.items():
            (folder / f"{name}.html").write_text(az.summary(run).to_html(), encoding="utf-8")
            for plot in ("dist", "trace", "rank", "ess", "autocorr", "pair"):
                getattr(az, f"plot_{plot}")(run, backend="matplotlib")
                plt.gcf().savefig(folder / f"{name}-{plot}.svg")
                plt.close("all")
        az.plot_forest(runs, backend="matplotlib")
        plt.gcf().savefig(folder / "forest.svg")
        plt.close("all")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield (
            "page of two runs, four functionals, with checks and verdict",
            ("`az.summary` and seven `az.plot_*`, no checks between the runs"),
            *medians(lambda: sgdvi.compare(runs).to_html(folder / "report.html"), by_hand, 3),
        )


PARTS = {"laws": lambda _: laws(), "samplers": samplers, "reports": lambda _: reports()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []])
    parser.add_argument("--posteriors", metavar="PYTHON")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    matplotlib.use("agg")
    kept = json.loads(options.json.read_text()) if options.json and options.json.exists() else {}
    print(f"{'what':50s} {'ours, s':>10s} {'theirs, s':>10s} {'ratio':>7s}  beside")
    for name in options.parts or PARTS:
        with jax.enable_x64(name == "laws"):
            rows = []
            for what, beside, mine, other in PARTS[name](options.posteriors):
                rows.append({"what": what, "beside": beside, "ours": mine, "theirs": other})
                print(f"{what:50s} {mine:10.4g} {other:10.4g} {other / mine:7.2g}  {beside}", flush=True)
        kept.setdefault("peers", {})[name] = rows
        if options.json:
            options.json.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""What a campaign counts and prints, and the small run that those on stores use."""

import os
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist

import sgdvi
from sgdvi.samplers.driver import recorder, store_recorder

X = (np.arange(30) - 15) / 8
Y = 0.5 * X + ((np.arange(30) * 7) % 11 - 5) / 4


class Counts(Counter[str]):
    """Outcomes: "clear" (one line), "right" (the true result), "silent" (a wrong one), "raw" (any other error)."""

    def report(self, name: str) -> str:
        """Return the line that a campaign prints."""
        kinds = ", ".join(f"{kind} {self[kind]}" for kind in ("clear", "right", "raw", "silent"))
        return f"{name}: tried {sum(self.values())}, {kinds}"


def model(x: Any, y: Any = None) -> None:
    u, w = numpyro.sample("u", dist.Normal(0, 2)), numpyro.sample("w", dist.Normal(0, 2))
    with numpyro.plate("data", len(x)):
        numpyro.sample("y", dist.Normal(u * w * x, 1.0), obs=y)


@cache
def kernel() -> sgdvi.SGD:
    """Return one sampler for all runs of a process: they share what is compiled."""
    return sgdvi.SGD(model, learning_rate=0.05, batch_size=2)


def v(ds: Any) -> Any:
    return ds.u * ds.w


def sample(num_steps: int, **options: Any) -> Any:
    settings: dict[str, Any] = {"num_warmup": 5, "num_chains": 2, "progress": False, "key": jax.random.key(5)}
    settings |= {"functionals": {"v": v}}
    return sgdvi.sample(kernel(), (X, Y), num_steps=num_steps, **(settings | options))


def short_chunks(draws: int = 100) -> None:
    """Let chunks hold about so many draws, and be committed only when they are full."""
    recorder.BUFFER_BYTES = 40 * draws
    store_recorder._COMMIT_SECONDS = 1e9


def values(tree: Any, draws: int | None = None) -> dict[str, bytes]:
    return {
        f"{group}/{name}": np.asarray(one[:, :draws] if "draw" in one.dims and one.ndim > 1 else one).tobytes()
        for group in ("posterior", "sample_stats")
        for name, one in tree[group].data_vars.items()
    }


def environment() -> dict[str, str]:
    """Return that of a process that imports this folder's files."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent.parent), *sys.path])}

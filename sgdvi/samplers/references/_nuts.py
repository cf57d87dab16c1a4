"""The posterior by Hamiltonian Monte Carlo: NumPyro's NUTS on the same model and data."""

import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from numpyro.infer import NUTS
from tqdm.auto import tqdm

from sgdvi._internal.check import require, whole
from sgdvi.draws.tree import NUTS_FIELDS, from_nuts
from sgdvi.problem.all_rows import full_model
from sgdvi.problem.base import Problem, require_posterior

if TYPE_CHECKING:
    from sgdvi.draws.tree import DataTree

# Above NumPyro's 0.8: the posterior of a product u w is a curved ridge, on which longer steps diverge.
TARGET_ACCEPTANCE = 0.95
# Steps between looks at the clock and at Ctrl-C.
_CHUNK = 16
_FEWEST = 4
# Seconds: who would wait longer is told what fewer draws take.
PATIENCE = 300.0
# The speed is judged after so many seconds and so much of the run.
_FIRST_LOOK, _FIRST_SHARE = 15.0, 0.1
_FEWEST_SUGGESTED = 100
# Chunks whose speed counts.
_LOOKED_AT = 5


class Stopped(KeyboardInterrupt):
    """Ctrl-C in the middle of `nuts`; `tree` holds the draws that were made by then."""

    def __init__(self, tree: "DataTree"):
        super().__init__("interrupted")
        self.tree = tree


def nuts(
    problem: Problem,
    key: jax.Array,
    num_warmup: int = 1000,
    num_samples: int = 2000,
    num_chains: int = 4,
    target_acceptance: float = TARGET_ACCEPTANCE,
    progress: bool = False,
    say: Callable[[str], None] | None = None,
) -> "DataTree":
    """Draw from the posterior of a problem with NUTS.

    Parameters
    ----------
    problem
        Model and data.
    key
        JAX key: the same key gives the same draws.
    num_warmup, num_samples
        Steps of adaptation, and draws kept, per chain.
    num_chains
        Chains, run side by side on one device.
    target_acceptance
        Acceptance that the step size is adapted to, between 0 and 1; higher means shorter steps.
    progress
        Whether to show a bar.
    say
        Called once, with a sentence, where the run would take more than five minutes at the speed seen.

    Returns
    -------
    DataTree
        Kind ``"nuts"``, with energy, divergences and tree depth in ``sample_stats`` and the settings as JSON in the
        attribute ``config_json``. Draws have the caller's float type.

    Raises
    ------
    InputError
        If the posterior is known to be improper, a count is not a whole number above zero, or the acceptance is not
        between 0 and 1.
    Stopped
        On Ctrl-C when at least four draws per chain have been made; it holds them.
    """
    require_posterior(problem)
    settings = {
        "num_warmup": whole("num_warmup", num_warmup, least=1),
        "num_samples": whole("num_samples", num_samples, least=4),
        "num_chains": whole("num_chains", num_chains, least=1),
    }
    rule = "target_acceptance must be a number between 0 and 1"
    require(0 < target_acceptance < 1, rule, target_acceptance)
    args, kwargs = problem.arguments
    kernel = NUTS(full_model(problem.model, (args, kwargs)), target_accept_prob=target_acceptance)
    started = time.perf_counter()
    state = kernel.init(jax.random.split(key, num_chains), num_warmup, None, args, kwargs)
    chunks: list[Any] = []
    total = num_warmup + num_samples

    def tree() -> "DataTree":
        joined = jax.tree.map(lambda *parts: np.moveaxis(np.concatenate(parts), 0, 1), *chunks)
        made = len(jax.tree.leaves(joined)[0][0])
        config = {**settings, "num_samples": made, "target_acceptance": target_acceptance}
        config["seconds"] = time.perf_counter() - started
        return from_nuts(*joined, limit=kernel._max_tree_depth, dims=problem.dims, config=config)

    try:
        steps = _chunks(kernel, state, args, kwargs, num_warmup, total)
        with closing(steps), tqdm(total=total, desc="NUTS", disable=not progress) as bar:
            last: deque[tuple[float, int]] = deque(maxlen=_LOOKED_AT)
            for done, drawn in steps:
                chunks += [drawn] if drawn is not None else []
                bar.update(done - bar.n)
                seconds = time.perf_counter() - started
                last.append((seconds, done))
                if say and seconds > _FIRST_LOOK and done >= _FIRST_SHARE * total:
                    slow = suggestion(at_last(last, total) / total * done, done, num_warmup, num_samples)
                    if slow:
                        say(slow)
                    say = None
    except KeyboardInterrupt as error:
        if sum(len(jax.tree.leaves(drawn)[0]) for drawn in chunks) < _FEWEST:
            raise
        raise Stopped(tree()) from error
    return tree()


def at_last(last: Sequence[tuple[float, int]], total: int) -> float:
    """Return the seconds that the whole run takes if it goes on as fast as at last, from pairs (seconds, steps done).

    The first steps are no measure: they compile, and their trees are deep until the scales have been adapted.
    """
    (before, first), (seconds, done) = last[0], last[-1]
    each = (seconds - before) / (done - first) if done > first else seconds / done
    return seconds + each * (total - done)


def suggestion(seconds: float, done: int, num_warmup: int, num_samples: int) -> str:
    """Say how long a run takes that has made `done` steps in so many seconds, and what would take five minutes.

    Empty where it takes less than that.
    """
    each = seconds / done
    whole = each * (num_warmup + num_samples)
    if whole <= PATIENCE:
        return ""
    share = num_samples / (num_warmup + num_samples)
    fewer = int(share * PATIENCE / each) // 50 * 50
    text = f"NUTS takes about {whole / 60:.0f} minutes for {num_samples} draws per chain at this speed"
    if fewer < _FEWEST_SUGGESTED:
        return f"{text}; Ctrl-C keeps the draws made by then"
    return f"{text}; --nuts-draws {fewer} (nuts_draws={fewer}) takes about {PATIENCE / 60:.0f}"


def _chunks(
    kernel: NUTS, state: Any, args: Any, kwargs: Any, num_warmup: int, total: int
) -> Generator[tuple[int, Any]]:
    """Take the steps of all chains, some at a time; yield the steps done, and the draws of these, axes (draw, chain).

    Draws are a pair: sites, and the statistics `NUTS_FIELDS`; None in the warmup.
    """
    post = jax.vmap(jax.vmap(kernel.postprocess_fn(args, kwargs)))

    @jax.jit
    def take(state: Any, count: int) -> Any:
        def step(i: Any, carry: Any) -> Any:
            state, kept = carry
            state = kernel.sample(state, args, kwargs)
            return state, jax.tree.map(lambda all_, new: all_.at[i].set(new), kept, picked(state))

        blank = jax.tree.map(lambda leaf: jnp.zeros((_CHUNK, *leaf.shape), leaf.dtype), picked(state))
        state, (z, fields) = lax.fori_loop(0, count, step, (state, blank))
        return state, (post(z), fields)

    def picked(state: Any) -> Any:
        return state.z, {name: getattr(state, name) for name in NUTS_FIELDS}

    done = 0
    while done < total:
        count = min(_CHUNK, (num_warmup if done < num_warmup else total) - done)
        state, drawn = take(state, count)
        drawn = jax.tree.map(lambda leaf, count=count: np.asarray(leaf[:count]), drawn)
        warm = done < num_warmup
        done += count
        yield done, None if warm else drawn

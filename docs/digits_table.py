"""The table of the page on predictions: ten ways to train the network of the model digits, against long HMC.

python docs/digits_table.py             # three seeds, some five minutes on two cores; writes the table
python docs/digits_table.py --quick     # one seed and short runs, under a minute; prints it only
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import sgdvi
from sgdvi.models import digits

TARGET = Path(__file__).parent.parent / "models" / "data" / "digits_table.json"
COLUMNS = ("error", "log_score", "brier", "calibration_error", "distance", "agreement", "trusted", "not", "rhat")
BATCH, MEMBERS, LAPLACE_DRAWS, SEEDS, STEPS = 50, 10, 200, 3, 2000
IMAGES, LABELS = digits.test_set()
PROBLEM = sgdvi.zoo.load("digits")
TEST = jnp.asarray(IMAGES, jnp.float32)
TRAIN = tuple(jnp.asarray(each, dtype) for each, dtype in zip(PROBLEM.data, (jnp.float32, jnp.int32), strict=True))
SHAPES = {"hidden": (64, 32), "hidden_bias": (32,), "output": (32, 10), "output_bias": (10,)}


def starts(key: jax.Array, count: int) -> dict[str, jax.Array]:
    """Return small random weights, one set per chain."""
    keys = jax.random.split(key, len(SHAPES))
    return {
        name: jax.random.normal(k, (count, *shape)) / shape[0] ** 0.5 if len(shape) > 1 else jnp.zeros((count, *shape))
        for k, (name, shape) in zip(keys, SHAPES.items(), strict=True)
    }


def run(sampler: sgdvi.Sampler, key: jax.Array, warmup: int, steps: int, chains: int = 4, draws: int = 100) -> Any:
    """Return the predictions of a run, (chain, draw, point, class)."""
    tree = sgdvi.sample(
        sampler,
        PROBLEM.data,
        key=key,
        num_warmup=warmup,
        num_steps=steps,
        num_chains=chains,
        init=starts(jax.random.fold_in(key, 1), chains),
        thinning=max(1, steps // draws),
        progress=False,
    )
    return predicted({name: jnp.asarray(tree["posterior"][name].values) for name in SHAPES})


@jax.jit
def predicted(draws: dict[str, jax.Array]) -> jax.Array:
    """Return the probabilities of the classes of the test images for draws of the weights, (chain, draw, ...)."""
    return jax.lax.map(lambda chain: jax.lax.map(lambda one: digits.probabilities(one, TEST), chain), draws)


def methods(steps: int) -> dict[str, Callable[[jax.Array], Any]]:
    """Return name -> function of a key that returns predictions."""
    model, epochs = PROBLEM.model, steps // 20
    sgd = sgdvi.SGD(model, learning_rate=0.1, batch_size=BATCH)
    swag = sgdvi.SWAG(sgd, burn_in=steps // 2, period=20, snapshots=epochs // 2, rank=20)
    cyclical = sgdvi.CyclicalSGMCMC(model, 0.3, BATCH, cycle_length=steps // 8, exploration=0.7)
    adam = sgdvi.SGD(model, optax.adam(2e-3), batch_size=BATCH)
    decay = optax.cosine_decay_schedule(5e-3, 2 * steps)
    adamw = sgdvi.SGD(model, optax.adamw(decay, weight_decay=1e-3), batch_size=BATCH)
    return {
        "SGD": lambda key: run(sgd, key, steps, steps),
        "SWAG": lambda key: run(swag, key, steps, 100),
        "SGLD": lambda key: run(sgdvi.SGLD(model, 0.2, BATCH), key, steps, 3 * steps),
        "SGHMC": lambda key: run(sgdvi.SGHMC(model, 0.01, BATCH), key, steps // 10, steps // 4),
        "cyclical SGLD": lambda key: run(cyclical, key, steps // 8, 2 * steps),
        "deep ensemble": lambda key: run(adam, key, steps // 2, 1, MEMBERS, 1),
        "Laplace, last layer": lambda key: laplace(key, steps // 2),
        "Adam": lambda key: run(adam, key, steps, steps),
        "AdamW, cosine": lambda key: run(adamw, key, steps, steps),
        "dropout and shifts": lambda key: augmented(key, steps),
    }


INDEPENDENT = ("deep ensemble", "Laplace, last layer")


def laplace(key: jax.Array, steps: int) -> np.ndarray:
    """Return predictions of Laplace's approximation in the last layer, features held at those of one trained network.

    Its precision is that of the generalised Gauss-Newton matrix, sum over the rows of (diag(p) - p p') (x) f f', plus
    the prior's (Kristiadi, Hein and Hennig 2020, ICML); no library for it runs on this stack.
    """
    adam = sgdvi.SGD(PROBLEM.model, optax.adam(2e-3), batch_size=BATCH)
    tree = sgdvi.sample(
        adam, PROBLEM.data, key=key, num_warmup=steps, num_steps=1, num_chains=1, init=starts(key, 1), progress=False
    )
    sites = {name: jnp.asarray(tree["posterior"][name].values[0, 0]) for name in SHAPES}

    def features(images: jax.Array) -> jax.Array:
        hidden = jnp.tanh(images @ sites["hidden"] + sites["hidden_bias"])
        return jnp.concatenate([hidden, jnp.ones((len(images), 1))], axis=1)

    train, mean = features(TRAIN[0]), jnp.concatenate([sites["output"], sites["output_bias"][None]])
    p = jax.nn.softmax(train @ mean)
    curvature = p[:, :, None] * (jnp.eye(digits.CLASSES) - p[:, None, :])
    precision = jnp.einsum("nab,ni,nj->iajb", curvature, train, train).reshape(mean.size, mean.size)
    root = jnp.linalg.cholesky(precision + jnp.eye(mean.size))
    noise = jax.random.normal(jax.random.fold_in(key, 2), (mean.size, LAPLACE_DRAWS))
    moves = jax.scipy.linalg.solve_triangular(root.T, noise, lower=False).T.reshape(-1, *mean.shape)
    return np.asarray(jax.nn.softmax(features(TEST) @ (mean + moves)))[None]


def augmented(key: jax.Array, steps: int, chains: int = 4, keep: int = 50) -> np.ndarray:
    """Return predictions along a loop of Adam, as it is, with dropout and images moved sideways by up to one pixel."""
    optimizer = optax.adam(2e-3)

    def loss(params: dict[str, jax.Array], key: jax.Array) -> jax.Array:
        rows, moves, drops = jax.random.split(key, 3)
        here = jax.random.randint(rows, (BATCH,), 0, digits.NUM_TRAIN)
        shift = jax.random.randint(moves, (), -1, 2)
        images = jnp.roll(TRAIN[0][here].reshape(-1, 8, 8), shift, axis=2).reshape(-1, 64)
        hidden = jnp.tanh(images @ params["hidden"] + params["hidden_bias"])
        hidden = hidden * jax.random.bernoulli(drops, 0.8, hidden.shape) / 0.8
        logits = hidden @ params["output"] + params["output_bias"]
        decay = sum((each**2).sum() for each in jax.tree.leaves(params)) / (2 * digits.NUM_TRAIN)
        return optax.softmax_cross_entropy_with_integer_labels(logits, TRAIN[1][here]).mean() + decay

    def step(state: Any, key: jax.Array) -> tuple[Any, None]:
        params, moments = state
        updates, moments = optimizer.update(jax.grad(loss)(params, key), moments)
        return (optax.apply_updates(params, updates), moments), None

    def block(state: Any, key: jax.Array) -> tuple[Any, jax.Array]:
        state, _ = jax.lax.scan(step, state, jax.random.split(key, steps // keep))
        return state, digits.probabilities(state[0], TEST)

    @jax.jit
    def chain(params: dict[str, jax.Array], key: jax.Array) -> jax.Array:
        first, then = jax.random.split(key)
        state, _ = jax.lax.scan(step, (params, optimizer.init(params)), jax.random.split(first, steps))
        return jax.lax.scan(block, state, jax.random.split(then, keep))[1]

    init = starts(key, chains)
    keys = jax.random.split(key, chains)
    return np.stack([np.asarray(chain({n: v[c] for n, v in init.items()}, keys[c])) for c in range(chains)])


def measured(steps: int, seeds: int) -> Iterator[tuple[str, dict[str, float | None]]]:
    """Yield the numbers of every method and seed; those of the reference first."""
    reference, rhat = digits.reference()
    for number, (name, method) in enumerate(methods(steps).items()):
        for seed in range(seeds):
            begin = time.process_time()
            predictions = method(jax.random.fold_in(jax.random.key(seed), number))
            seconds = time.process_time() - begin
            runs, alone = {name: predictions, "HMC": reference}, [name] if name in INDEPENDENT else []
            compared = sgdvi.compare_predictions(runs, "HMC", LABELS, independent=alone).runs
            if not number and not seed:
                held = {**compared["HMC"].numbers, "rhat": float(rhat.max())}
                yield "HMC", {column: held.get(column) for column in (*COLUMNS, "seconds")}
            counts = {word: float(points) for word, points in compared[name].counts.items()}
            numbers = {**compared[name].numbers, **counts, "seconds": seconds}
            yield name, {column: numbers.get(column) for column in (*COLUMNS, "seconds")}


def table(rows: dict[str, list[dict[str, float | None]]]) -> str:
    """Return the Markdown table: mean over the seeds, and where there are several their standard deviation."""
    heads = ("wrong, %", "log score", "Brier", "ECE", "mean TV", "same class, %", "trusted", "not", "R-hat", "s")
    lines = ["| | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(heads)]
    for name, seeds in rows.items():
        cells = [_cell([seed.get(column) for seed in seeds], column) for column in (*COLUMNS, "seconds")]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(values: list[float | None], column: str) -> str:
    if any(value is None for value in values):
        return ""
    scale = 100 if column in ("error", "agreement") else 1
    places = {"error": 1, "agreement": 1, "trusted": 0, "not": 0, "rhat": 2}.get(column, 3)
    each = scale * np.array(values, float)
    if column == "seconds":
        return f"{each.min():.0f}"  # the others compile
    spread = f" ± {each.std(ddof=1):.{places}f}" if len(each) > 1 else ""
    return f"{each.mean():.{places}f}{spread}"


def main() -> None:
    """Run, print and write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    rows: dict[str, list[dict[str, float | None]]] = {}
    for name, numbers in measured(STEPS // 2 if quick else STEPS, 1 if quick else SEEDS):
        rows.setdefault(name, []).append(numbers)
        sys.stderr.write(f"{name} {numbers}\n")
    sys.stdout.write(table(rows) + "\n")
    if not quick:
        TARGET.write_text(json.dumps(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

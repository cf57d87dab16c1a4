"""Cost of the law of balance: ``python tests/benchmarks/bench_symmetry.py``. Wall-clock seconds of one process."""

import time
from statistics import median
from typing import Any

import jax
import numpy as np

from sgdvi import find_symmetries, gradient_noise
from sgdvi.symmetry import Symmetry

ROUNDS, ROWS, BLOCK = 7, 1000, 64


def mlp(*sizes: int, rows: int) -> tuple[Any, Any, Any]:
    """A ReLU network with biases: per-sample loss, parameters, data."""
    rng = np.random.default_rng(0)
    params = [
        {"w": rng.normal(size=(a, b)) / np.sqrt(a), "b": 0.1 * rng.normal(size=b)}
        for a, b in zip(sizes[:-1], sizes[1:], strict=True)
    ]
    data = rng.normal(size=(rows, sizes[0])), rng.normal(size=(rows, sizes[-1]))

    def loss(layers: Any, batch: Any) -> Any:
        x, y = batch
        for layer in layers[:-1]:
            x = jax.nn.relu(x @ layer["w"] + layer["b"])
        return ((x @ layers[-1]["w"] + layers[-1]["b"] - y) ** 2).sum(-1)

    return loss, params, data


def neurons(params: Any, loss: Any, data: Any) -> list[Symmetry]:
    """The scaling of every hidden neuron, as `find_symmetries` would return it (it takes a while at this size)."""
    from sgdvi.symmetry._loss import SampleLoss
    from sgdvi.symmetry._slices import Group

    checked = SampleLoss.of(loss, params, data)
    place = {label: number for number, label in enumerate(checked.labels)}
    found = []
    for layer in range(len(params) - 1):
        for unit in range(params[layer]["b"].size):
            own = [(f"{layer}.b", (unit,), 1), (f"{layer}.w", (None, unit), 1), (f"{layer + 1}.w", (unit, None), -1)]
            found.append(Symmetry(tuple(Group(place[name], name, at, power) for name, at, power in own), checked))
    return found


def seconds(call: Any) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def noise_against_one_pass() -> None:
    loss, params, (x, y) = mlp(120, 256, 256, 10, rows=ROWS)
    size = sum(leaf.size for leaf in jax.tree.leaves(params))
    symmetries = neurons(params, loss, (x, y))
    from sgdvi.symmetry import GradientNoise

    checked = symmetries[0].loss
    with jax.enable_x64(True):
        one = jax.grad(lambda p, row: loss(p, jax.tree.map(lambda leaf: leaf[None], row))[0])
        step = jax.jit(jax.vmap(one, (None, 0)))
        placed = jax.tree.map(jax.numpy.asarray, params)

        def one_pass(block: int) -> None:
            for start in range(0, ROWS, block):
                rows = x[start : start + block], y[start : start + block]
                jax.block_until_ready(step(placed, rows))

        def charge_terms() -> None:
            noise = GradientNoise.at(checked, checked.leaves)
            for symmetry in symmetries:
                symmetry.noise_terms(params, noise=noise)

        one_pass(BLOCK), one_pass(ROWS), charge_terms()
        timed = [(seconds(charge_terms), seconds(lambda: one_pass(BLOCK)), seconds(lambda: one_pass(ROWS)))
                 for _ in range(ROUNDS)]  # fmt: skip
    own, blocks, whole = (median(column) for column in zip(*timed, strict=True))
    ratios = median(t[0] / t[1] for t in timed), median(t[0] / t[2] for t in timed)
    print(f"{size:,} parameters, {ROWS} samples, both noise terms of {len(symmetries)} neurons: {own:.2f} s")
    print(f"one vmapped pass of per-sample gradients, blocks of {BLOCK}: {blocks:.2f} s, ratio {ratios[0]:.2f}")
    print(f"the same, all samples at once:                      {whole:.2f} s, ratio {ratios[1]:.2f}")
    again = gradient_noise(loss, params, (x, y))
    assert all(np.isfinite(leaf).all() for leaf in again.variance)


def detection() -> None:
    loss, params, data = mlp(20, 128, 128, 5, rows=200)
    size = sum(leaf.size for leaf in jax.tree.leaves(params))
    found = []
    spent = time.process_time()
    wall = seconds(lambda: found.append(find_symmetries(loss, params, data, key=jax.random.key(0))))
    spent, number = time.process_time() - spent, [symmetry.kind for symmetry in found[0]].count("rescaling")
    print(f"detection, 20-128-128-5, {size:,} parameters, {number} scalings: {wall:.1f} s, of processor {spent:.1f} s")


if __name__ == "__main__":
    noise_against_one_pass()
    detection()

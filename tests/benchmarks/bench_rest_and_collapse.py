"""Rest on an orbit and collapse, predicted and by SGD: ``python tests/benchmarks/bench_rest_and_collapse.py``.

Draws, for docs/symmetry.md, the place of u (w x)^2 on its orbit against the steps of SGD, from both sides of the rest
that is predicted from one minimum; and the exponent of noise alone at zero against the number of inputs. A minute.
"""

import sys
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import sgdvi
from sgdvi._internal.style.canvas import COLORS, save_figure
from sgdvi.experiment.claims.collapse_exponent import noise_alone

PALETTE = list(COLORS.values())
RATE, CHAINS, POINTS = 0.002, 32, 60
INPUTS = (1, 2, 3, 4, 6, 8, 10)
SPEED, STEPS = 0.05, 12_000


def squared(params: Any, batch: Any) -> Any:
    """Losses of u (w x)^2."""
    return (params["u"] * (batch[0] @ params["w"]) ** 2 - batch[1]) ** 2


def place(params: Any) -> Any:
    """Logarithm of u^2/|w|^2 over 6: it grows by s along the orbit."""
    return jnp.log(params["u"] ** 2 / (params["w"] @ params["w"])) / 6


def path(start: Any, data: Any, gamma: float, block: int) -> np.ndarray:
    """Mean place after every block of steps with one row each, over the chains."""

    def step(params: Any, key: jax.Array) -> tuple[Any, None]:
        row = jax.random.randint(key, (1,), 0, len(data[0]))
        slope = jax.grad(lambda p: squared(p, (data[0][row], data[1][row])).mean())(params)
        return jax.tree.map(lambda a, b: (1 - 2 * RATE * gamma) * a - RATE * b, params, slope), None

    def chain(key: jax.Array) -> Any:
        def some(params: Any, key: jax.Array) -> Any:
            params = jax.lax.scan(step, params, jax.random.split(key, block))[0]
            return params, place(params)

        return jax.lax.scan(some, jax.tree.map(jnp.asarray, start), jax.random.split(key, POINTS))[1]

    return np.asarray(jax.jit(jax.vmap(chain))(jax.random.split(jax.random.key(5), CHAINS))).mean(0)


def draw_rest(axes: Any) -> None:
    """Draw the way to the rest, with and without weight decay."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    data = jnp.asarray(x), jnp.asarray((x @ [1.0, -0.5, 0.4]) ** 2 + 0.5 * rng.normal(size=60))
    first = {"u": np.array(1.0), "w": np.array([1.0, -0.4, 0.3])}
    symmetry = sgdvi.find_symmetries(squared, first, data, key=jax.random.key(0))[0]
    for gamma, color in ((0.0, PALETTE[1]), (0.05, PALETTE[2])):
        rest = symmetry.equilibrium(RATE, gamma, learning_rate=RATE)
        block = int(6 * float(rest.relaxation_steps) / POINTS)
        steps = block * np.arange(1, POINTS + 1)
        for side in (0.15, -0.15):
            seen = path(symmetry.transform(rest.params, np.exp(side)), data, gamma, block)
            axes.plot(steps, seen, color=color)
            print(f"gamma {gamma:g}, from {side:+}: {seen[POINTS // 2 :].mean():.3f}", flush=True)
        aim = float(place(rest.params))
        axes.axhline(aim, linestyle="--", color=color, label=f"predicted, decay {gamma:g}")
        print(f"gamma {gamma:g}, predicted: {aim:.3f}")
    axes.set(xlabel="steps of SGD", ylabel="place on the orbit, log(u²/|w|²)/6", xscale="log")
    axes.legend(frameon=False)


def draw_collapse(axes: Any) -> None:
    """Draw the exponents of noise alone at zero."""
    rng = np.random.default_rng(0)
    found, errors = [], []
    for count in INPUTS:
        # slopes 2 x y of normal rows, with no skew
        x, y = rng.normal(size=(4_000, count)), np.ones(4_000)
        loss = sgdvi.Loss(
            lambda p, b: (p["u"] * (b[0] @ p["w"]) - b[1]) ** 2, {"u": np.array(1.0), "w": np.ones(count)}
        )
        data = np.concatenate([x, x]), np.concatenate([y, -y])
        result = sgdvi.collapse(loss, data, learning_rate=SPEED, batch_size=1, num_steps=STEPS)
        unit = SPEED**2 * np.mean((2 * y[:, None] * x) ** 2)
        found.append(result.exponent / unit)
        errors.append(result.error / unit)
        print(f"{count} inputs: {found[-1]:.3f} ± {errors[-1]:.3f}, {noise_alone(count):.3f} in theory", flush=True)
    axes.errorbar(INPUTS, found, 3 * np.array(errors), fmt="o", color=PALETTE[0], label="collapse, 3 standard errors")
    theory = [noise_alone(count) for count in INPUTS]
    axes.plot(INPUTS, theory, color="black", linewidth=1, label="small steps, in theory")
    axes.axhline(0, linestyle=":", color="0.5")
    axes.set(xlabel="inputs", ylabel="exponent in η² E[q²]; collapse below 0")
    axes.legend(frameon=False)


if __name__ == "__main__":
    with jax.enable_x64(True):
        figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
        draw_rest(left)
        draw_collapse(right)
        save_figure(figure, sys.argv[1] if len(sys.argv) > 1 else "docs/_static/rest-and-collapse.png")

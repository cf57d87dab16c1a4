"""Figure 2: a ReLU network comes to noise balance, neuron by neuron and with both matrices as a whole."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from matplotlib.axes import Axes

from sgdvi._internal.style.palette import Theme, run_colors
from sgdvi.experiment.claims._chains import over_chains, run_chains
from sgdvi.experiment.claims._claim import Measured, Run, Verdict, claim, verdict

INPUTS, WIDTH, ROWS, SEEDS, RATE = 20, 200, 200, 4, 0.006
MOST, PART = 0.15, 0.25


def loss(params: Any, batch: Any) -> Any:
    """Return the squared error of each row."""
    x, y = batch
    return ((jax.nn.relu(x @ params["in"]) @ params["out"] - y) ** 2).sum(-1)


def step(params: Any, x: Any, y: Any) -> Any:
    """One step of SGD of all networks (leading axis), each on its own row."""
    slopes = jax.vmap(jax.grad(lambda p, row: loss(p, row).mean()))(params, (x.swapaxes(0, 1), y.swapaxes(0, 1)))
    return jax.tree.map(lambda p, g: p - RATE * g, params, slopes)


def noise(params: Mapping[str, np.ndarray], x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return Tr C of the incoming and of the outgoing weights of every neuron."""
    hidden = np.maximum(x @ params["in"], 0)
    slopes = 2 * (hidden @ params["out"] - y)
    back = (slopes @ params["out"].T) * (hidden > 0)
    incoming = (back**2 * (x**2).sum(1, keepdims=True)).mean(0) - ((x.T @ back / len(x)) ** 2).sum(0)
    outgoing = (hidden**2 * (slopes**2).sum(1, keepdims=True)).mean(0) - ((hidden.T @ slopes / len(x)) ** 2).sum(1)
    return incoming, outgoing


def imbalance(one: np.ndarray, two: np.ndarray) -> float:
    """Return |difference| over sum, the median over the entries."""
    return float(np.median(np.abs(one - two) / (one + two)))


def draw(axes: Sequence[Axes], curves: Mapping[str, Any], theme: Theme) -> None:
    """Draw imbalances of noise and norms per neuron, and the ratios of the two matrices as a whole."""
    left, right = axes
    colors = run_colors(theme)
    for name, color in (("noise", colors["SGD"]), ("norms", colors["NUTS"])):
        left.plot(curves["steps"], np.asarray(curves[f"{name} per neuron"], float).T, color=color, linewidth=1.0)
        right.plot(curves["steps"], np.asarray(curves[f"{name} overall"], float).T, color=color, linewidth=1.0)
        left.plot([], [], color=color, label=name)
    right.axhline(1, color=theme.ink, linewidth=2.0, label="balance")
    left.set(title="per neuron", xlabel="steps of SGD", ylabel="|u - w| / (u + w), median", yscale="log")
    right.set(title="two matrices", xlabel="steps of SGD", ylabel="U side / W side", yscale="log")
    left.legend()
    right.legend()


@claim(
    "F2",
    "A ReLU network comes to balance",
    paper="figure 2",
    says="In a two-layer ReLU network the noise of both layers comes to balance exactly, the norms approximately.",
    setting="20-{width}-20, {rows} rows, x ~ N(0, I), y = x + N(0, I); learning rate 0.006, batches of 1, {steps} "
    "steps; {seeds} seeds of start and minibatches, incoming norms ten times the outgoing at the start.",
    how="Noise terms Tr C of all rows and squared norms of the two sides: per neuron, |difference| over sum, median "
    "over neurons; and of the two matrices as a whole, U side over W side; mean over the last third of the run.",
    criterion="In every seed (seeds are the unit) the noise imbalance per neuron is below 0.15 and below a quarter "
    "of that of the start, and the two matrices' noise within 15 % of each other. At single points noise fluctuates "
    "around balance. The norms are within a factor 2 of each other, from 10.",
    expected=Verdict.HOLDS,
    draw=draw,
    panels=2,
    caption="Four seeds: imbalance of each neuron (median), and ratios of the two matrices.",
)
def row(run: Run) -> Measured:
    """Train four networks and measure noise and norms along the way."""
    rng, width, steps, points = run.rng(), run.size(WIDTH, 50), run.size(18_000, 6_000), 12
    x = rng.standard_normal((ROWS, INPUTS))
    y = x + rng.standard_normal((ROWS, INPUTS))
    start = {
        "in": rng.standard_normal((SEEDS, INPUTS, width)) / np.sqrt(INPUTS),
        "out": rng.standard_normal((SEEDS, width, INPUTS)) / np.sqrt(10 * INPUTS),
    }
    kept = run_chains(step, start, (x, y), run.rng(1), steps, chains=SEEDS, every=steps // points)
    path = {name: np.concatenate([start[name][None], kept[name]]) for name in start}
    measured = np.empty((4, points + 1, SEEDS))
    for k in range(points + 1):
        for seed in range(SEEDS):
            params = {name: leaf[k, seed] for name, leaf in path.items()}
            sides = noise(params, x, y)
            norms = (params["in"] ** 2).sum(0), (params["out"] ** 2).sum(1)
            measured[:, k, seed] = (
                imbalance(*sides), imbalance(*norms), sides[0].sum() / sides[1].sum(), norms[0].sum() / norms[1].sum()
            )  # fmt: skip
    late = measured[:, -(points // 3) :].mean(1)
    (left, error), (first, _) = over_chains(late[0]), over_chains(measured[0, 0])
    balanced = (late[0] < MOST).all() and (late[0] < PART * measured[0, 0]).all()
    whole = (np.abs(late[2] - 1) < MOST).all()
    near = (np.abs(np.log2(late[3])) < 1).all()
    names = ("noise per neuron", "norms per neuron", "noise overall", "norms overall")
    return Measured(
        verdict(balanced, whole, near),
        "Per neuron the noise imbalance falls from {first:.2f} to {noise:.3f} ± {error:.3f}, that of the norms to "
        "{norms:.2f}; of the two matrices the noise ratio is {whole:.3f}, the norm ratio {ratio:.2f} (from "
        "{before:.0f}).",
        {"first": first, "noise": left, "error": error, "norms": float(late[1].mean()), "whole": float(late[2].mean()),
         "ratio": float(late[3].mean()), "before": float(measured[3, 0].mean()), "width": width, "rows": ROWS,
         "steps": steps, "seeds": SEEDS},
        {"steps": np.arange(points + 1) * (steps // points),
         **{name: measured[k].T for k, name in enumerate(names)}},
    )  # fmt: skip

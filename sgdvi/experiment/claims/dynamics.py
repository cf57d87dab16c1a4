"""Figure 1: gradient descent, SGD and injected noise on (u w x - y)^2."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from sgdvi._internal.style.palette import Theme, run_colors
from sgdvi.experiment.claims import _paper
from sgdvi.experiment.claims._claim import ERRORS, Measured, Run, Verdict, claim, verdict
from sgdvi.laws.moments import Moments

RATE, SEEDS, STEPS = 0.01, 200, 3000
KINDS = ("gradient descent", "SGD", "injected noise")


def draw(axes: Sequence[Axes], curves: Mapping[str, Any], theme: Theme) -> None:
    """Draw the charge: 90 % of the seeds, their mean, and what the law of balance says of it."""
    color = run_colors(theme)["SGD"]
    for ax, kind in zip(axes, KINDS, strict=True):
        low, mean, high, said = np.asarray(curves[kind], float)
        ax.fill_between(curves["steps"], low, high, color=color, alpha=0.25, linewidth=0, label="90 % of seeds")
        ax.plot(curves["steps"], mean, color=color, label="mean")
        ax.plot(curves["steps"], said, color=theme.ink, linestyle="--", label="law of balance")
        ax.set(title=kind, xlabel="steps", ylabel="u² - w²")
    axes[0].legend()


@claim(
    "F1",
    "Three kinds of descent",
    paper="figure 1",
    says="On (u w x - y)^2 gradient descent conserves u^2 - w^2, SGD lets it decay, and injected noise makes it "
    "diffuse.",
    setting="{rows} rows, x in (0.5, 1, 1.5), y = x + uniform noise of variance 1; learning rate 0.01, batches of 1; "
    "{seeds} seeds of {steps} steps from u = 1.4, w = 0.5; injected noise of variance 2 eta^2 per step.",
    how="Mean of the charge less its own predicted drift, -eta^2 E[slope^2] c summed along each run, over its "
    "standard error; what gradient descent keeps; the variance under injected noise over 8 eta^2 (u^2 + w^2) summed.",
    criterion=f"|z| below {ERRORS:g} for SGD and injected noise: the difference is a martingale, so that is a null "
    "of 6e-5. "
    f"Gradient descent keeps above 0.97 (it loses a share of order eta). Injected variance within {ERRORS:g} "
    "sqrt(2/(seeds - 1)) of the prediction. SGD keeps less than 0.7.",
    expected=Verdict.HOLDS,
    draw=draw,
    panels=3,
    caption="The charge under three kinds of descent.",
)
def row(run: Run) -> Measured:
    """Descend in three ways."""
    x, y = _paper.bounded(run, 1.0)
    m = Moments.from_data(x, y)
    values: dict[str, Any] = {"rows": len(x), "seeds": SEEDS, "steps": STEPS}
    curves: dict[str, Any] = {"steps": np.arange(0, STEPS + 1, 50)}
    for stream, kind in enumerate(KINDS, 1):
        rng = run.rng(stream)
        u, w = np.full(SEEDS, 1.4), np.full(SEEDS, 0.5)
        path, drift, growth = [u**2 - w**2], np.zeros(SEEDS), np.zeros(SEEDS)
        said = [path[0].mean()]
        for _ in range(STEPS):
            v = u * w
            slope = 2 * (float(m.beta1) * v - float(m.beta2))
            square = slope**2 + (4 * m.noise(v) if kind == "SGD" else 0.0)
            if kind == "SGD":
                rows = rng.integers(len(x), size=SEEDS)
                slope = 2 * x[rows] * (v * x[rows] - y[rows])
            drift -= RATE**2 * square * path[-1]
            growth += 8 * RATE**2 * (u**2 + w**2)
            u, w = u - RATE * slope * w, w - RATE * slope * u
            if kind == "injected noise":
                u, w = (side + np.sqrt(2) * RATE * rng.standard_normal(SEEDS) for side in (u, w))
            path.append(u**2 - w**2)
            said.append(path[0].mean() + drift.mean())
        charge = np.array(path)
        low, high = np.quantile(charge[::50], (0.05, 0.95), axis=1)
        curves[kind] = [low, charge[::50].mean(1), high, said[::50]]
        apart = charge[-1] - charge[0] - drift
        name = kind.split(maxsplit=1)[0]
        values[f"{name}_kept"] = float(charge[-1].mean() / charge[0, 0])
        if kind != "gradient descent":
            values[f"{name}_z"] = float(apart.mean() / (apart.std(ddof=1) / np.sqrt(SEEDS)))
        if kind == "injected noise":
            values["variance"] = float(apart.var(ddof=1) / growth.mean())
    room = ERRORS * np.sqrt(2 / (SEEDS - 1))
    return Measured(
        verdict(abs(values["SGD_z"]) < ERRORS, abs(values["injected_z"]) < ERRORS, values["gradient_kept"] > 0.97,
                abs(values["variance"] - 1) < room, values["SGD_kept"] < 0.7),
        "Of the charge gradient descent keeps {gradient_kept:.3f} and SGD {SGD_kept:.3f} (z = {SGD_z:.1f}); injected "
        "noise moves its mean by z = {injected_z:.1f} and gives {variance:.2f} of the variance predicted.",
        values,
        curves,
    )  # fmt: skip

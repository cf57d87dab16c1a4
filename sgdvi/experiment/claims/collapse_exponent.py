"""Beyond the paper: noise alone collapses a neuron on one input, and none on three."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from sgdvi._internal.style.palette import Theme, run_colors
from sgdvi.experiment.claims._claim import ERRORS, Measured, Run, Verdict, below, claim, exceeds, verdict
from sgdvi.noise_balance.exponent import collapse
from sgdvi.problem.loss import Loss

RATE, STEP_ERROR = 0.05, 0.02


def noise_alone(inputs: int, time: float = np.inf) -> float:
    r"""Return the exponent of u w.x at zero under small steps without signal, per eta^2 times the mean square slope.

    With du = w.dB, dw = u dB the share x = u^2/(u^2 + |w|^2) of p inputs is a diffusion on (0, 1/2),

    .. math:: dx = [1 - x - x (p x + 1 - x) - 8 x (1-x)(1 - 2x)] dt + 2 (1 - 2x) \sqrt{x (1-x)}\, dW,

    and log |theta| grows at the mean of (p x + 1 - x - 8 x (1-x))/2 under its stationary law (derived here); with one
    input it ends at x = 1/2, with -1/2: there u + w and u - w grow by -t/2 + B and -t/2 - B, B a Brownian motion, so
    that the larger of them over the last three quarters of a time is that much above it.
    """
    if inputs == 1:
        return -0.5 + np.sqrt(2 / np.pi) / (1.5 * np.sqrt(time))
    logit = np.linspace(-40.0, 12.0, 200_001)
    x = 0.5 / (1 + np.exp(-logit))
    drift = 1 - x - x * (inputs * x + 1 - x) - 8 * x * (1 - x) * (1 - 2 * x)
    noise = 4 * (1 - 2 * x) ** 2 * x * (1 - x)
    score = 2 * drift / noise * np.gradient(x)
    log_mass = np.cumsum(score) - score / 2 - np.log(noise) + np.log(np.gradient(x))
    mass = np.exp(log_mass - log_mass.max())
    return float(mass @ (inputs * x + 1 - x - 8 * x * (1 - x)) / mass.sum() / 2)


def draw(axes: Sequence[Axes], curves: Mapping[str, Any], theme: Theme) -> None:
    """Draw the exponents against the number of inputs, with the theory."""
    (ax,) = axes
    values, errors = np.asarray(curves["exponent"], float)
    ax.plot(curves["all inputs"], curves["theory"], color=theme.muted, label="small steps, in theory")
    ax.errorbar(curves["inputs"], values, 3 * errors, fmt="o", markersize=4, color=run_colors(theme)["SGD"],
                label="sgdvi.collapse, 3 standard errors")  # fmt: skip
    ax.axhline(0, color=theme.muted, linestyle=":", linewidth=0.8)
    ax.set(xlabel="inputs", ylabel="exponent at zero in η² E[q²]")
    ax.legend()


@claim(
    "B6",
    "Collapse on several inputs",
    paper="beyond it",
    says="Without a signal zero attracts a neuron on one input at every learning rate; on three or more it repels: the "
    "critical temperature does not carry over to vector inputs.",
    setting="u w.x, {rows} rows, x ~ N(0, I), y = ±1 on each; batches of 1, eta = 0.05; 64 chains of {steps} steps.",
    how="`sgdvi.collapse` at zero, per eta^2 E[q^2], against the mean growth of the diffusion of small steps, over "
    "as long a time.",
    criterion=f"Within {ERRORS:g} standard errors and 0.02, what steps of this size change, of the theory; below 0 by "
    "that error with one input, above it with three and more.",
    expected=Verdict.HOLDS,
    draw=draw,
    caption="Exponent of noise alone at zero: below 0 it collapses.",
)
def row(run: Run) -> Measured:
    """Measure exponents at zero for several numbers of inputs."""
    counts, rows, steps = ((1, 3) if run.quick else (1, 2, 3, 4, 6, 10)), 2_000, run.size(24_000, 6_000)
    found, errors, off = [], [], []
    conditions: list[bool | None] = []
    for count in counts:
        x = run.rng(count).standard_normal((rows // 2, count))
        data = np.concatenate([x, x]), np.repeat([1.0, -1.0], rows // 2)
        loss = Loss(lambda p, b: (p["u"] * (b[0] @ p["w"]) - b[1]) ** 2, {"u": np.array(1.0), "w": np.ones(count)})
        result = collapse(loss, data, learning_rate=RATE, batch_size=1, num_steps=steps)
        unit = RATE**2 * float(np.mean((2 * x) ** 2))
        value, error = result.exponent / unit, result.error / unit
        off.append(abs(value - noise_alone(count, steps * unit)))
        conditions.append(off[-1] < ERRORS * error + STEP_ERROR)
        if count != 2:
            conditions.append(below(value, 0, error) if count == 1 else exceeds(value, 0, error))
        found.append(value)
        errors.append(error)
    return Measured(
        verdict(*conditions),
        "{one:.3f} with one input, {last:.3f} with {most}, errors up to {error:.3f}; off the theory by at most "
        "{worst:.3f}.",
        {"one": found[0], "last": found[-1], "most": counts[-1], "error": max(errors), "worst": max(off), "rows": rows,
         "steps": steps},
        {"inputs": list(counts), "exponent": np.array([found, errors]), "all inputs": list(range(1, 11)),
         "theory": [noise_alone(count) for count in range(1, 11)]},
    )  # fmt: skip

"""Figure 5 middle: the fluctuation of a tanh network over the learning rate."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from sgdvi._internal.style.palette import Theme, run_colors
from sgdvi.experiment.claims import _paper
from sgdvi.experiment.claims._chains import over_chains
from sgdvi.experiment.claims._claim import ERRORS, Measured, Run, Verdict, claim, exceeds, verdict
from sgdvi.experiment.claims._tanh import descend
from sgdvi.laws.moments import Moments

SLOPE = 0.1
COLD, START_SD, THIN = (0.15, 0.3, 0.5), 0.25, 16  # rates of Tc; starts; iterates per loss
WARM = (0.2, 0.3, 0.45)  # learning rates inside the window, where the exponent says so
HOT = (0.8, 1.2)
CLEAR, ABOVE, ZERO = -0.01, 0.03, 1e-6


def exponent(x: np.ndarray, y: np.ndarray, rate: float) -> float:
    """Return the growth of log(|u|, |w|) per step at zero, E log|1 +- eta q|, q = 2 x y: the larger sign."""
    return max(float(np.log(np.abs(1 + sign * rate * 2 * x * y)).mean()) for sign in (1, -1))


def _by_rate(values: np.ndarray) -> np.ndarray:
    """Return mean and standard error over chains of values (kept, rates, chains), one column for each rate."""
    return np.array([over_chains(part.mean(0)) for part in np.moveaxis(values, 1, 0)]).T


def draw(axes: Sequence[Axes], curves: Mapping[str, Any], theme: Theme) -> None:
    """Draw standard deviation and loss against the learning rate, the window of collapse shaded."""
    left, right = axes
    colors = run_colors(theme)
    for ax, what in ((left, "sd of v"), (right, "loss")):
        for name, color in (("depth 0", colors["SGD"]), ("depth 1", colors["NUTS"])):
            values, errors = np.asarray(curves[f"{name} {what}"], float)
            ax.errorbar(curves["rate"], values, 2 * errors, fmt="o-", markersize=4, color=color, label=name)
        low, high = curves["window"]
        ax.axvspan(low, high, color=theme.muted, alpha=0.15, linewidth=0, label="zero attracts")
        ax.set(xlabel="learning rate", ylabel=what, xscale="log")
    left.set_yscale("symlog", linthresh=1e-2)
    right.set_yscale("log")
    left.legend()


@claim(
    "F5m",
    "Fluctuation inversion in a tanh network",
    paper="figure 5, middle",
    says="At depth 0 the norm of a tanh network grows with the learning rate; at depth 1 its fluctuation rises, "
    "vanishes and only then the network becomes unstable.",
    setting="{rows} rows, x ~ N(0, 1), y = tanh(0.1 x) + N(0, 1): a weak signal; batches of 1; eta = 0.15, 0.3, 0.5 "
    "Tc, 0.2, 0.3, 0.45, 0.8 and 1.2; {chains} chains of {steps} steps from u, w ~ N(0, 0.25^2), the last half kept.",
    how="Standard deviation of v, loss and E v^2 at each rate; the exponent of zero, the larger of E log|1 ± 2 eta x "
    "y| over the rows, at each.",
    criterion=f"sd of v at depth 1 rises by {ERRORS:g} standard errors from 0.15 to 0.5 Tc; all chains end below "
    "1e-6 where the exponent is below -0.01; at higher rates with an exponent above 0.03 the loss is above E y^2 by "
    "that error, or chains diverge; E v^2 at depth 0 rises at every step of the rate by that error. Rates whose "
    "exponent is nearer to 0 tell nothing in so many steps.",
    expected=Verdict.HOLDS,
    draw=draw,
    panels=2,
    caption="tanh(v x) and w tanh(u x) at a weak signal; shaded: rates at which the exponent of zero is negative.",
)
def row(run: Run) -> Measured:
    """Scan the learning rate."""
    x, y = _paper.signal(run, SLOPE, shape=np.tanh)
    m, chains, steps = Moments.from_data(x, y), run.size(500, 300), run.size(60_000, 24_000)
    critical = float(m.beta2 / m.alpha3)
    rates = np.array([*(critical * share for share in COLD), *WARM, *HOT])
    exponents = np.array([exponent(x, y, rate) for rate in rates])
    trajectory = descend(run, (x, y), rates, chains=chains, steps=steps, start_sd=START_SD)
    named = {"depth 0": trajectory.shallow, "depth 1": trajectory.deep}
    v, w, deep = (part[::THIN, ..., None] for part in (trajectory.shallow, trajectory.weights, trajectory.deep))
    inner = np.divide(deep, w, out=np.zeros_like(deep), where=w != 0)  # u; exactly zero where both have collapsed
    outputs = {"depth 0": np.tanh(v * x), "depth 1": w * np.tanh(inner * x)}
    losses = {name: np.square(out - y).mean(-1).mean(0) for name, out in outputs.items()}
    variances = {name: _by_rate((v - v.mean((0, 2), keepdims=True)) ** 2) for name, v in named.items()}
    last = np.abs(trajectory.deep[-1])
    cold = variances["depth 1"]
    rises = exceeds(cold[0, 2], cold[0, 0], np.hypot(cold[1, 2], cold[1, 0]))
    inside = exponents < CLEAR
    collapsed = (last[inside] < ZERO).all()
    ground = float(np.square(y).mean())
    unstable: list[bool | None] = []
    for k in np.flatnonzero((exponents > ABOVE) & (rates > max(WARM))):
        mean, error = over_chains(losses["depth 1"][k])
        unstable.append(True if not np.isfinite(mean) else exceeds(mean, ground, error))
    flat, errors = _by_rate(trajectory.shallow**2)
    grows = [exceeds(flat[k + 1], flat[k], np.hypot(errors[k + 1], errors[k])) for k in range(len(flat) - 1)]
    scan = np.geomspace(0.5 * critical, 2.0, 400)
    negative = scan[np.array([exponent(x, y, rate) for rate in scan]) < 0]
    window = (float(negative.min()), float(negative.max())) if negative.size else (np.nan, np.nan)
    curves: dict[str, Any] = {"rate": rates, "window": window}
    for name in named:
        mean, error = variances[name]
        curves[f"{name} sd of v"] = [np.sqrt(mean), error / (2 * np.sqrt(np.maximum(mean, 1e-30)))]
        curves[f"{name} loss"] = np.array([over_chains(loss) for loss in losses[name]]).T
    deepest = np.sqrt(cold[0])
    return Measured(
        verdict(inside.any(), rises, collapsed, *unstable, *grows),
        "At depth 1 sd v is {sd0:.3f}, {sd1:.3f}, {sd2:.3f} at 0.15, 0.3, 0.5 Tc; all chains are at zero at the "
        "{inside} rates inside the window, ({low:.3f}, {high:.3f}); beyond it {unstable} rates are unstable. At "
        "depth 0 E v^2 rises from {flat0:.3g} to {flat1:.3g}.",
        {"sd0": deepest[0], "sd1": deepest[1], "sd2": deepest[2], "inside": int(inside.sum()), "low": window[0],
         "high": window[1], "unstable": len(unstable), "flat0": flat[0], "flat1": flat[-1], "ground": ground,
         "exponents": exponents.round(4).tolist(), "rates": rates.round(4).tolist(), "rows": 500, "chains": chains,
         "steps": steps},
        curves,
    )  # fmt: skip

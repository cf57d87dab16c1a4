"""The side of zero without a law: SGD that starts there on the balanced set ends at zero."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from sgdvi._internal.style.palette import Theme, run_colors
from sgdvi.experiment.claims import _paper
from sgdvi.experiment.claims._chains import balanced, diagonal, over_chains, run_chains
from sgdvi.experiment.claims._claim import ERRORS, Measured, Run, Verdict, claim, exceeds, verdict
from sgdvi.laws import lyapunov_exponent, stationary_law
from sgdvi.laws.moments import Moments

RATE, CHAINS, EVERY = 0.02, 200, 100


def draw(axes: Sequence[Axes], curves: Mapping[str, Any], theme: Theme) -> None:
    """Draw |v| at depths 1 and 2 with what is predicted."""
    for ax, depth, scale in zip(axes, ("1", "2"), ("linear", "log"), strict=True):
        ax.plot(curves["steps"], curves[f"seen{depth}"], "o", markersize=3, color=run_colors(theme)["SGD"], label="SGD")
        ax.plot(curves["steps"], curves[f"said{depth}"], color=theme.ink, linewidth=2.0, label="predicted")
        ax.set(title=f"depth {depth}", xlabel="steps of SGD", ylabel="|v|, typical chain", xscale=scale, yscale="log")
        ax.legend()


@claim(
    "T16",
    "The wrong side is a point mass",
    paper="theorem 4.2",
    says="On the side of zero against beta2 the only law is delta_0.",
    setting="{rows} rows, x in (0.5, 1, 1.5), y = x + uniform noise of variance 1; learning rate 0.02, batches of 1; "
    "{chains} chains of {steps} steps from v = -1, balanced.",
    how="Mass at zero of `stationary_law(sign=-1)`; the growth of log|v| at depth 1 against twice the "
    "`lyapunov_exponent` of that side; |v| at depth 2 against (2 eta t |beta2|)^(-3).",
    criterion=f"Mass exactly 1; the exponents equal within {ERRORS:g} standard errors over chains (both are exact near "
    "zero); at depth 2 log|v| within 5 % of the prediction, whose next term falls like log(t)/t.",
    expected=Verdict.HOLDS,
    draw=draw,
    panels=2,
    caption="From v = -1, where beta2 > 0: exponential decay at depth 1, a power of the time at depth 2.",
)
def row(run: Run) -> Measured:
    """Follow |v| from the wrong side."""
    x, y = _paper.bounded(run, 1.0)
    m, steps = Moments.from_data(x, y), run.size(20_000, 6_000)
    mass = float(np.asarray(stationary_law(m, RATE, sign=-1).zero_mass))
    logs = {}
    for depth in (1, 2):
        # |v| at depth 1 underflows, its factor does not
        start = balanced(-1.0, depth, 1, CHAINS)
        kept = run_chains(diagonal(RATE), start, (x, y), run.rng(depth), steps, chains=CHAINS, every=EVERY)
        logs[depth] = np.log(np.abs(kept)).sum((1, 2))
    times = np.arange(1, steps // EVERY + 1) * EVERY
    exponent = 2 * lyapunov_exponent(x, y, RATE, sign=-1)
    late = slice(5, len(times) // 4)  # near zero, and before the factors underflow
    growth, error = over_chains((logs[1][late][-1] - logs[1][late][0]) / (times[late][-1] - times[late][0]))
    said = -3 * np.log(2 * RATE * times * abs(float(m.beta2)))
    seen = np.median(logs[2], axis=1)
    off = float(abs(seen[-1] / said[-1] - 1))
    close = exceeds(ERRORS * error - abs(growth - exponent), 0.0, 0.0)
    return Measured(
        verdict(mass == 1.0, close, off < 0.05),
        "The mass at zero is {mass:g}. At depth 1 log|v| changes by {growth:.5f} ± {error:.5f} per step, predicted "
        "{exponent:.5f}; at depth 2 it ends {off:.1%} from the prediction.",
        {"mass": mass, "growth": growth, "error": error, "exponent": exponent, "off": off, "rows": len(x),
         "chains": CHAINS, "steps": steps},
        {"steps": times, "seen1": np.exp(np.median(logs[1], axis=1)), "said1": np.exp(exponent * times),
         "seen2": np.exp(seen), "said2": np.exp(said)},
    )  # fmt: skip

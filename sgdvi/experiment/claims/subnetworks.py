"""Theorem 4.1: what becomes of the subnetworks of a wide network."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from sgdvi._internal.style.palette import Theme, run_colors
from sgdvi.experiment.claims import _paper
from sgdvi.experiment.claims._chains import diagonal, run_chains
from sgdvi.experiment.claims._claim import Measured, Run, Verdict, claim, verdict

RATE, CHAINS = 0.02, 64


def draw(axes: Sequence[Axes], curves: Mapping[str, Any], theme: Theme) -> None:
    """Draw the ratio of the subnetworks: median and extremes over chains."""
    (ax,), color = axes, run_colors(theme)["SGD"]
    low, middle, high = np.asarray(curves["ratio"], float)
    ax.fill_between(curves["steps"], low, high, color=color, alpha=0.25, linewidth=0, label="all chains")
    ax.plot(curves["steps"], middle, color=color, label="median")
    ax.axhline(curves["end"], color=theme.ink, linewidth=2.0, label="theorem 4.1")
    ax.set(xlabel="steps of SGD", ylabel="v1 / v2")
    ax.legend()


def ratios(run: Run, depth: int, one: float, two: float, steps: int) -> tuple[np.ndarray, dict[str, Any]]:
    """Run balanced networks of two subnetworks; return their ratio at each kept step, (kept, chains)."""
    data, every = _paper.bounded(run, 1.0), steps // 40
    sizes = np.array([abs(one), abs(two)]) ** (1 / (depth + 1))
    factors = np.tile(sizes[:, None], (depth + 1, 1, CHAINS))
    factors[0] *= np.sign([one, two])[:, None]
    kept = run_chains(diagonal(RATE), factors, data, run.rng(1), steps, chains=CHAINS, every=every)
    parts = kept.prod(1)
    ratio = parts[:, 0] / parts[:, 1]
    lines = [ratio.min(1), np.median(ratio, axis=1), ratio.max(1)]
    return ratio, {"steps": np.arange(1, len(ratio) + 1) * every, "ratio": lines}


SETTING = (
    "{rows} rows, x in (0.5, 1, 1.5), y = x + uniform noise of variance 1; learning rate 0.02, batches of 1; "
    "{chains} chains of {steps} steps of a balanced network of width 2"
)


@claim(
    "T10",
    "Depth 1: ratios are conserved",
    paper="theorem 4.1 (2a)",
    says="At depth 1 the ratio of two subnetworks of one sign never changes.",
    setting=f"{SETTING}, from v = 0.2 and 0.8.",
    how="Largest relative change of v1/v2 in any chain.",
    criterion="On the balanced set it is an identity of SGD's steps: below 1e-9, rounding over so many steps.",
    expected=Verdict.HOLDS,
    draw=draw,
    caption="Ratio of the two subnetworks at depth 1.",
)
def conserved(run: Run) -> Measured:
    """Follow the ratio at depth 1."""
    steps = run.size(40_000, 8_000)
    ratio, curves = ratios(run, 1, 0.2, 0.8, steps)
    worst = float(np.abs(ratio / 0.25 - 1).max())
    return Measured(
        verdict(worst < 1e-9),
        "The ratio 0.25 changes by at most {worst:.0e} of itself.",
        {"worst": worst, "rows": 500, "chains": CHAINS, "steps": steps},
        {**curves, "end": 0.25},
    )


@claim(
    "T11",
    "Depth 2: subnetworks become equal",
    paper="theorem 4.1 (2b)",
    says="At depth 2 and above the subnetworks of one sign become equal.",
    setting=f"{SETTING} and depth 2, from v = 0.2 and 0.55.",
    how="v1/v2 at the end, in every chain.",
    criterion="|ratio - 1| below 0.01 in every chain; the exponent of the difference, -(D(D-1)/2) E q^2 per step, "
    "leaves less than e^-10 on average.",
    expected=Verdict.HOLDS,
    draw=draw,
    caption="Ratio of the two subnetworks at depth 2.",
)
def equal(run: Run) -> Measured:
    """Follow the ratio at depth 2."""
    steps = 16_000
    ratio, curves = ratios(run, 2, 0.2, 0.55, steps)
    worst = float(np.abs(ratio[-1] - 1).max())
    return Measured(
        verdict(worst < 0.01),
        "The ratio is 1 to {worst:.1g} in every chain, from 0.36.",
        {"worst": worst, "rows": 500, "chains": CHAINS, "steps": steps},
        {**curves, "end": 1.0},
    )


@claim(
    "T12",
    "Opposite signs: one dies",
    paper="theorem 4.1 (1)",
    says="Of two subnetworks with opposite signs one vanishes.",
    setting=f"{SETTING}, at depth 1 and 2, from v = -0.08 and 1.",
    how="|v1/v2| at the end, in every chain, at both depths.",
    criterion="Below 0.01 in every chain: it falls exponentially at depth 1 and like a power of the time at depth 2.",
    expected=Verdict.HOLDS,
    draw=draw,
    caption="Ratio of the two subnetworks at depth 2.",
)
def opposite(run: Run) -> Measured:
    """Follow the ratio at depths 1 and 2."""
    steps = 16_000
    worst = {}
    for depth in (1, 2):
        ratio, curves = ratios(run, depth, -0.08, 1.0, steps)
        worst[f"depth{depth}"] = float(np.abs(ratio[-1]).max())
    return Measured(
        verdict(*(value < 0.01 for value in worst.values())),
        "|v1/v2| is at most {depth1:.1g} at depth 1 and {depth2:.1g} at depth 2 in every chain, from 0.08.",
        {**worst, "rows": 500, "chains": CHAINS, "steps": steps},
        {**curves, "end": 0.0},
    )

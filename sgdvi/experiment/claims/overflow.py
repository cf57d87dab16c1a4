"""Whether SGD can diverge at depth 1 and above."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from scipy.stats import beta

from sgdvi._internal.style.palette import Theme, run_colors
from sgdvi.experiment.claims import _paper
from sgdvi.experiment.claims._chains import balanced, diagonal, run_chains
from sgdvi.experiment.claims._claim import Measured, Run, Verdict, claim
from sgdvi.laws.moments import Moments

SHARES, LEVEL = (0.25, 0.5, 0.75), 0.9999
HUGE = 1e6


def draw(axes: Sequence[Axes], curves: Mapping[str, Any], theme: Theme) -> None:
    """Draw the share of chains that have overflowed."""
    (ax,), colors = axes, run_colors(theme).values()
    for share, line, color in zip(curves["shares"], curves["overflowed"], colors, strict=False):
        ax.plot(curves["steps"], line, color=color, label=f"T = {share:g} Tc")
    ax.set(xlabel="steps of SGD", ylabel="share of chains that overflowed", ylim=(-0.02, 1))
    ax.legend()


@claim(
    "T30",
    "Never a divergent training loss for D >= 1",
    paper="section 4.4",
    says="The training loss of a network of depth 1 or more never diverges, at any learning rate.",
    setting="Depth 1, {rows} rows, x ~ N(0, 1), y = 0.2 x + N(0, 1); batches of 1, T = 0.25, 0.5, 0.75 Tc; {chains} "
    "chains of {steps} steps from the least-squares slope, balanced.",
    how="Share of chains beyond 1e6 in size, or not finite, at 0.75 Tc.",
    criterion="Does not hold if the Clopper-Pearson lower bound at confidence 0.9999 is above 0.01; holds if no chain "
    "overflows. It is true of the flow, whose mean loss is finite at every T.",
    expected=Verdict.FAILS,
    draw=draw,
    caption="SGD at depth 1 overflows, below the critical temperature too.",
)
def row(run: Run) -> Measured:
    """Count chains that overflow."""
    data = _paper.signal(run, 0.2)
    m, chains, steps, every = Moments.from_data(*data), 500, run.size(50_000, 20_000), 500
    rates = float(m.beta2 / m.alpha3) * jnp.array(SHARES)[:, None, None]
    start = np.repeat(balanced(float(m.minimizer), 1, 1, chains)[:, None], len(SHARES), axis=1)
    kept = run_chains(diagonal(rates), start, data, run.rng(1), steps, chains=chains, every=every)
    gone = ~(np.abs(kept) < HUGE).all((1, 3))  # of factors (kept, 2, rates, 1, chains)
    over = np.maximum.accumulate(gone, axis=0).mean(-1)  # (kept, rates)
    count = round(float(over[-1, -1]) * chains)
    lower = float(beta.ppf(1 - LEVEL, count, chains - count + 1)) if count else 0.0
    outcome = Verdict.FAILS if lower > 0.01 else Verdict.HOLDS if count == 0 else Verdict.UNKNOWN
    return Measured(
        outcome,
        "{quarter:.1%}, {half:.1%} and {most:.1%} of the chains overflow at 0.25, 0.5 and 0.75 Tc (at least "
        "{lower:.1%} at the last).",
        {"quarter": over[-1, 0], "half": over[-1, 1], "most": over[-1, 2], "lower": lower, "rows": 500,
         "chains": chains, "steps": steps},
        {"steps": np.arange(1, len(over) + 1) * every, "shares": list(SHARES), "overflowed": over.T},
    )  # fmt: skip

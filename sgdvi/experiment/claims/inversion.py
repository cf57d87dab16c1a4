"""Fluctuation inversion: the spread of SGD falls again as it nears the critical temperature."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes

from sgdvi._internal.style.palette import Theme, run_colors
from sgdvi.experiment.claims import _paper
from sgdvi.experiment.claims._chains import balanced, diagonal, over_chains, run_chains
from sgdvi.experiment.claims._claim import ERRORS, Measured, Run, Verdict, claim, exceeds, verdict
from sgdvi.laws import fluctuations
from sgdvi.laws.moments import Moments

SHARES, BATCH = (0.1, 0.3, 0.5, 0.7, 0.9), 2
ENDS = (0.005, 0.999)
BIAS = 0.15


def draw(axes: Sequence[Axes], curves: Mapping[str, Any], theme: Theme) -> None:
    """Draw the variance of v against the temperature: the law's line, SGD's points."""
    (ax,) = axes
    ax.plot(curves["share"], curves["law"], color=theme.ink, linewidth=2.0, label="exact law")
    places, color = curves["seen"], run_colors(theme)["SGD"]
    ax.errorbar(places["share"], places["variance"], 2 * np.asarray(places["error"], float), fmt="s", color=color,
                markersize=4, label="SGD, ± 2 standard errors")  # fmt: skip
    ax.set(xlabel="T / Tc", ylabel="Var[v]", ylim=(0, None))
    ax.legend()


@claim(
    "T18",
    "Fluctuation inversion",
    paper="section 4.3",
    says="At depth 1 the fluctuations of v and u rise with the temperature and fall to zero as it nears Tc.",
    setting="{rows} rows, x in (0.5, 1, 1.5), y = 0.1 x + uniform noise of variance 1; batches of 2; {chains} "
    "balanced chains of {steps} steps, the last two thirds kept.",
    how="Var v and Var u of the law at 0.005 and 0.999 Tc against their largest value; Var v of SGD against the law at "
    "0.1 to 0.9 Tc.",
    criterion="Law: below 5 % of the largest value at both ends. SGD: rises from 0.1 to 0.5 and falls to 0.9 Tc by "
    "more than "
    f"{ERRORS:g} standard errors over chains, and differs from the law by less than 15 % and that error where T is "
    "at most half of Tc: steps are finite (eta up to Tc), an error of order beta2 sqrt(S/alpha3).",
    expected=Verdict.HOLDS,
    draw=draw,
    caption="Variance of v at depth 1: hotter is wider only up to a point.",
)
def row(run: Run) -> Measured:
    """Compare the spread of the law and of SGD over temperatures."""
    x, y = _paper.bounded(run, 0.1, 2000)
    m, chains, steps = Moments.from_data(x, y), run.size(1000, 400), run.size(24_000, 12_000)
    critical = float(m.beta2 / m.alpha3)
    grid = np.concatenate([[ENDS[0]], np.linspace(0.04, 0.96, 24), [ENDS[1]]])
    both = fluctuations(m, critical * np.concatenate([grid, SHARES]))  # one program
    law = {"v": both.variance[: len(grid)], "u": both.factor_variance[: len(grid)]}
    ends = max(float(np.max(part[[0, -1]]) / np.max(part)) for part in map(np.asarray, law.values()))
    rates = BATCH * critical * jnp.array(SHARES)[:, None, None]
    start = np.repeat(balanced(float(m.minimizer), 1, 1, chains)[:, None], len(SHARES), axis=1)
    v = run_chains(diagonal(rates), start, (x, y), run.rng(1), steps, chains=chains, batch_size=BATCH, every=50)
    late = v[len(v) // 3 :].prod(1)[:, :, 0]  # (kept, rates, chains)
    squares = ((late - late.mean((0, 2), keepdims=True)[..., :]) ** 2).mean(0)
    seen, errors = np.array([over_chains(values) for values in squares]).T
    exact = np.asarray(both.variance[len(grid) :])
    rise = exceeds(seen[2], seen[0], np.hypot(errors[2], errors[0]))
    fall = exceeds(seen[2], seen[4], np.hypot(errors[2], errors[4]))
    apart = np.abs(seen / exact - 1)[:3]
    near = all(apart - ERRORS * (errors / exact)[:3] < BIAS)
    return Measured(
        verdict(ends < 0.05, rise, fall, near),
        "At 0.005 and 0.999 Tc the law's variances are at most {ends:.1%} of the largest. Var v of SGD is {cold:.5f}, "
        "{middle:.5f}, {hot:.5f} at 0.1, 0.5, 0.9 Tc, of the law {law_cold:.5f}, {law_middle:.5f}, {law_hot:.5f}.",
        {"ends": ends, "cold": seen[0], "middle": seen[2], "hot": seen[4], "error_cold": errors[0],
         "error_middle": errors[2], "error_hot": errors[4], "law_cold": exact[0], "law_middle": exact[2],
         "law_hot": exact[4], "rows": len(x), "chains": chains, "steps": steps},
        {"share": grid, "law": law["v"], "seen": {"share": list(SHARES), "variance": seen, "error": errors}},
    )  # fmt: skip

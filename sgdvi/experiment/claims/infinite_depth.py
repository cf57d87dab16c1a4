"""Infinite depth: the law, what it depends on, and its two limits."""

import numpy as np

from sgdvi.experiment.claims import _paper
from sgdvi.experiment.claims._claim import ROUNDING, Measured, Run, Verdict, claim, verdict
from sgdvi.laws import InfiniteDepthLaw, SGDStationary
from sgdvi.laws.moments import Moments

DEPTHS = (20, 200, 2000)
HEAT = 0.1


@claim(
    "T24",
    "Law of infinite depth",
    paper="section 4.5",
    says="As depth and width go to infinity with their ratio fixed, the law has a limit that depends on (d/D)/T alone.",
    setting="Population x ~ N(0, 1), y = x + N(0, 1); T = 0.1, d/D = 1; D = d = 20, 200, 2000.",
    how="The limit written out against the package's law; the laws at (r, T) and (2 r, 2 T); the largest difference of "
    "the distribution functions of finite depth from it.",
    criterion=f"Formulas: equal to {ROUNDING:g}. Finite depth approaches it like log(D)/D: the gap falls at least "
    "threefold with each decade of depth, and is below 0.01 at 2000.",
    expected=Verdict.HOLDS,
)
def law(run: Run) -> Measured:
    """Compare laws."""
    m = Moments.linear(1.0, 1.0)
    limit, v = InfiniteDepthLaw(m, HEAT, ratio=1.0), _paper.points(m)
    formula = _paper.gap(limit, _paper.infinite_depth(m, HEAT, v, 1.0), v)
    doubled = _paper.gap(InfiniteDepthLaw(m, 2 * HEAT, ratio=2.0), np.asarray(limit.log_prob(v)), v)
    grid = np.linspace(0.02, 3.0, 300)
    gaps = [
        float(np.abs(SGDStationary(m, HEAT, depth=depth, width=depth).cdf(grid) - limit.cdf(grid)).max())
        for depth in DEPTHS
    ]
    falls = gaps[0] > 3 * gaps[1] > 9 * gaps[2]
    return Measured(
        verdict(formula < ROUNDING, doubled < ROUNDING, falls, gaps[2] < 0.01),
        "The formula agrees to {formula:.0e}, (r, T) and (2 r, 2 T) to {doubled:.0e}; the gap to depth 20, 200, 2000 "
        "is {g20:.3f}, {g200:.3f}, {g2000:.4f}.",
        {"formula": formula, "doubled": doubled, "g20": gaps[0], "g200": gaps[1], "g2000": gaps[2]},
    )


@claim(
    "T25",
    "The two limits of infinite depth",
    paper="section 4.5",
    says="Networks much deeper than wide collapse to v = 0; much wider than deep, they end at the least-squares slope.",
    setting="Population x ~ N(0, 1), y = x + N(0, 1); T = 0.1; d/D = 0.01 and 100.",
    how="Mean and standard deviation of the law of infinite depth.",
    criterion="Mean below 5 % of v* at 0.01; within 1 % of v* and a standard deviation below 5 % of v* at 100. The law "
    "is concentrated like sqrt(T D/d), 0.03 there.",
    expected=Verdict.HOLDS,
)
def limits(run: Run) -> Measured:
    """Read mean and spread off the laws."""
    m = Moments.linear(1.0, 1.0)
    deep, wide = InfiniteDepthLaw(m, HEAT, ratio=0.01), InfiniteDepthLaw(m, HEAT, ratio=100.0)
    target = float(m.minimizer)
    deep_mean, mean, sd = float(deep.mean) / target, float(wide.mean) / target, float(wide.variance) ** 0.5 / target
    return Measured(
        verdict(deep_mean < 0.05, abs(mean - 1) < 0.01, sd < 0.05),
        "In units of v* the mean is {deep:.3f} at d/D = 0.01 and {mean:.4f}, sd {sd:.3f}, at 100.",
        {"deep": deep_mean, "mean": mean, "sd": sd},
    )

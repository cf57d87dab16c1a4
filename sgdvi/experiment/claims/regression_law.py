"""Depth 0: the law of linear regression, and when its variance is finite."""

import numpy as np
from scipy.integrate import quad

from sgdvi.experiment.claims import _paper
from sgdvi.experiment.claims._claim import ROUNDING, Measured, Run, Verdict, claim, verdict
from sgdvi.laws import SGDStationary

HOT = 50.0


@claim(
    "T9",
    "Law of linear regression",
    paper="eq. 12",
    says="At depth 0 SGD has a law with a power-law tail at every temperature; its variance is infinite from "
    "T = beta1/alpha1 on.",
    setting="{rows} rows, x ~ N(0, 1), y = 0.8 x + N(0, 1); T = 0.4 Tc of depth 1.",
    how="Largest difference of log p between the package's law and eq. 12 written out, at 8 places; the variance on "
    "both sides of beta1/alpha1; the integral of eq. 12 at T = 50.",
    criterion=f"Both are formulas: equal to {ROUNDING:g}. The variance changes from finite to infinite at the ratio "
    "within 1 %. At T = 50 eq. 12 has the integral that the law's normaliser says, to 1e-6 of the quadrature.",
    expected=Verdict.HOLDS,
)
def row(run: Run) -> Measured:
    """Compare formulas."""
    m = _paper.moments(run)
    heat, edge, v = _paper.SHARE * float(m.beta2 / m.alpha3), float(m.beta1 / m.alpha1), _paper.points(m)
    apart = _paper.gap(SGDStationary(m, heat, depth=0), _paper.regression(m, heat, v), v)
    below, above = (float(SGDStationary(m, edge * share, depth=0).variance) for share in (0.99, 1.01))
    shift = float(SGDStationary(m, HOT, depth=0).log_prob(0.0)) - float(_paper.regression(m, HOT, np.zeros(1))[0])
    mass = sum(
        quad(lambda v: np.exp(_paper.regression(m, HOT, np.array([v]))[0] + shift), *ends, limit=200)[0]
        for ends in ((-np.inf, 0.0), (0.0, np.inf))
    )
    holds = verdict(apart < ROUNDING, np.isfinite(below), np.isinf(above), abs(mass - 1) < 1e-6)
    return Measured(
        holds,
        "log p agrees to {gap:.0e}; the variance is {below:.3g} at 0.99 and {above} at 1.01 beta1/alpha1; at T = "
        "{hot:g} the density integrates to {mass:.6f}.",
        {"gap": apart, "below": below, "above": above, "mass": mass, "hot": HOT, "rows": _paper.ROWS},
    )

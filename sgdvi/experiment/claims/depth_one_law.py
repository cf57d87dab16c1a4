"""Eq. 15: the law at depth 1, with and without weight decay, and that its width does not matter."""

import numpy as np

from sgdvi.experiment.claims import _paper
from sgdvi.experiment.claims._claim import ROUNDING, Measured, Run, Verdict, claim, verdict
from sgdvi.laws import SGDStationary

DECAY = 0.1  # of beta2
WIDTHS = (2, 5, 50)


@claim(
    "T15",
    "Law of depth 1",
    paper="eq. 15",
    says="At depth 1 the law is v^(beta2/(2 alpha3 T) - 3/2) times a power of g and an arctan factor; weight decay "
    "puts beta2 - gamma for beta2.",
    setting="{rows} rows, x ~ N(0, 1), y = 0.8 x + N(0, 1); T = 0.4 Tc; gamma = 0 and 0.1 beta2.",
    how="Largest difference of log p between the package's law and eq. 15 written out, at 8 places.",
    criterion=f"Formulas: equal to {ROUNDING:g}.",
    expected=Verdict.HOLDS,
)
def row(run: Run) -> Measured:
    """Compare eq. 15 with the laws."""
    m = _paper.moments(run)
    heat, v = _paper.SHARE * float(m.beta2 / m.alpha3), _paper.points(m)
    plain, decayed = (
        _paper.gap(SGDStationary(m, heat, weight_decay=gamma), _paper.depth_one(m, heat, v, gamma), v)
        for gamma in (0.0, DECAY * float(m.beta2))
    )
    return Measured(
        verdict(plain < ROUNDING, decayed < ROUNDING),
        "log p agrees to {plain:.0e} without and {decayed:.0e} with weight decay.",
        {"plain": plain, "decayed": decayed, "rows": _paper.ROWS},
    )


@claim(
    "T23",
    "Width does not matter at depth 1",
    paper="after eq. 15",
    says="At depth 1 the law of v is the same for every width.",
    setting="{rows} rows, x ~ N(0, 1), y = 0.8 x + N(0, 1); T = 0.4 Tc; widths 2, 5 and 50 against 1.",
    how="Largest difference of log p, and eq. 14 at depth 1 with that width against the law of width 1.",
    criterion=f"Formulas: equal to {ROUNDING:g}.",
    expected=Verdict.HOLDS,
)
def width(run: Run) -> Measured:
    """Compare widths."""
    m = _paper.moments(run)
    heat, v = _paper.SHARE * float(m.beta2 / m.alpha3), _paper.points(m)
    narrow = np.asarray(SGDStationary(m, heat).log_prob(v))
    laws = max(np.abs(SGDStationary(m, heat, width=d).log_prob(v) - narrow).max() for d in WIDTHS)
    formula = max(_paper.gap(SGDStationary(m, heat), _paper.any_depth(m, heat, v, 1, d), v) for d in WIDTHS)
    return Measured(
        verdict(laws < ROUNDING, formula < ROUNDING),
        "Laws of widths up to 50 differ by {laws:.0e}, eq. 14 by {formula:.0e}.",
        {"laws": float(laws), "formula": formula, "rows": _paper.ROWS},
    )

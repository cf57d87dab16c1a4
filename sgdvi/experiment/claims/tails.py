"""The tail of the laws."""

from itertools import product

import numpy as np

from sgdvi.experiment.claims import _paper
from sgdvi.experiment.claims._claim import Measured, Run, Verdict, claim, verdict
from sgdvi.laws import SGDStationary
from sgdvi.laws.moments import Moments

DEPTHS = (1, 2, 3, 5)
SHARES, WIDTHS = (0.2, 0.8), (1, 2)  # of Tc
FAR = np.array([1e16, 1e18])


@claim(
    "T22",
    "Tail exponent",
    paper="section 4.4",
    says="For D >= 1 the density falls like v^-(5 - 3/(D+1)), whatever the data, T and d: from 7/2 at D = 1 towards 5; "
    "so E v^2 is always finite.",
    setting="Three data sets: simulated ({rows} rows), x ~ N(0, 1) with y = x + N(0, 1), and five moments with a "
    "re-entrant mode; T = 0.2 and 0.8 Tc; D = 1, 2, 3, 5, d = 1 and 2: {laws} of these.",
    how="The logarithmic slope of the density far out, and whether it is above 3, so that the second moment is finite.",
    criterion="Equal to 1e-4: the next term of the slope at v is of order v^(-2/(D+1)), 5e-6 at v = 1e16 and D = 5. "
    "This is the law of the flow; what a run can see of it is row F5l.",
    expected=Verdict.HOLDS,
)
def row(run: Run) -> Measured:
    """Read slopes off the densities."""
    data = (_paper.moments(run), Moments.linear(1.0, 1.0), Moments(1.0, 0.7973, 0.6416, 1.0, 0.3355))
    worst, finite, laws = 0.0, True, 0
    cases = list(product(data, SHARES, DEPTHS, WIDTHS))
    for m, share, depth, width in cases[:: run.size(1, 5)]:  # 5 has no factor in common with their numbers
        law = SGDStationary(m, share * float(m.beta2 / m.alpha3), depth=depth, width=width)
        slope = -float(np.diff(law.log_prob(FAR))[0] / np.log(FAR[1] / FAR[0]))
        worst, finite, laws = max(worst, abs(slope - (5 - 3 / (depth + 1)))), finite and slope > 3, laws + 1
    return Measured(
        verdict(worst < 1e-4, finite),
        "The slope is 5 - 3/(D+1) to {worst:.0e} in {laws} laws, all with finite second moment.",
        {"worst": worst, "laws": laws, "rows": _paper.ROWS},
    )

"""Eq. 16: the mode at depth 1, and its expansion for small temperatures."""

import numpy as np

from sgdvi.experiment.claims import _paper
from sgdvi.experiment.claims._claim import ROUNDING, Measured, Run, Verdict, claim, verdict
from sgdvi.laws import SGDStationary, mode_expansion

SHARES = (0.001, 0.01, 0.1)


@claim(
    "T19",
    "Mode and its small-temperature expansion",
    paper="eq. 16",
    says="Below Tc/3 the density of depth 1 has one mode, a root of a quadratic; it leaves the least-squares slope "
    "in proportion to T.",
    setting="{rows} rows, x ~ N(0, 1), y = 0.8 x + N(0, 1); T = 0.001, 0.01, 0.1 and 0.3 Tc.",
    how="The root written out against the mode of the package's law; `mode_expansion` against the root.",
    criterion=f"Root: equal to {ROUNDING:g}, relative. Expansion: its error falls as T^2, a factor 100 per decade "
    "between 0.01 and 0.001 Tc, within 20 %: the next order adds a share T/Tc of it.",
    expected=Verdict.HOLDS,
)
def row(run: Run) -> Measured:
    """Compare roots."""
    m = _paper.moments(run)
    critical = float(m.beta2 / m.alpha3)
    heats = critical * np.array([*SHARES, 0.3])
    linear = float(m.beta1) - 10 * float(m.alpha2) * heats
    square = linear**2 + 28 * float(m.alpha1) * heats * (float(m.beta2) - 3 * float(m.alpha3) * heats)
    root = (np.sqrt(square) - linear) / (14 * float(m.alpha1) * heats)
    apart = float(np.abs(np.array([SGDStationary(m, heat).mode for heat in heats]) / root - 1).max())
    errors = np.abs(mode_expansion(m, heats) - root)
    order = float(errors[1] / errors[0])
    return Measured(
        verdict(apart < ROUNDING, abs(order / 100 - 1) < 0.2),
        "The root agrees with the law's mode to {gap:.0e}; the expansion is off by {e0:.1e}, {e1:.1e} and {e2:.1e} at "
        "0.001, 0.01 and 0.1 Tc.",
        {"gap": apart, "e0": errors[0], "e1": errors[1], "e2": errors[2], "ratio": order, "rows": _paper.ROWS},
    )

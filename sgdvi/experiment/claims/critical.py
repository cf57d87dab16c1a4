"""The critical temperature of depth 1."""

import numpy as np

from sgdvi.experiment.claims import _paper
from sgdvi.experiment.claims._claim import ROUNDING, Measured, Run, Verdict, claim, verdict
from sgdvi.laws import SGDStationary, critical_temperature, stationary_law

TINY = 1e-9  # of the least-squares slope: where the density is a power
SHARES = (0.2, 0.6)


@claim(
    "T17",
    "Critical temperature",
    paper="section 4.3",
    says="At depth 1 SGD collapses to v = 0 at and above Tc = beta2/alpha3, with weight decay (beta2 - gamma)/alpha3.",
    setting="{rows} rows, x ~ N(0, 1), y = 0.8 x + N(0, 1); gamma = 0 and 0.1 beta2.",
    how="`critical_temperature` against the formula; against the temperature at which the density's exponent at zero, "
    "a/T - 3/2 as two of its slopes say, reaches -1; the mass of `stationary_law` at zero just below and above.",
    criterion=f"Formulas: equal to {ROUNDING:g}, the exponent to 1e-6 (it is read at 1e-9 of the slope v*). The mass "
    "at zero is 0 at 0.999 Tc and 1 at Tc.",
    expected=Verdict.HOLDS,
)
def row(run: Run) -> Measured:
    """Compare the transition with the formula and with the density's own exponent."""
    m = _paper.moments(run)
    formula, slopes, masses = 0.0, 0.0, []
    for gamma in (0.0, 0.1 * float(m.beta2)):
        exact = float((m.beta2 - gamma) / m.alpha3)
        stated = float(critical_temperature(m, 1, gamma))
        formula = max(formula, abs(stated / exact - 1))
        v, heats = TINY * float(m.minimizer), exact * np.array(SHARES)
        exponents = v * np.array([float(SGDStationary(m, heat, weight_decay=gamma).score(v)) for heat in heats])
        gain = np.diff(exponents)[0] / np.diff(1 / heats)[0]  # a in a/T + constant
        collapse = gain / (-1 - (exponents[0] - gain / heats[0]))
        slopes = max(slopes, abs(collapse / exact - 1))
        ends = [stationary_law(m, exact * share, weight_decay=gamma) for share in (0.999, 1 + ROUNDING)]
        masses += [float(np.asarray(law.zero_mass)) for law in ends]
    return Measured(
        verdict(formula < ROUNDING, slopes < 1e-6, masses == [0.0, 1.0, 0.0, 1.0]),
        "Tc agrees to {formula:.0e} with the formula and to {slopes:.0e} with the density's exponent; the mass at "
        "zero is {cold:g} at 0.999 Tc and {hot:g} at Tc.",
        {"formula": formula, "slopes": slopes, "cold": masses[0], "hot": masses[1], "rows": _paper.ROWS},
    )

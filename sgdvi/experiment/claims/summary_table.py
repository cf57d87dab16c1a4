"""Table 1: the laws of depth 1 in one table."""

from sgdvi.experiment.claims import _paper
from sgdvi.experiment.claims._claim import ROUNDING, Measured, Run, Verdict, claim, correction
from sgdvi.laws import SGDStationary


@claim(
    "Tab1",
    "Summary of depth 1",
    paper="Table 1",
    says="The laws of depth 1 without and with weight decay as products of powers of v and g.",
    setting="{rows} rows, x ~ N(0, 1), y = 0.8 x + N(0, 1); T = 0.4 Tc; gamma = 0 and 0.1 beta2.",
    how="The entries as printed, without the arctan factor of eq. 15, and with it, against the package's laws. The "
    "entry of interpolation is row T27.",
    criterion=f"As printed off by more than 0.1 nats, with the factor to {ROUNDING:g}: at T = 0.4 Tc the factor "
    "turns by (alpha3 beta1 - alpha2 beta2)/(2 T alpha3 sqrt(Delta)), of order 1.",
    expected=Verdict.CORRECTED,
)
def row(run: Run) -> Measured:
    """Compare the entries with and without their arctan."""
    m = _paper.moments(run)
    heat, v = _paper.SHARE * float(m.beta2 / m.alpha3), _paper.points(m)
    gaps = {}
    for arctan in (False, True):
        gaps[arctan] = max(
            _paper.gap(SGDStationary(m, heat, weight_decay=gamma), _paper.depth_one(m, heat, v, gamma, arctan), v)
            for gamma in (0.0, 0.1 * float(m.beta2))
        )
    return Measured(
        correction(gaps[False], gaps[True]),
        "As printed the entries are off by {printed:.2g} nats, with the arctan factor by {corrected:.0e}.",
        {"printed": gaps[False], "corrected": gaps[True], "rows": _paper.ROWS},
    )

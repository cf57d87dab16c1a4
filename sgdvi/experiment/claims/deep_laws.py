"""Theorem 4.2: the law at every depth and width."""

from sgdvi.experiment.claims import _paper
from sgdvi.experiment.claims._claim import ROUNDING, Measured, Run, Verdict, claim, verdict
from sgdvi.laws import SGDStationary

DEPTHS, WIDTHS = range(6), range(1, 4)


@claim(
    "T13",
    "Law of any depth and width",
    paper="theorem 4.2, eq. 14",
    says="On v > 0 the law is v^(-3D/(D+1)) / g times the exponential of an integral, for every depth D and width d.",
    setting="{rows} rows, x ~ N(0, 1), y = 0.8 x + N(0, 1); T = 0.4 Tc of depth 1; D = 0 to 5, d = 1 to 3.",
    how="Eq. 14 written out, its integral by 400-point Gauss-Legendre quadrature, against the package's law: largest "
    "difference of log p at 8 places over all pairs of D and d.",
    criterion=f"Formulas: equal to {ROUNDING:g}.",
    expected=Verdict.HOLDS,
)
def row(run: Run) -> Measured:
    """Compare eq. 14 with the laws."""
    m = _paper.moments(run)
    heat, v = _paper.SHARE * float(m.beta2 / m.alpha3), _paper.points(m)
    gaps = {
        (depth, width): _paper.gap(
            SGDStationary(m, heat, depth=depth, width=width), _paper.any_depth(m, heat, v, depth, width), v
        )
        for depth in DEPTHS
        for width in WIDTHS
    }
    worst = max(gaps.values())
    return Measured(
        verdict(worst < ROUNDING),
        "Over {pairs} pairs of depth and width log p agrees to {gap:.0e}.",
        {"gap": worst, "pairs": len(gaps), "rows": _paper.ROWS},
    )

"""Write references-*.json: every stationary law with 30 digits, from its drift and diffusion (see reference_law.py).

Run by hand, never by the tests; needs gmpy2 and mpmath, and takes some minutes:

    python tests/laws/make_references.py              # all families
    python tests/laws/make_references.py second-order # one of FAMILIES

No code of the package is used. Each law is checked here, by assertions, against routes of its own: the closed form
where there is one (up to the normaliser, at every panel; the normaliser too for Pearson IV, Normal, gamma and inverse
gamma laws), and the bias identity E[beta1 v - beta2 + gamma (d/v)^m + D T g(v) (v/d)^m] = 0, m = (D-1)/(D+1).

A case holds, as doubles correct to the last bit: points v (in the bulk, and where log tails are about -30, -150, -690),
log_prob, score, log_cdf and log_survival there; quantiles, and the logarithm of their distance from zero, at
the levels q; mean, variance, moment3 (null where it does not exist), entropy; modes, the local maxima inside the
support in increasing order, and whether the density diverges at zero. Data with Delta = 0 have dyadic moments, so that
Delta is 0 in doubles too.
"""

import json
import sys
import time
from pathlib import Path

import closed_forms
import gmpy2
from gmpy2 import mpfr
from reference_cases import FAMILIES
from reference_drift import INFINITE, Parameters
from reference_law import Law, interval, line, ray

LEVELS = [1e-10, 1e-3, 0.05, 0.25, 0.5, 0.75, 0.95, 0.999]
BULK = [1e-6, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 1 - 1e-6]
TAILS = [-690, -150, -30]


def make(case: dict) -> dict:
    """Compute one case."""
    p = Parameters.of(case)
    law = Law(p.score, coordinate(p), p.start(), p.reach(), p.features())
    closed_forms.check(case, law)
    side, c = p.side, law.coordinate
    points = [law.quantile(mpfr(level)) for level in TAILS] + [law.quantile(gmpy2.log(mpfr(q))) for q in BULK]
    points += [law.quantile(mpfr(level), upper=True) for level in TAILS[::-1]]
    v = sorted({min(max(float(c.to_v(y)), -1e300), 1e300) for y in points})
    if p.depth > 0:
        v = sorted({max(value, 1e-300) for value in v})
    inside = [value for value in v if p.inside(mpfr(value))]
    at = [c.to_y(mpfr(value)) for value in inside]
    low, high = zip(*(law.masses(y) for y in at), strict=True)
    quantiles = [
        law.quantile(gmpy2.log(mpfr(q))) if side > 0 else law.quantile(gmpy2.log(mpfr(q)), upper=True) for q in LEVELS
    ]
    mean = law.expect(lambda v, _: v)
    order = -1 if side < 0 else 1

    def flip(values):
        return [float(value) for value in values][::order]

    return {
        **case,
        "v": [side * value for value in inside][::order],
        "log_prob": flip(law.log_prob(mpfr(value)) for value in inside),
        "score": flip(side * p.score(mpfr(value), c.offset(y)) for value, y in zip(inside, at, strict=True)),
        "log_cdf": flip(log_mass(*masses[::side]) for masses in zip(low, high, strict=True)),
        "log_survival": flip(log_mass(*masses[::-side]) for masses in zip(low, high, strict=True)),
        "q": LEVELS,
        "quantiles": [float(side * c.to_v(y)) for y in quantiles],
        "log_quantiles": [float(gmpy2.log(abs(c.to_v(y)))) for y in quantiles],
        "mean": float(side * mean) if p.moment_exists(1) else None,
        "variance": float(law.expect(lambda v, _: (v - mean) ** 2)) if p.moment_exists(2) else None,
        "moment3": float(side * law.expect(lambda v, _: v**3)) if p.moment_exists(3) else None,
        "entropy": float(-law.expect(lambda _, level: level)),
        "modes": sorted(float(side * mode) for mode in law.maxima()),
        "diverges_at_zero": p.diverges_at_zero(),
    }


def log_mass(mass, rest):
    """Log of a probability, from the smaller of it and the rest."""
    return gmpy2.log(mass) if mass < 0.5 else gmpy2.log1p(-rest)


def coordinate(p: Parameters):
    """Coordinate of the support, p.lower to p.upper."""
    if p.lower == -INFINITE and p.upper == INFINITE:
        if p.alpha1 == 0:
            return line(p.start(), gmpy2.sqrt(p.temperature * p.width * p.alpha3 / p.beta1), bounded=True)
        return line(p.alpha2 / p.alpha1, gmpy2.sqrt(p.delta) / p.alpha1, bounded=False)
    if p.upper == INFINITE:
        return ray(p.lower)
    return ray(p.upper, -1) if p.lower == -INFINITE else interval(p.upper)


def main(names: list[str]) -> None:
    for family in names or FAMILIES:
        out = []
        for case in FAMILIES[family]:
            begin = time.perf_counter()
            out.append(make(case))
            print(f"{family} {len(out)}/{len(FAMILIES[family])} {time.perf_counter() - begin:.1f} s", flush=True)  # noqa: T201
        text = ",\n".join(json.dumps(case) for case in out)
        Path(__file__).with_name(f"references-{family}.json").write_text(f"[\n{text}\n]\n")


if __name__ == "__main__":
    main(sys.argv[1:])

"""Checks of a reference law against routes of its own: closed forms, their normalisers, and the bias identity."""

from gmpy2 import mpfr
from mpmath import mp, mpf
from reference_drift import Parameters

mp.dps = 45


def check(case: dict, law) -> None:
    """Assert closed forms at the panels' ends, known normalisers, and the bias identity."""
    p, exact = Parameters.of(case), Parameters.of(case, mpf)
    form = closed_form(exact)
    if form is not None:
        ends = [panel.right for panel in law.panels[:-1]]
        at = [(law.coordinate.to_v(y), law.coordinate.offset(y)) for y in ends]
        gaps = [to_mpf(law.log_prob(v, y)) - form(to_mpf(v), to_mpf(w)) for y, (v, w) in zip(ends, at, strict=True)]
        size = max(1, *(abs(to_mpf(law.panels[0].log_density[0])), abs(gaps[0])))
        spread = max(gaps) - min(gaps)
        assert spread < mpf(10) ** -24 * size, f"closed form: {mp.nstr(spread, 5)}"
        if normalised(exact):
            assert abs(gaps[len(gaps) // 2]) < mpf(10) ** -24 * size, f"normaliser: {mp.nstr(gaps[0], 5)}"
    if not p.batch_size:
        terms = bias_terms(p, law)
        rest, size = abs(sum(terms)), max(map(abs, terms))
        assert rest < 1e-22 * size, f"bias identity: {rest / size:.3g}"


def to_mpf(x: mpfr) -> mpf:
    """The same number in mpmath."""
    mantissa, exponent = x.as_mantissa_exp()
    return mp.ldexp(mpf(int(mantissa)), int(exponent))


def bias_terms(p: Parameters, law) -> list:
    """Means of beta1 v, -beta2, gamma (d/v)^m and D T g (v/d)^m; for infinite depth D (v/d)^m -> v/r."""

    def noise(v):
        return p.alpha1 * v**2 - 2 * p.alpha2 * v + p.alpha3

    mean = law.expect(lambda v, _: v)
    if p.kind == "infinite":
        return [p.beta1 * mean, -p.beta2, p.temperature / p.ratio * law.expect(lambda v, _: noise(v) * v)]
    if p.depth == 0:
        return [p.beta1 * mean, -p.beta2, p.weight_decay / p.width * mean]
    m = mpfr(p.depth - 1) / p.n
    decay = p.weight_decay * (law.expect(lambda v, _: (p.width / v) ** m) if m else 1)
    spread = law.expect(lambda v, _: noise(v) * (v / p.width) ** m)
    return [p.beta1 * mean, -p.beta2, decay, p.depth * p.temperature * spread]


def normalised(p: Parameters) -> bool:
    """Whether the closed form holds its normaliser."""
    return p.kind == "law" and (p.depth == 0 or p.depth == 1 and (p.alpha1 == 0 or p.silent and p.k == 0))


def closed_form(p: Parameters):
    """Log density of (v, v - k), up to its normaliser unless ``normalised``; None where no elementary form exists."""
    heat, a1, a2, a3 = p.temperature, p.alpha1, p.alpha2, p.alpha3
    root = mp.sqrt(p.delta)
    if p.kind == "infinite":
        k = p.ratio * (a3 * p.beta1 - 2 * a2 * p.beta2) / (heat * a3**2)
        turn = (a2 * a3 * p.beta1 - 2 * a2**2 * p.beta2 + a1 * a3 * p.beta2) / (a3**2 * root)
        return lambda v, _: (
            -(3 + k) * mp.log(v)
            + (k / 2 - 1) * mp.log(a1 * v * v - 2 * a2 * v + a3)
            - p.ratio / heat * (p.beta2 / (a3 * v) + turn * mp.atan((a1 * v - a2) / root))
        )
    if p.depth == 0:
        return _regression(p)
    if p.depth > 1:
        if a1 == 0:
            scale = p.width ** (1 - mpf(2) / p.n) / (heat * a3)
            m = mpf(p.depth - 1) / p.n
            return lambda v, _: (
                -mpf(3 * p.depth) / p.n * mp.log(v)
                - scale * (p.beta1 * v ** (mpf(2) / p.n) / 2 + p.beta2 * v**-m / (p.depth - 1))
            )
        return None
    drift = p.beta2 - p.weight_decay
    if a1 == 0:
        shape, rate = drift / (2 * a3 * heat) - mpf(1) / 2, p.beta1 / (2 * a3 * heat)
        return lambda v, _: shape * mp.log(rate) - mp.loggamma(shape) + (shape - 1) * mp.log(v) - rate * v
    if p.silent:
        return _silent(p)
    second = p.batch_size
    k1 = (3 * a3 * p.beta1**2 - a1 * p.beta2**2) / (4 * a1 * a3)
    k2 = (3 * a2 * a3 * p.beta1**2 - 4 * a1 * a3 * p.beta1 * p.beta2 + a1 * a2 * p.beta2**2) / (2 * a1 * a3 * root)
    strength = (a3 * p.beta1 - a2 * drift) / (2 * heat * a3 * root)
    return lambda v, _: (
        (drift / (2 * a3 * heat) - mpf(3) / 2 - second * p.beta2**2 / (2 * a3)) * mp.log(v)
        - (1 + drift / (4 * heat * a3) + second * k1) * mp.log(((a1 * v - a2) ** 2 + p.delta) / a1)
        - (strength + second * k2) * mp.atan((a1 * v - a2) / root)
    )


def _regression(p: Parameters):
    heat, b = p.temperature * p.width, p.beta1 + p.weight_decay / p.width
    if p.alpha1 == 0:
        centre, variance = p.beta2 / b, heat * p.alpha3 / b
        return lambda v, _: -((v - centre) ** 2) / (2 * variance) - mp.log(2 * mp.pi * variance) / 2
    if p.silent:
        shape, scale = 1 + b / (heat * p.alpha1), abs(p.k * b - p.beta2) / (heat * p.alpha1)
        return lambda _, w: shape * mp.log(scale) - mp.loggamma(shape) - (shape + 1) * mp.log(abs(w)) - scale / abs(w)
    m, root = 1 + b / (2 * heat * p.alpha1), mp.sqrt(p.delta)
    nu = (p.alpha2 * b - p.alpha1 * p.beta2) / (heat * p.alpha1 * root)
    scale = root / p.alpha1
    with mp.workdps(80):
        norm = 2 * (mp.re(mp.loggamma(mp.mpc(m, nu / 2))) - mp.loggamma(m)) - mp.log(scale)
        norm -= mp.loggamma(m - mpf(1) / 2) + mp.loggamma(mpf(1) / 2) - mp.loggamma(m)

    def log_density(v, _):
        t = (v - p.k) / scale
        with mp.workdps(80):
            return norm - m * mp.log1p(t**2) - nu * mp.atan(t)

    return log_density


def _silent(p: Parameters):
    """Depth 1 with g = alpha1 (v - k)^2; c' = c + gamma, c = k beta1 - beta2."""
    heat, a1, k = p.temperature, p.alpha1, p.k
    if k == 0:
        drift = p.beta2 - p.weight_decay
        # t = 1/v: t^(3/2) exp(beta1 t/(2 T alpha1) - drift t^2/(4 T alpha1)) dt, a parabolic cylinder function
        first, second = p.beta1 / (2 * heat * a1), drift / (2 * heat * a1)
        argument = -first / mp.sqrt(second)
        norm = mp.log(second) * mpf(-5) / 4 + mp.loggamma(mpf(5) / 2) + argument**2 / 4
        norm += mp.log(mp.pcfd(mpf(-5) / 2, argument))
        return lambda v, _: mpf(-7) / 2 * mp.log(v) + first / v - second / (2 * v**2) - norm
    if k > 0:
        c = k * p.beta1 - p.beta2 + p.weight_decay
        q = (p.beta1 - c / k) / (2 * heat * a1 * k)
        return lambda v, w: (q - mpf(3) / 2) * mp.log(v) - (2 + q) * mp.log(abs(w)) + c / (2 * heat * a1 * k * w)
    k, c = -k, -k * p.beta1 + p.beta2  # data k > 0 seen from v < 0
    q = (c - p.weight_decay - k * p.beta1) / (2 * heat * a1 * k**2)
    return lambda v, _: (
        (q - mpf(3) / 2) * mp.log(v) - (q + 2) * mp.log(v + k) + (c - p.weight_decay) / (2 * heat * a1 * k * (v + k))
    )

"""Parameters of the reference laws, in families; make_references.py computes them."""

from math import sqrt
from typing import Any

PLAIN = {"alpha": [2.0, 2.0, 3.0], "beta": [1.0, 1.0]}  # x ~ N(0, 1), y = x + N(0, 1)
UNITS = {"alpha": [0.37, -0.21, 4.1], "beta": [0.9, 2.3]}


def law(data: dict, temperature: float, depth: int, **options: Any) -> dict:
    return {"kind": "law", **data, "temperature": temperature, "depth": depth, **options}


def unit(data: dict) -> float:
    """Temperature beta2/alpha3 of the data: Tc at depth 1."""
    return abs(data["beta"][1]) / data["alpha"][2]


def correlated(rho: float, a1: float = 1.5, a3: float = 2.2, beta: tuple = (1.1, 0.7)) -> dict:
    return {"alpha": [a1, rho * sqrt(a1 * a3), a3], "beta": list(beta)}


def nearly_silent(gap: float, c: float, k: float = 0.75, a1: float = 2.0) -> dict:
    """Data with Delta = gap alpha1 alpha3 beside y = k x - c/x."""
    return {"alpha": [a1, a1 * k, a1 * k * k / (1 - gap)], "beta": [1.0, k - c]}


def silent(k: float, c: float, a1: float = 2.0) -> dict:
    return {"alpha": [a1, a1 * k, a1 * k * k], "beta": [1.0, k - c]}


def nearly_constant(size: float) -> dict:
    """Data with a small alpha1 beside constant x^2."""
    a1 = size * 1.3 * (1.1 / 0.7) ** 2
    return {"alpha": [a1, 0.3 * sqrt(a1 * 1.3), 1.3], "beta": [1.1, 0.7]}


def _depths() -> list:
    out = []
    for depth in (0, 1, 2, 3, 5, 8, 20, 100):
        shares = (1e-6, 1e-2, 0.3, 0.9, 0.999) if depth == 1 else (1e-6, 1e-2, 0.3, 1.0, 30.0, 1e3)
        out += [law(PLAIN, share * unit(PLAIN), depth) for share in shares]
    out += [law(UNITS, 0.1 * unit(UNITS), depth) for depth in (0, 1, 2, 20)]
    out += [law(PLAIN, 0.2 * unit(PLAIN), depth, width=w) for depth in (0, 2, 5, 20, 100) for w in (3, 1000, 10**6)]
    return [*out, law(PLAIN, 0.2 * unit(PLAIN), 1, width=1000)]


def _sides() -> list:
    """Negative side and weight decay."""
    left = {"alpha": [1.7, -0.9, 2.6], "beta": [0.8, -0.6]}
    out = [law(left, share * unit(left), depth, sign=-1) for depth in (1, 3, 20) for share in (1e-3, 0.5)]
    out += [law(left, 40 * unit(left), 2, sign=-1, width=10), law(left, 0.5 * unit(left), 0)]
    out += [law(PLAIN, t, 0, weight_decay=0.4, width=w) for t, w in ((0.05, 1), (0.05, 3), (5.0, 3))]
    for share in (1e-6, 1e-2, 0.2, 0.6, 0.9, 0.999):
        out.append(law(PLAIN, share * 0.7 / 3.0, 1, weight_decay=0.3, width=2))
    return [*out, *(law(left, share * 0.4 / 2.6, 1, weight_decay=0.2, sign=-1) for share in (0.1, 0.8))]


def _skewed() -> list:
    out = []
    for rho in (0.9, -0.9, 0.9999, -0.9999):
        data = correlated(rho)
        for depth in (0, 1, 2, 8):
            shares = (0.05, 0.6) if depth == 1 else (0.05, 10.0)
            out += [law(data, share * unit(data), depth) for share in shares]
    two = {"alpha": [1.0, 0.7973, 0.6416], "beta": [1.0, 0.3355]}  # a mode comes back on heating
    return out + [law(two, share * unit(two), 1) for share in (0.2, 0.4, 0.7, 0.99)]


def _nearly_silent() -> list:
    data = [nearly_silent(gap, c) for gap in (1e-4, 1e-8, 1e-12) for c in (0.3, -0.3, 0.0)]
    out = [law(d, 0.2 * unit(d), depth) for d in data for depth in (0, 1, 2)]
    cold = [nearly_silent(1e-8, c) for c in (0.3, -0.3)]
    out += [law(d, 1e-4 * unit(d), depth) for d in cold for depth in (0, 1, 5)]
    # both signs of c in the degenerate limit, seen from v < 0
    left = nearly_silent(1e-8, 1.5)
    return out + [law(left, 0.3 * unit(left), depth, sign=-1) for depth in (1, 2)]


def _silent() -> list:
    below, above, far, flat = silent(0.75, 0.25), silent(0.75, -0.25), silent(0.5, 1.5), silent(0.0, -0.5)
    out = [law(d, t, 0) for d in (below, above) for t in (0.02, 1.0)]
    out += [law(below, 0.1, 0, weight_decay=0.5, width=2), law(silent(0.75, -1.0), 0.1, 0, weight_decay=0.5)]
    # Tc of `below` is (beta1 - c/k)/(alpha1 k) = 4/9
    out += [law(below, t, 1) for t in (1e-3, 0.1, 0.4)] + [law(silent(0.75, 0.0), 0.1, 1, weight_decay=0.25)]
    out += [law(above, t, 1) for t in (1e-3, 0.1, 3.0)] + [law(silent(0.75, -0.5), 0.1, 1, weight_decay=0.25)]
    out += [law(far, t, 1, sign=-1) for t in (0.1, 1.0)] + [law(far, 0.1, 1, sign=-1, weight_decay=0.25)]
    out += [law(flat, t, 1) for t in (0.05, 5.0)] + [law(silent(0.0, 0.5), 0.2, 1, sign=-1, weight_decay=0.125)]
    out += [law(d, t, depth) for d in (below, above) for depth in (2, 5) for t in (0.1, 10.0)]
    return [*out, law(far, 0.3, 2, sign=-1), law(far, 0.3, 5, sign=-1, width=4)]


def _constant() -> list:
    """Constant x^2 and its neighbourhood."""
    data = {"alpha": [0.0, 0.0, 1.3], "beta": [1.1, 0.7]}
    t = unit(data)
    out = [law(data, 0.1, 0), law(data, 2.0, 0, weight_decay=0.3, width=3)]
    out += [law(data, share * t, 1) for share in (1e-4, 0.2, 0.5, 0.99)] + [law(data, 0.1 * t, 1, weight_decay=0.2)]
    out += [law(data, share * t, depth) for depth in (2, 5, 20) for share in (0.1, 10.0)]
    out.append(law({"alpha": [0.0, 0.0, 1.3], "beta": [1.1, -0.7]}, 0.1 * t, 2, sign=-1, width=5))
    sizes = (1e-4, 1e-8, 1e-12)
    return out + [law(nearly_constant(s), 0.2 * t, depth) for s in sizes for depth in (0, 1, 3)]


def _infinite() -> list:
    data = [PLAIN, correlated(-0.9), correlated(0.9)]
    return [
        {"kind": "infinite", **d, "temperature": share * unit(d), "ratio": r}
        for d in data
        for r in (0.3, 1.0, 10.0)
        for share in ((0.05, 3.0) if d is PLAIN else (0.5,))
    ]


def _second_order() -> list:
    """Transition at beta2/(alpha3 + S beta2^2)."""
    out = []
    for size in (1, 4, 32):
        for data in (PLAIN, correlated(-0.9)):
            critical = data["beta"][1] / (data["alpha"][2] + size * data["beta"][1] ** 2)
            shares = (0.05, 0.5, 0.95) if data is PLAIN else (0.3,)
            out += [{"kind": "second-order", **data, "temperature": s * critical, "batch_size": size} for s in shares]
    return out


FAMILIES = {
    "depths": _depths(),
    "sides": _sides(),
    "skewed": _skewed(),
    "nearly-silent": _nearly_silent(),
    "silent": _silent(),
    "constant": _constant(),
    "infinite": _infinite(),
    "second-order": _second_order(),
}

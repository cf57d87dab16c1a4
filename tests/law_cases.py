"""Parameter sets of the laws, shared by the tests of this folder."""

import json
from pathlib import Path

import numpy as np

import sgdvi
from sgdvi import Moments, SGDStationary

REFERENCES = json.loads(Path(__file__).parent.joinpath("laws", "stationary-laws.json").read_text())["cases"]


def reference_moments(case: dict) -> Moments:
    return Moments(*case["alpha"], *case["beta"])


def reference_options(case: dict) -> dict:
    return {name: case[name] for name in ("depth", "width", "weight_decay")}


def random_data(count: int, seed: int) -> list[Moments]:
    """Moments that real data can have: of three weighted points, many of them nearly noiseless, and of any scale."""
    rng = np.random.default_rng(seed)
    found = []
    while len(found) < count:
        x = rng.normal(size=3) * 10.0 ** rng.uniform(-2, 2)
        y = (rng.normal() * x + 10.0 ** rng.uniform(-2, 1) * rng.normal(size=3)) * 10.0 ** rng.uniform(-2, 2)
        m = Moments.from_data(x, y, weights=rng.dirichlet(np.ones(3)) + 1e-3)
        if m.delta > 1e-9 * m.alpha1 * m.alpha3:
            found.append(m if m.beta2 > 0 else m.mirror())
    return found


def sets() -> list:
    """(moments, temperature, options) over temperatures, decay, sides, and data from easy to nearly noiseless."""
    out = []
    for k, s in ((1.0, 1.0), (0.1, 1.0), (2.0, 0.1), (-1.0, 0.5), (1.0, 1e-3)):
        m = Moments.linear(k, s)
        side = 1 if k > 0 else -1
        critical = abs(k) / float(m.alpha3)
        for share in (1e-4, 0.05, 0.3, 0.6, 0.95, 0.999):
            out.append((m, share * critical, {"depth": 1, "sign": side}))
        out.append((m, 0.3 * critical, {"depth": 1, "sign": side, "weight_decay": 0.3 * abs(k), "width": 7}))
        for share in (1e-3, 0.3, 3.0):
            out.append((m, share * critical, {"depth": 0}))
        out.append((m, 0.1 * critical, {"depth": 0, "width": 3, "weight_decay": 0.4}))
    for depth, width in ((2, 1), (3, 5), (8, 1), (20, 1000), (100, 2)):
        for k, s in ((1.0, 1.0), (-1.0, 0.5), (2.0, 0.1)):
            m = Moments.linear(k, s)
            unit = abs(k) / float(m.alpha3)
            shares = (1e-6, 0.1, 10.0, 1e3) if k == 1.0 else (0.1,)
            out += [(m, share * unit, {"depth": depth, "width": width, "sign": 1 if k > 0 else -1}) for share in shares]
    # data where the density has two bumps: a mode away from zero beside the divergence
    m = Moments(1.0, 0.7973, 0.6416, 1.0, 0.3355)
    out += [(m, share * 0.3355 / 0.6416, {"depth": 1}) for share in (0.2, 0.4, 0.7, 0.99)]
    return out


SETS = sets()
IDS = [f"{i}-depth{o['depth']}-T{np.format_float_scientific(t, 2)}" for i, (_, t, o) in enumerate(SETS)]

CASES = [
    (f"{path.stem.removeprefix('references-')}-{number}", case)
    for path in sorted(Path(__file__).parent.joinpath("laws").glob("references-*.json"))
    for number, case in enumerate(json.loads(path.read_text()))
]


def law_of(case):
    moments = Moments(*case["alpha"], *case["beta"])
    if case["kind"] == "infinite":
        return sgdvi.InfiniteDepthLaw(moments, case["temperature"], ratio=case["ratio"])
    if case["kind"] == "second-order":
        return sgdvi.SecondOrderLaw(moments, case["temperature"], batch_size=case["batch_size"])
    options = {name: case[name] for name in ("depth", "width", "weight_decay", "sign") if name in case}
    return SGDStationary(moments, case["temperature"], **options)

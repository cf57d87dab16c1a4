"""What `sgdvi law` knows of a law, by name."""

from dataclasses import dataclass
from math import inf, isfinite
from typing import Any

import numpy as np

from sgdvi.cli._source import Request
from sgdvi.laws import critical_temperature, phase

LEVELS = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
ORDERS = (1, 2, 3, 4)


@dataclass(frozen=True)
class Shown:
    """One law to show: its kind, its name beside others, its network and the distribution."""

    kind: str
    name: str
    depth: float
    width: int
    decay: float
    law: Any
    ratio: float | None = None


def describe(shown: Shown, request: Request, heat: float) -> dict[str, Any]:
    """Everything that is printed: numbers and words; a number that does not exist is inf or nan."""
    m, law = request.source.moments, shown.law
    stationary = shown.kind == "stationary"
    atoms = [(0.0, float(law.zero_mass)), (float(law.point), float(law.point_mass))] if stationary else []
    atoms = [(place, mass) for place, mass in atoms if mass > 0]
    proper = sum(mass for _, mass in atoms) < 1
    # The law of |v| with the side that it stands on, or the law itself.
    density, side = (law.law, float(law.sign)) if stationary else (law, 1.0)
    label = phase(m, heat, int(shown.depth), shown.decay) if isfinite(shown.depth) else None
    exponent = float(density.tail_exponent) if proper else None
    slope = float(m.minimizer)
    record = {
        "law": shown.kind,
        "data": request.source.title,
        "moments": {name: float(value) for name, value in vars(m).items()},
        "depth": shown.depth,
        "width": shown.width if shown.ratio is None else inf,
        "ratio": shown.ratio,
        "weight_decay": shown.decay,
        "temperature": heat,
        "critical_temperature": float(critical_temperature(m, int(shown.depth), shown.decay)) if label else inf,
        "phase": str(label) if label else "none",
        "least_squares": slope,
        "atoms": [{"at": place, "mass": mass} for place, mass in atoms],
        "support": _support(density, side) if proper else None,
        "mean": float(law.mean),
        "sd": float(np.sqrt(law.variance)),
        "bias": float(law.mean) - slope,
        "modes": [side * v + 0.0 for v in map(float, density.modes) if isfinite(v)] if proper else [],
        "quantiles": dict(zip((f"{q:g}" for q in LEVELS), map(float, law.icdf(np.array(LEVELS))), strict=True)),
        "tail_exponent": exponent,
        "tail": _tail(exponent),
        "raw_moments": {f"{k}": side**k * float(density.moment(k)) for k in ORDERS} if proper else {},
    }  # fmt: skip
    if shown.kind == "metastable":
        record["bulk"] = _bulk(law, request)
    if shown.kind == "second order":
        record["second_order"] = {
            "learning_rate": request.learning_rate,
            "batch_size": request.batch_size,
            "critical_temperature": float(law.critical_temperature),
        }
    record["meaning"] = _meaning(record, label, proper)
    return record


def _support(density: Any, side: float) -> list[float]:
    """Ends of the support."""
    support = density.support
    lower, upper = (getattr(support, f"{name}_bound", None) for name in ("lower", "upper"))
    ends = (-inf if lower is None else float(lower), inf if upper is None else float(upper))
    return sorted(side * end + 0.0 for end in ends)


def _bulk(law: Any, request: Request) -> dict[str, float | None]:
    """Barrier and lifetime; the lifetime may be beyond what a float holds, its logarithm is not."""
    rate = request.learning_rate
    log_life = float(law.log_lifetime)
    steps = None if rate is None else log_life - float(np.log(request.source.flow_learning_rate(rate)))
    return {"edge": float(law.edge), "barrier": float(law.barrier), "log_lifetime": log_life, "log_steps": steps}


def _tail(exponent: float | None) -> str:
    """The tail and which moments it leaves, in words."""
    if exponent is None:
        return "no density"
    if exponent == inf:
        return "the density ends, or falls faster than any power: E|v|^k exists for every k > 0"
    return f"density ~ |v|^-{exponent:.6g}: E|v|^k exists for 0 < k < {exponent - 1:.6g}"


def _meaning(record: dict[str, Any], label: Any, proper: bool) -> str:
    """The regime in words."""
    at_zero = "diverges" if 0.0 in record["modes"] else "vanishes"
    if record["law"] == "infinite depth":
        return "limit of depth and width at one d/D, proper at every temperature: only (d/D)/T matters"
    if record["law"] == "metastable":
        return "metastable: runs that start in the bulk stay there for a lifetime, and end at zero"
    if record["law"] == "second order":
        collapse = record["second_order"]["critical_temperature"]
        return (
            f"drift to second order in the learning rate, noise to first: the density {at_zero} at zero; "
            f"collapse at T = {collapse:.4g}"
        )
    if not proper and record["atoms"][0]["at"] != 0:
        return "no gradient noise at the least-squares slope: SGD stops there"
    if record["depth"] > 1 and not proper:
        if record["weight_decay"] > 0:
            return (
                "SGD ends at zero: at depth 2 and above any weight decay makes zero attract in the end (--metastable "
                "shows the bulk that stands before)"
            )
        return "SGD ends at zero: without a slope nothing holds it away"
    if record["depth"] != 1:
        return "no transition at this depth: the law is proper at every temperature"
    away = f"; {'it has a mode' if label.has_mode else 'there is no mode'} away from zero" if proper else ""
    return f"{label}: {label.meaning}{away}"

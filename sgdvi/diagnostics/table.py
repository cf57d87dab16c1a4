"""All checks, in the order in which a person reads them."""

from importlib import import_module

from sgdvi.diagnostics.declare import Check

# Module and function in this folder: a new check is its file and one line here.
_ORDER = (
    "finite.finite",
    "finite.distinct",
    "finite.overflow",
    "copies.copies",
    "copies.of_reference",
    "fits.convergence",
    "tail.index",
    "mixing.rhat",
    "mixing.ess",
    "mixing.mcse",
    "memory.nested",
    "hmc.divergences",
    "hmc.energy",
    "hmc.depth",
    "stationarity.trend",
    "spread.spread",
    "stationarity.identity",
    "stationarity.bias",
    "labels.labels",
    "arrival.posterior",
    "memory.start",
    "memory.parameters",
    "support.balance",
    "support.dimension",
    "divergence.in_parameters",
    "signs.factors",
    "signs.functional",
    "modes.modes",
    "modes.signs",
    "divergence.on_functional",
    "importance.khat",
    "distances.w1",
    "distances.ks",
    "distances.w2",
    "dependence.dependence",
    "joint.mmd",
    "joint.energy",
    "joint.sliced",
    "stein.ksd",
    "c2st.c2st",
    "use.means",
    "use.intervals",
    "use.tails",
    "predictive.loo",
    "predictive.coverage",
    "predictive.points",
    "predictive.calibrated",
    "laws.gap",
    "momentum.spread",
    "phases.temperature",
    "phases.collapse",
)


def _check(place: str) -> Check:
    module, function = place.split(".")
    declared: Check = getattr(import_module(f"sgdvi.diagnostics.{module}"), function)
    return declared


TABLE: tuple[Check, ...] = tuple(map(_check, _ORDER))

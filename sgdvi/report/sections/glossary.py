"""The words of the report, and the thresholds that were used."""

from sgdvi.diagnostics.record import Record
from sgdvi.diagnostics.thresholds import Thresholds
from sgdvi.report._render import Section, render
from sgdvi.report.context import Context

_LINEAR = (
    ("v, u, w", "The network is f(x) = v x. At depth 0, v = u; at depth 1, v = u w, summed over units."),
    (
        "Temperature T",
        "κ × learning rate / batch size, κ = 1/(2σ²): the size of SGD's noise. The exact laws depend on it alone.",
    ),
    (
        "Tc",
        "Critical temperature of depth 1. At and above it SGD's only stationary law is the point mass at 0. "
        "The discrete threshold is the same for SGD with its actual step size and batches.",
    ),
    (
        "Phases",
        "III: the density vanishes at 0. II: it diverges there, still a proper law. I: collapsed. "
        "Suffix b: there is a mode away from 0; a: there is none.",
    ),
    ("Balanced", "|u| = |w|. Gradient noise drives the factors there; weight decay helps, plain descent does not."),
    (
        "Discretisation gap",
        "Distance between SGD with its actual step size and the exact law of the gradient flow at the same T.",
    ),
)
_GENERAL = (
    (
        "KL",
        "Kullback-Leibler divergence, in nats, its direction named. It is infinite between laws of disjoint support.",
    ),
    ("W1", "Wasserstein distance: how far probability has to be moved, in units of the functional."),
    ("KS", "Kolmogorov distance: the largest gap between two distribution functions, between 0 and 1."),
    ("Null level", "The same distance between two samples of the same law: what chance alone gives."),
    ("R-hat, ESS", "Agreement of the chains (1 is perfect); number of independent draws that the draws are worth."),
    ("n/a, unknown", "The check does not apply to this run; the check could not be computed. Neither is a pass."),
)


def thresholds(record: Record, context: Context) -> Section:
    """Return the table of the thresholds, each with its reason and source; those that were changed are marked."""
    changed, reasons = record.thresholds.changed(), Thresholds.sources()
    rows, before = [], ""
    for name, value in record.thresholds.to_dict().items():
        why = "" if reasons[name] == before else reasons[name]  # a pair of limits has one reason
        rows.append({"name": name, "value": value, "changed": name in changed, "why": why})
        before = reasons[name]
    return Section("thresholds", "Thresholds", render("thresholds", rows=rows))


def section(record: Record, context: Context) -> Section:
    """Return the glossary; the terms of linear networks only where there is one."""
    linear = record.network is not None or (context.problem is not None and context.problem.linear)
    terms = (*_LINEAR, *_GENERAL) if linear else _GENERAL
    return Section("glossary", "Glossary", render("glossary", terms=terms))

"""The functionals: all runs in one figure, on a plain and on a logarithmic axis, and their summaries."""

from typing import Any

import numpy as np

from sgdvi._internal.text import typeset
from sgdvi.diagnostics.findings import Status
from sgdvi.diagnostics.record import Record
from sgdvi.report import figures, series
from sgdvi.report._render import Section, render
from sgdvi.report.context import Context
from sgdvi.style.figure import Picture, picture
from sgdvi.style.palette import EXACT_LAW

MOST_FIGURES = 2
MOST_ROWS = 20
_COLUMNS = ("mean", "sd", "q5", "q50", "q95", "ess", "rhat", "n")
_HEADS = ("mean", "sd", "5 %", "median", "95 %", "ESS", "R-hat", "draws")


def section(record: Record, context: Context) -> Section | None:
    """Return densities and summaries of the functionals; with more than three of them a forest on top."""
    names = _worst_first(record)
    if not names:
        return None
    several = len(names) > MOST_FIGURES + 1
    pictures = []
    if several:
        pictures.append(_forest(record, names[:MOST_ROWS]))
    for name in names[:MOST_FIGURES] if several else names:
        pictures += _densities(record, name, tails=not several)
    html = render(
        "marginals",
        lead=_lead(names, several),
        pictures=pictures,
        tables=[_table(record, name) for name in names[:MOST_ROWS]],
        more=f"{len(names) - MOST_ROWS} more functionals are in report.json." if len(names) > MOST_ROWS else "",
    )
    return Section("marginals", "The laws side by side", html)


def _worst_first(record: Record) -> list[str]:
    badness = dict.fromkeys(record.functionals, (0, 0.0))
    for finding in record.findings:
        if finding.functional in badness and finding.check.startswith("distance"):
            rank = (Status(finding.status).severity, finding.value or 0.0)
            badness[finding.functional] = max(badness[finding.functional], rank)
    return sorted(badness, key=lambda name: badness[name], reverse=True)


def _lead(names: list[str], several: bool) -> str:
    if several:
        return (
            f"{len(names)} functionals, the one with the largest distance first. The densities of the "
            f"first {MOST_FIGURES} are drawn."
        )
    return ""


def _densities(record: Record, name: str, tails: bool) -> list[Picture]:
    runs, curves = list(record.runs), series.gather(record, name)
    alt = f"Densities of {name} under {', '.join(runs)}. {_in_words(record, name)}"
    pictures = [
        picture(
            lambda theme: figures.marginals(curves, runs, theme),
            alt,
            f"The density of {name}: the shaded steps are SGD's draws; lines are laws and smoothed draws.",
        ),
    ]
    if tails:
        pictures.append(
            picture(
                lambda theme: figures.marginals(curves, runs, theme, log=True),
                f"The same densities of {name} on a logarithmic axis.",
                "The same on a logarithmic axis, where tails and missing mass show.",
            )
        )
    reference = next((run for run in ("exact posterior", "NUTS") if run in curves.distributions), None)
    if reference is not None:
        pictures.append(
            picture(
                lambda theme: figures.distances(curves, runs, reference, theme),
                f"Distribution functions of {name} of all runs minus that of {reference}.",
                f"How far every run is from the posterior ({reference}): the largest height of a line is its "
                "Kolmogorov distance.",
            )
        )
    if curves.atoms.get(EXACT_LAW) == 0 and "SGD" in curves.draws:
        effective = record.summaries["SGD"][name].get("ess")
        if effective is not None and np.isfinite(effective):
            bare = any("without the prior's weight decay" in f.meaning for f in record.findings)
            pictures.append(_gap(curves, effective, "the weight decay that the law leaves out and " if bare else ""))
    return pictures


def _gap(curves: series.Curves, effective: float, also: str) -> Picture:
    return picture(
        lambda theme: figures.gap(curves, theme, effective),
        f"Distribution function of SGD's {curves.name} minus that of the exact law, with the band of sampling error.",
        f"SGD against its own exact law. Outside the band ({typeset(effective, 2)} effective draws) the difference is "
        f"not chance but {also}the step size.",
    )


def _forest(record: Record, names: list[str]) -> Picture:
    return picture(
        lambda theme: figures.forest(record, names, theme),
        f"Means and 5 % to 95 % ranges of {', '.join(names)} for every run with draws.",
        "Every functional, every run with draws: mean and 5 % to 95 % range.",
    )


def _in_words(record: Record, name: str) -> str:
    parts = []
    for run, summary in record.summaries.items():
        values = summary.get(name)
        if values:
            parts.append(f"{run}: mean {typeset(values.get('mean'))}, sd {typeset(values.get('sd'))}")
    return "; ".join(parts) + "." if parts else ""


def _table(record: Record, name: str) -> dict[str, Any]:
    rows = []
    for run, summary in record.summaries.items():
        if name in summary:
            rows.append({"name": run, "values": [_entry(summary[name].get(column)) for column in _COLUMNS]})
    return {"name": name, "caption": f"Summary of {name}", "columns": _HEADS, "rows": rows}


def _entry(value: float | None) -> Any:
    return "–" if value is None or np.isnan(value) else value

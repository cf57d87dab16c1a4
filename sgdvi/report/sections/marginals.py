"""The functionals: all runs in one figure, on a plain and on a logarithmic axis, and their summaries."""

from typing import Any

import numpy as np

from sgdvi._internal.style.figure import Picture, picture
from sgdvi._internal.style.palette import EXACT_LAW
from sgdvi._internal.text import typeset
from sgdvi.diagnostics.record import Record
from sgdvi.report import figures, series
from sgdvi.report._render import Section, render
from sgdvi.report.context import Context

MOST_FIGURES = 3
# Rows of the table that are open, and all that it holds: the record has every functional.
OPEN_ROWS, MOST_ROWS = 18, 400
_COLUMNS = ("mean", "sd", "q5", "q50", "q95", "ess", "rhat", "n")
_HEADS = ("mean", "sd", "5 %", "median", "95 %", "ESS", "R-hat", "draws")


def section(record: Record, context: Context) -> Section | None:
    """Return the densities of the worst functional, those of the next ones folded, and one table of all."""
    names = series.worst_first(record)
    if not names:
        return None
    # what is folded is shown where it is little
    shown = names[: MOST_FIGURES if len(names) <= MOST_FIGURES else 1]
    groups = [{"name": name, "pictures": _densities(record, name, tails=True)} for name in shown]
    rows = [row for name in names for row in _rows(record, name)]
    html = render(
        "marginals",
        lead=f"{len(names)} functionals, the one with the largest distance first." if len(names) > 1 else "",
        groups=groups,
        heads=_HEADS,
        open=len(rows) <= OPEN_ROWS,
        rows=rows[:MOST_ROWS],
        more=f"{len(rows) - MOST_ROWS} more rows are in report.json." if len(rows) > MOST_ROWS else "",
    )
    return Section("marginals", "The laws side by side", html)


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


def _in_words(record: Record, name: str) -> str:
    parts = []
    for run, summary in record.summaries.items():
        values = summary.get(name)
        if values:
            parts.append(f"{run}: mean {typeset(values.get('mean'))}, sd {typeset(values.get('sd'))}")
    return "; ".join(parts) + "." if parts else ""


def _rows(record: Record, name: str) -> list[dict[str, Any]]:
    return [
        {"functional": name, "run": run, "values": [_entry(summary[name].get(column)) for column in _COLUMNS]}
        for run, summary in record.summaries.items()
        if name in summary
    ]


def _entry(value: float | None) -> Any:
    return "–" if value is None or np.isnan(value) else value

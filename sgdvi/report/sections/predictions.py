"""Predictions of a test set: scores of every run, reliability, and the points that can be trusted least and most."""

from typing import Any

from matplotlib.figure import Figure

from sgdvi._internal.style.figure import Picture, picture
from sgdvi._internal.style.palette import Theme
from sgdvi._internal.text import listed, number
from sgdvi.diagnostics.predictions.figure import DRAW
from sgdvi.diagnostics.predictions.result import WORDS, Predictions
from sgdvi.diagnostics.record import Record
from sgdvi.report._render import Section, render
from sgdvi.report.context import Context

_MOST_POINTS = 10


def section(record: Record, context: Context) -> Section | None:
    """Return scores, figures and rankings, or None where there are no predictions of a test set."""
    found = record.predictions
    if found is None:
        return None
    columns = found.columns()
    rows = [
        {"run": name, "values": [run.numbers.get(column) for column in columns], "counts": run.counts}
        for name, run in found.runs.items()
    ]
    ranked = [
        {"run": name, "meaning": run.meaning, "worst": _points(found, name, 1), "best": _points(found, name, -1)}
        for name, run in found.runs.items()
        if run.distance is not None
    ]
    html = render(
        "predictions",
        found=found,
        heads=[WORDS[column] for column in columns],
        rows=rows,
        ranked=ranked,
        pictures=_pictures(found) if found.observed else [],
        distance="total variation" if found.classes else "W1, predictive sd",
    )
    return Section("predictions", "Predictions of a test set", html)


def _points(found: Predictions, name: str, side: int) -> list[dict[str, Any]]:
    run = found.runs[name]
    assert run.distance is not None and run.null is not None  # noqa: PT018  those of runs without are not asked for
    order = run.ranking[::side][:_MOST_POINTS]
    return [{"point": int(i), "distance": run.distance[i], "null": run.null[i], "trust": run.trust[i]} for i in order]


def _pictures(found: Predictions) -> list[Picture]:
    def drawn(panel: str, theme: Theme) -> Figure:
        figure = Figure()
        DRAW[panel](found.runs, found.reference, found.classes, figure.subplots(), theme)
        return figure

    runs = listed(list(found.runs))
    first = found.reference or next(iter(found.runs))
    errors = ", ".join(f"{name}: {number(run.numbers.get('calibration_error'))}" for name, run in found.runs.items())
    return [
        picture(
            lambda theme: drawn("reliability", theme),
            f"Reliability of the predictions of {runs}. Expected calibration errors: {errors}.",
            f"How often predictions are right against how sure they are. Grey: what chance explains for {first}.",
        ),
        picture(
            lambda theme: drawn("selective", theme),
            f"Error of the predictions of {runs} against the share of test points that is kept.",
            "The error among the predictions that a run is surest of: a flat line says that it is sure at random.",
        ),
    ]

"""What a comparison of predictions says: plain data, as text, as JSON types and as figures."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sgdvi._internal.card import card
from sgdvi._internal.check import require
from sgdvi._internal.files import AsJson, plain
from sgdvi._internal.text import count, listed, number, table
from sgdvi.diagnostics.predictions.figure import plot_predictions
from sgdvi.diagnostics.predictions.of_run import RunPredictions

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# How the columns of numbers are headed.
WORDS = {
    "distance": "distance",
    "agreement": "same top class",
    "log_score": "log score",
    "brier": "Brier",
    "crps": "CRPS",
    "error": "error",
    "calibration_error": "ECE",
    "calibration_null": "by chance",
    "coverage": "coverage",
    "epistemic": "epistemic",
    "aleatoric": "aleatoric",
    "between": "sd between",
    "within": "sd within",
    "rhat": "R-hat",
}


@dataclass(frozen=True, eq=False)
class Predictions(AsJson):
    """Predictions of a test set by several runs; made by `compare_predictions`.

    Attributes
    ----------
    kind
        "classification" or "regression".
    reference
        Name of the run that the others are held against, or None.
    points, classes
        Number of test points, and of classes (0 for regression).
    observed
        Whether it is known what was observed.
    runs
        Run -> what was found; the reference too, without distances.
    """

    kind: str
    reference: str | None
    points: int
    classes: int
    observed: bool
    runs: Mapping[str, RunPredictions]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON types; arrays as lists, nan and infinities as texts."""
        runs = {name: {key: _list(value) for key, value in asdict(run).items()} for name, run in self.runs.items()}
        return plain({**{name: getattr(self, name) for name in _PLAIN}, "runs": runs})

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> "Predictions":
        """Return what `to_dict` was made from."""
        runs = {name: RunPredictions.from_dict(one) for name, one in entry["runs"].items()}
        return cls(**{name: entry[name] for name in _PLAIN}, runs=runs)

    def table(self) -> list[dict[str, float | str | None]]:
        """Return one row per run: its name, whether it can be trusted and every number."""
        return [{"run": name, "status": str(run.status), **run.numbers} for name, run in self.runs.items()]

    def plot(self, *, axes: Mapping[str, "Axes"] | None = None) -> dict[str, "Axes"]:
        """Draw reliability and the error of what is kept.

        Parameters
        ----------
        axes
            Axes for the panels "reliability" and "selective"; a new figure with both by default.

        Raises
        ------
        InputError
            If it is not known what was observed.
        """
        require(self.observed, "a figure of predictions needs what was observed", "None", "Give observed=.")
        return plot_predictions(self.runs, self.reference, self.classes, axes=axes)

    def columns(self) -> list[str]:
        """Return the names of the numbers of which some run has one, in the order of reading."""
        runs = self.runs.values()
        return [name for name in WORDS if any(run.numbers.get(name) is not None for run in runs)]

    def __str__(self) -> str:
        shown = self.columns()
        rows = [["predictions", *(WORDS[name] for name in shown)]]
        for name, run in self.runs.items():
            cells = (run.numbers.get(column) for column in shown)
            rows.append([name, *("" if cell is None else number(cell, 3) for cell in cells)])
        lines = [f"- {run.meaning}" for run in self.runs.values() if run.meaning]
        return "\n".join([*table(rows, left=len(rows[0])), "", *lines])

    def __repr__(self) -> str:
        against = "" if self.reference is None else f" against {self.reference}"
        others = [name for name in self.runs if name != self.reference]
        return f"<Predictions of {count(self.points, 'test point')} by {listed(others)}{against}>"

    def _repr_html_(self) -> str:
        rows = {name: run.meaning for name, run in self.runs.items() if run.meaning}
        return card(f"Predictions of {count(self.points, 'test point')}", rows)


_PLAIN = ("kind", "reference", "points", "classes", "observed")


def _list(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        # six digits: a thousand points of ten runs are read by people, and by other programs
        return [float(f"{one:.6g}") for one in value]
    return {name: _list(one) for name, one in value.items()} if isinstance(value, Mapping) else value

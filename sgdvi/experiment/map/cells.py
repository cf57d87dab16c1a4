"""The map: cells of learning rate and batch size, the nearest of them, and their records."""

import enum
import math
from dataclasses import asdict, dataclass
from typing import Any

from sgdvi._internal.files import AsJson, plain
from sgdvi._internal.text import table, typeset
from sgdvi.diagnostics.findings import Status

SCHEMA_VERSION = 1


class Outcome(enum.StrEnum):
    """What SGD does at a learning rate and batch size.

    Attributes
    ----------
    LAW
        It has a stationary law, or its chains did not end: the distances say how near it is.
    COLLAPSES
        It ends at v = 0.
    OVERFLOWS
        Its chains overflow.
    """

    LAW = "law"
    COLLAPSES = "collapses"
    OVERFLOWS = "overflows"


@dataclass(frozen=True)
class Cell:
    """One learning rate and batch size.

    Attributes
    ----------
    learning_rate, batch_size
        Of the optimizer.
    temperature
        T = kappa * learning rate / batch size, with the factor of the batching; None where there is none.
    outcome
        What SGD does.
    status
        pass, warn or fail of W1 and KS by the package's thresholds, the worse of them; unknown for too few draws.
    w1, ks
        Distances to the posterior: W1 in its standard deviations, KS; nan where chains overflow. To several functionals
        the worst of each.
    w1_null, ks_null
        What no difference looks like: see `Cells.null_draws`.
    kl
        KL(SGD || posterior) on v in nats between the exact laws; nan where one of them is not known.
    overflowed
        Share of chains that overflowed.
    foreseen
        The largest W1 over the functionals that the law near the mode has, in posterior standard deviations; inf where
        it has no finite variance, nan where nothing is foreseen. For models without an exact law.
    steps
        Steps per chain that make 100 autocorrelation times, as foreseen; nan likewise. Cells that would need more than
        ten times what a run has are not run: `w1` is nan.
    """

    learning_rate: float
    batch_size: int
    temperature: float | None
    outcome: Outcome
    status: Status
    w1: float
    ks: float
    w1_null: float
    ks_null: float
    kl: float
    overflowed: float
    foreseen: float = math.nan
    steps: float = math.nan


@dataclass(frozen=True)
class Cells(AsJson):
    """A map over learning rate and batch size: all of `Sweep` but its page.

    Attributes
    ----------
    model
        Name of the problem.
    options
        Its options (depth, width, ...).
    by
        "exact laws" or "runs of SGD".
    functionals
        What the distances are on.
    reference
        What stands for the posterior.
    null_draws
        Number of effective draws that the null levels are for: those of the posterior itself, or nan where every cell
        has its own.
    learning_rates, batch_sizes
        The axes.
    cells
        All cells, by batch size and then by learning rate.
    tuned_temperature, tuned_kl
        The best temperature of all and its KL, see `sgdvi.variational.tune`; nan where unknown.
    """

    model: str
    options: dict[str, Any]
    by: str
    functionals: tuple[str, ...]
    reference: str
    null_draws: float
    learning_rates: tuple[float, ...]
    batch_sizes: tuple[int, ...]
    cells: tuple[Cell, ...]
    tuned_temperature: float
    tuned_kl: float

    @property
    def nearest(self) -> Cell | None:
        """The cell nearest to the posterior: least KL, or W1 where that is not known; of equals the smallest steps.

        Where no cell could be run, the one with the least W1 that is foreseen. None where SGD has no law anywhere on
        the map.
        """
        alive = [cell for cell in self.cells if cell.outcome is Outcome.LAW and not math.isnan(cell.w1)]
        if not alive:  # what takes too long to be run is foreseen all the same
            return min((c for c in self.cells if math.isfinite(c.foreseen)), key=lambda c: c.foreseen, default=None)
        with_kl = [cell for cell in alive if math.isfinite(cell.kl)]

        def far(cell: Cell) -> float:
            return cell.kl if with_kl else cell.w1

        # Cells on one diagonal have the same temperature and so, but for rounding, the same law.
        least = min(map(far, with_kl or alive))
        return min((c for c in with_kl or alive if far(c) <= least * (1 + 1e-6)), key=lambda cell: cell.learning_rate)

    def cell(self, learning_rate: float, batch_size: int) -> Cell:
        """Return the cell at a learning rate and batch size of the axes."""
        place = self.batch_sizes.index(batch_size) * len(self.learning_rates)
        return self.cells[place + self.learning_rates.index(learning_rate)]

    def to_dict(self) -> dict[str, Any]:
        """Return the map as JSON types; infinities and nan as the texts "inf", "-inf", "nan"."""
        nearest = None if self.nearest is None else asdict(self.nearest)
        return plain({"schema_version": SCHEMA_VERSION, **asdict(self), "nearest": nearest, "answer": self.answer})

    @property
    def answer(self) -> str:
        """Where SGD is nearest to the posterior and how near, in two or three sentences."""
        cell, what = self.nearest, " and ".join(self.functionals[:3])
        if cell is None:
            return "SGD has no stationary law anywhere on this map: it collapses or overflows."
        words = {
            Status.PASS: "as near as the checks ask for",
            Status.WARN: "close, but visibly not the posterior",
            Status.UNKNOWN: "too few draws to say how near",
        }
        where = f"learning rate {typeset(cell.learning_rate)}, batch size {cell.batch_size}"
        if cell.temperature is not None:
            where += f" (T = {typeset(cell.temperature)})"
        if math.isnan(cell.w1):
            steps = typeset(min(one.steps for one in self.cells if math.isfinite(one.steps)), 2)
            text = f"No cell was run: each needs {steps} steps per chain or more. As foreseen, SGD is nearest to the "
            return f"{text}posterior of {what} at {where}: W1 {typeset(cell.foreseen, 2)} sd."
        kl = f", KL {typeset(cell.kl)} nats" if math.isfinite(cell.kl) else ""
        text = (
            f"SGD is nearest to the posterior of {what} at {where}: W1 {typeset(cell.w1)} sd, KS {typeset(cell.ks)}{kl}"
        )
        text += f"; {words.get(cell.status, 'not the posterior')}."
        text += f" By chance W1 would be up to {typeset(cell.w1_null)} sd"
        draws = self.null_draws
        text += "." if math.isnan(draws) else f" for {typeset(draws)} draws of the posterior itself."
        if math.isfinite(self.tuned_temperature):
            text += (
                f" No learning rate and batch size does better than KL {typeset(self.tuned_kl)} nats, "
                f"at T = {typeset(self.tuned_temperature)}."
            )
        return text

    def __str__(self) -> str:
        head = ["rate \\ batch", *map(str, self.batch_sizes)]
        rows = [
            [typeset(rate), *(self._text(self.cell(rate, size)) for size in self.batch_sizes)]
            for rate in self.learning_rates
        ]
        note = f"W1 to {self.reference} in its sd, by {self.by}; * nearest, ! close, x far"
        if any(not math.isnan(cell.foreseen) for cell in self.cells):
            note += "; in brackets as foreseen, alone where a run would be too short to show it"
        return "\n".join([self.answer, "", *table([head, *rows]), note])

    def _text(self, cell: Cell) -> str:
        foreseen = "" if math.isnan(cell.foreseen) else f"({typeset(cell.foreseen, 2)})"
        if cell.outcome is not Outcome.LAW:
            return "collapse" if cell.outcome is Outcome.COLLAPSES else f"overflow {foreseen}".rstrip()
        mark = {Status.PASS: "", Status.WARN: " !", Status.UNKNOWN: " ?"}.get(cell.status, " x")
        mark = " *" if cell == self.nearest else "" if math.isnan(cell.w1) else mark
        measured = "" if math.isnan(cell.w1) else typeset(cell.w1, 2) + " " * bool(foreseen)
        return f"{measured}{foreseen}{mark}"

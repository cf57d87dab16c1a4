"""What `sgdvi.sweep` returns."""

import os
from dataclasses import dataclass
from pathlib import Path

from sgdvi._internal.card import card
from sgdvi._internal.text import number
from sgdvi.experiment.map.cells import Cells
from sgdvi.experiment.map.page import write_html


@dataclass(frozen=True)
class Sweep(Cells):
    """A map over learning rate and batch size; its base class, `Cells`, describes the arrays in it."""

    def __repr__(self) -> str:
        size = f"{len(self.batch_sizes)} batch sizes x {len(self.learning_rates)} learning rates"
        return f"<Sweep of {self.model}, {size}: {self.answer}>"

    def _repr_html_(self) -> str:
        axes = {"learning rates": self.learning_rates, "batch sizes": self.batch_sizes}
        rows = {name: f"{number(min(values))} to {number(max(values))}" for name, values in axes.items()}
        return card(f"Sweep: {self.model}", rows, self.answer)

    def to_html(self, path: str | os.PathLike[str]) -> Path:
        """Write the map as one self-contained HTML page and return the path.

        Raises
        ------
        InputError
            If the file cannot be written.
        """
        return write_html(self, path)

"""What `sgdvi.sweep` returns."""

import os
from dataclasses import dataclass
from pathlib import Path

from sgdvi.experiment.map.cells import Cells
from sgdvi.experiment.map.page import write_html


@dataclass(frozen=True)
class Sweep(Cells):
    """A map over learning rate and batch size; its base class, `Cells`, describes the arrays in it."""

    def to_html(self, path: str | os.PathLike[str]) -> Path:
        """Write the map as one self-contained HTML page and return the path.

        Raises
        ------
        InputError
            If the file cannot be written.
        """
        return write_html(self, path)

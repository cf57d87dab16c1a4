"""What `sgdvi.reproduce` returns."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sgdvi.experiment.claims._claim import Claim, Verdict
from sgdvi.experiment.claims.page import write_html
from sgdvi.experiment.claims.rows import Checked, Rows


@dataclass(frozen=True)
class Reproduction(Rows):
    """The claims of the paper with their verdicts; ``found["T17"]`` is one row.

    Attributes
    ----------
    claims
        A row for every claim, in the order of the paper: its declaration ``.claim``, ``.verdict``, ``.text``,
        ``.values``, ``.changed``.
    quick, seed
        As they were given.
    version
        Version of sgdvi that measured.
    """

    def to_html(self, path: str | os.PathLike[str]) -> Path:
        """Write one self-contained page, each figure beside its claim, and return the path.

        Raises
        ------
        InputError
            If the file cannot be written.
        """
        return write_html(self, path)


def read(path: str | os.PathLike[str], claims: Mapping[str, Claim]) -> Reproduction:
    """Read what `Reproduction.to_json` wrote; `claims` are the declarations by id."""
    record = json.loads(Path(path).read_text(encoding="utf-8"))
    measured = ("text", "setting", "values", "curves", "seconds")
    rows = tuple(
        Checked(claims[row["id"]], Verdict(row["verdict"]), *(row[name] for name in measured))
        for row in record["claims"]
    )
    return Reproduction(rows, record["quick"], record["seed"], record["version"])

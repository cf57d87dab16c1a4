"""The rows: claims with what was measured of them, as text and as JSON."""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sgdvi._internal.check import InputError, message
from sgdvi._internal.files import AsJson, plain
from sgdvi.experiment.claims._claim import Claim, Verdict

SCHEMA_VERSION = 1
_WIDTH, _INDENT = 96, 9
_PLURAL = {
    Verdict.HOLDS: "hold",
    Verdict.CORRECTED: "hold with a correction",
    Verdict.FAILS: "do not hold",
    Verdict.UNKNOWN: "cannot be told",
}


@dataclass(frozen=True)
class Checked:
    """A claim with what was measured of it.

    Attributes
    ----------
    claim
        Its declaration.
    verdict
        What was found.
    text, setting
        The measurement and the setting in words, with their numbers.
    values
        All numbers by name.
    curves
        What the figure draws.
    seconds
        Time that it took.
    """

    claim: Claim
    verdict: Verdict
    text: str
    setting: str
    values: Mapping[str, Any]
    curves: Mapping[str, Any]
    seconds: float

    @property
    def changed(self) -> bool:
        """Whether the verdict is another than the expected one."""
        return self.verdict is not self.claim.expected

    def to_dict(self) -> dict[str, Any]:
        """Return the row as JSON types."""
        declared = ("id", "title", "paper", "says", "how", "criterion", "expected")
        measured = ("verdict", "text", "setting", "values", "curves", "seconds")
        row = {name: getattr(self.claim, name) for name in declared}
        return plain(row | {name: getattr(self, name) for name in measured})

    def __str__(self) -> str:
        mark = f", expected: {self.claim.expected}" if self.changed else ""
        head = f"{self.claim.id:<{_INDENT}}{self.claim.title} [{self.claim.paper}]: {self.verdict.upper()}{mark}"
        indent = " " * _INDENT
        body = textwrap.wrap(self.text, _WIDTH, initial_indent=indent, subsequent_indent=indent)
        return "\n".join([*textwrap.wrap(head, _WIDTH, subsequent_indent=indent), *body])


@dataclass(frozen=True)
class Rows(AsJson):
    """The claims of the paper with their verdicts: all of `Reproduction` but its page.

    Attributes
    ----------
    claims
        A row for every claim, in the order of the paper: its declaration ``.claim``, ``.verdict``, ``.text``,
        ``.values``.
    quick, seed
        As they were given.
    version
        Version of sgdvi that measured.
    """

    claims: tuple[Checked, ...]
    quick: bool
    seed: int
    version: str

    def __getitem__(self, id: str) -> Checked:
        for row in self.claims:
            if row.claim.id.lower() == id.lower():
                return row
        raise InputError(message("id must be one of the claims that were checked", repr(id), _names(self.claims)))

    @property
    def changed(self) -> tuple[Checked, ...]:
        """The rows whose verdict is another than the expected one."""
        return tuple(row for row in self.claims if row.changed)

    @property
    def answer(self) -> str:
        """How many claims hold, and what differs from what was expected, in one or two sentences."""
        parts = [f"{count} {_PLURAL[verdict]}" for verdict in Verdict if (count := self._count(verdict))]
        what = f"Of {len(self.claims)} claims and figures {', '.join(parts)}."
        if not self.changed:
            return f"{what} All verdicts are the expected ones."
        return f"{what} Other than expected: {', '.join(row.claim.id for row in self.changed)}."

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON types; infinities and nan as the texts "inf", "-inf", "nan"."""
        facts = {"schema_version": SCHEMA_VERSION, "version": self.version, "quick": self.quick, "seed": self.seed}
        return {**facts, "answer": self.answer, "claims": [row.to_dict() for row in self.claims]}

    def __str__(self) -> str:
        return "\n".join([*map(str, self.claims), "", self.answer])

    def _count(self, verdict: Verdict) -> int:
        return sum(row.verdict is verdict for row in self.claims)


def _names(rows: tuple[Checked, ...]) -> str:
    return f"They are {', '.join(row.claim.id for row in rows)}."

"""The record that every check returns."""

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

Details = dict[str, float | int | str | bool | None]


class Status(enum.StrEnum):
    """Outcome of a check, from harmless to serious in the order of `severity`."""

    PASS = "pass"
    NOT_APPLICABLE = "not-applicable"
    UNKNOWN = "unknown"
    WARN = "warn"
    FAIL = "fail"

    @property
    def severity(self) -> int:
        """Rank among the statuses: 0 for pass, 4 for fail."""
        return list(Status).index(self)


@dataclass(frozen=True)
class Finding:
    """What one check says of one run.

    Attributes
    ----------
    check
        Stable identifier, ``family.name``, for example ``"support.balance"``.
    run
        Name of the run that was checked.
    value, threshold
        The number that was measured and the number that it was held against; None where there is none.
    status
        `Status`. A NaN value never passes: it is turned into ``unknown``.
    meaning
        What the number says, in one or two sentences.
    advice
        What to do about it; empty where there is nothing to do.
    source
        Where the check and its threshold come from.
    functional
        Name of the functional that was looked at ("v"), or None for the run as a whole.
    title
        The check's name as a person reads it.
    details
        Further numbers and words, JSON types only.
    """

    check: str
    run: str
    value: float | None
    threshold: float | None
    status: Status
    meaning: str
    advice: str = ""
    source: str = ""
    functional: str | None = None
    title: str = ""
    details: Mapping[str, float | int | str | bool | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.value is not None and math.isnan(self.value) and self.status is Status.PASS:
            object.__setattr__(self, "status", Status.UNKNOWN)

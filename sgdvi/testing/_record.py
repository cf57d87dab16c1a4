"""What a contract check has found."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Check:
    """One check: what it looked at, how it ended, and why."""

    name: str
    """Name, as in the option ``skip``."""
    outcome: Literal["passed", "failed", "skipped"]
    """How it ended."""
    message: str
    """What was expected and what was got, or why the check was skipped; empty where it passed."""


@dataclass(frozen=True)
class Report:
    """All checks of one subject, in the order in which they ran; printing shows one line for each."""

    subject: str
    """Name of what was checked."""
    checks: tuple[Check, ...]
    """The checks; one that failed in several ways is there several times."""

    @property
    def passed(self) -> tuple[Check, ...]:
        """Checks that passed."""
        return tuple(check for check in self.checks if check.outcome == "passed")

    @property
    def failed(self) -> tuple[Check, ...]:
        """Checks that failed."""
        return tuple(check for check in self.checks if check.outcome == "failed")

    @property
    def skipped(self) -> tuple[Check, ...]:
        """Checks that could not run or were not wanted, with the reason."""
        return tuple(check for check in self.checks if check.outcome == "skipped")

    def __str__(self) -> str:
        lines = [f"{check.name}: {check.outcome}{': ' * bool(check.message)}{check.message}" for check in self.checks]
        return "\n".join([f"{self.subject}:", *(f"- {line}" for line in lines)])


class ContractError(AssertionError):
    """A subject breaks its contract; ``report`` holds every check, the message every failure."""

    def __init__(self, report: Report) -> None:
        self.report = report
        count = len({check.name for check in report.failed})
        lines = [f"- {check.name}: {check.message}" for check in report.failed]
        what = f"{report.subject} breaks the contract of a distribution in {count} check{'s' * (count > 1)}:"
        super().__init__("\n".join([what, *lines]))

"""The findings on one run by check, and what the declarations of the checks say of them."""

from collections.abc import Iterable, Sequence

from sgdvi.diagnostics.declare import Check, Question
from sgdvi.diagnostics.findings import Finding, Status


class Judged(dict[str, Finding]):
    """The findings on one run by check."""

    def __init__(self, findings: Iterable[Finding], checks: Sequence[Check]) -> None:
        super().__init__({finding.check: finding for finding in findings})
        self.checks = checks

    def those(self, role: str) -> list[Finding]:
        """Return the findings of the checks that are declared with this role in the verdict, in their order."""
        return [self[check.id] for check in self.checks if getattr(check, role) and check.id in self]

    def on(self, question: Question) -> list[Finding]:
        """Return the findings of the checks that answer a part of this question."""
        return [self[check.id] for check in self.checks if check.question is question and check.id in self]

    def any(self, role: str, status: Status) -> bool:
        """Whether one of those of a role has this status."""
        return any(finding.status is status for finding in self.those(role))

    def status(self, check: str) -> Status | None:
        """Return the status of a check; None where it was not made."""
        return self[check].status if check in self else None

    def fails(self, *checks: str) -> bool:
        """Whether one of these checks fails."""
        return any(self.status(check) is Status.FAIL for check in checks)

"""What a contract check has found."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sgdvi._internal.check import require


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
    kind: str = "distribution"
    """What the subject is: "distribution" or "sampler"."""

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


class Skip(Exception):
    """A check does not apply; the message says why."""


def run_checks(functions: Mapping[str, Callable[[Any], Iterable[str]]], subject: Any, skip: set[str]) -> list[Check]:
    """Run the checks on a subject, each a function that yields what is wrong; leave out those in `skip`."""
    results: list[Check] = []
    for name, function in functions.items():
        if name in skip:
            results.append(Check(name, "skipped", "as asked"))
            continue
        failures, reason = [], ""
        try:
            for failure in function(subject):
                failures.append(failure)
        except Skip as skipped:
            reason = str(skipped)
        except Exception as error:  # whatever a user's method raises is a finding, not a crash
            failures.append(f"raised {type(error).__name__}: {error}")
        results += [Check(name, "failed", text) for text in failures] or [
            Check(name, "skipped" if reason else "passed", reason)
        ]
    return results


def names_to_skip(skip: Iterable[str], names: Iterable[str]) -> set[str]:
    """Return the names of checks to leave out, which must be known ones."""
    unwanted = {skip} if isinstance(skip, str) else set(skip)
    unknown = sorted(unwanted - set(names))
    require(not unknown, f"skip must name checks of {', '.join(names)}", unknown)
    return unwanted


class ContractError(AssertionError):
    """A subject breaks its contract; ``report`` holds every check, the message every failure."""

    def __init__(self, report: Report) -> None:
        self.report = report
        count = len({check.name for check in report.failed})
        lines = [f"- {check.name}: {check.message}" for check in report.failed]
        what = f"{report.subject} breaks the contract of a {report.kind} in {count} check{'s' * (count > 1)}:"
        super().__init__("\n".join([what, *lines]))

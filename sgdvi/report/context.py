"""What the report knows beside the comparison: the problem, the settings and where they come from."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sgdvi.problem import Problem


@dataclass(frozen=True)
class Setting:
    """One line of "what was run": its name, its value as text, and the rule it follows."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Stage:
    """One run: its name, the wall time in seconds, and why it did not take place where it did not."""

    name: str
    seconds: float | None = None
    skipped: str = ""


@dataclass(frozen=True)
class Context:
    """What is shown around a comparison; every part may be missing.

    Attributes
    ----------
    problem
        The problem that was run.
    settings
        Lines of the table "what was run".
    stages
        The runs in the order in which they took place.
    command, call
        The exact command, and the Python call, that make this report again.
    environment
        Versions, platform, precision: name -> text.
    created
        Date as text; empty by default, so that the same input gives the same bytes.
    """

    problem: Problem | None = None
    settings: tuple[Setting, ...] = ()
    stages: tuple[Stage, ...] = ()
    command: str = ""
    call: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    created: str = ""

    @property
    def title(self) -> str:
        """Name of the problem, or of the page where there is none."""
        return self.problem.name if self.problem else "comparison"

    @property
    def skipped(self) -> dict[str, str]:
        """Runs that did not take place -> the reason."""
        return {stage.name: stage.skipped for stage in self.stages if stage.skipped}

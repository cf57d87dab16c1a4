"""What the report knows beside the comparison: the problem, the settings and where they come from."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from sgdvi.problem.base import Problem

# How the verdict begins the one change that was measured.
RECOMMENDED = "Recommended: "
# Names of the runs; plain SGD is "SGD".
RUNS = {
    "scaled": "scaled SGD",
    "whitened": "whitened SGD",
    "mandt": "Mandt SGD",
    "completed": "completed SGD",
    "sgld": "preconditioned SGLD",
}


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
class Instead:
    """One remedy: its distances to the posterior with their null levels (None where it does not apply), and words.

    ``seconds`` is the wall time of its run, None where it needs none.
    """

    name: str
    ks: float | None
    w1: float | None
    ks_null: float | None
    w1_null: float | None
    status: str
    meaning: str
    recommended: bool = False
    seconds: float | None = None


@dataclass(frozen=True)
class Foreseen:
    """What was foreseen of a run on one functional, and what it then was; None where it was not seen.

    ``w1`` is in standard deviations of the posterior, ``sd_ratio`` the standard deviation over the posterior's.
    """

    run: str
    functional: str
    w1: float
    observed_w1: float | None
    sd_ratio: float
    observed_sd_ratio: float | None


@dataclass(frozen=True)
class Card:
    """A problem as the report shows it.

    Attributes
    ----------
    name, description, source
        Of the problem.
    linear
        Whether it is a linear network.
    minimizer
        Its least-squares slope; None where it is not.
    """

    name: str
    description: str = ""
    source: str = ""
    linear: bool = False
    minimizer: float | None = None

    @classmethod
    def of(cls, problem: Problem) -> "Card":
        """Return the card of a problem."""
        exact = problem.exact
        minimizer = None if exact is None else float(exact.moments.minimizer)
        return cls(problem.name, problem.description, problem.source, exact is not None, minimizer)


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
    remedies
        What to do instead, "SGD as it runs" first; empty where it was not asked for.
    foreseen
        What was foreseen of each flavour of SGD, beside what was observed; empty where there was no forecast.
    created
        Date as text; empty by default, so that the same input gives the same bytes.
    """

    problem: Card | None = None
    settings: tuple[Setting, ...] = ()
    stages: tuple[Stage, ...] = ()
    command: str = ""
    call: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    created: str = ""
    remedies: tuple[Instead, ...] = ()
    foreseen: tuple[Foreseen, ...] = ()

    @property
    def title(self) -> str:
        """Name of the problem and its depth, where it has one; of the page where there is no problem."""
        depth = next((f", depth {setting.value}" for setting in self.settings if setting.name == "depth"), "")
        return self.problem.name + depth if self.problem else "comparison"

    @property
    def skipped(self) -> dict[str, str]:
        """Runs that did not take place -> the reason."""
        return {stage.name: stage.skipped for stage in self.stages if stage.skipped}

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON types."""
        return {**asdict(self), "environment": dict(self.environment)}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "Context":
        """Return what `to_dict` was made from."""
        return cls(
            problem=None if record["problem"] is None else Card(**record["problem"]),
            settings=tuple(Setting(**entry) for entry in record["settings"]),
            stages=tuple(Stage(**entry) for entry in record["stages"]),
            command=record["command"],
            call=record["call"],
            environment=record["environment"],
            created=record["created"],
            remedies=tuple(Instead(**entry) for entry in record.get("remedies", ())),
            foreseen=tuple(Foreseen(**entry) for entry in record.get("foreseen", ())),
        )

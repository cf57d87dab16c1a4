"""The record of a comparison: plain data, all that the report, the terminal and `report.json` say of it."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from sgdvi._internal.files import AsJson, plain
from sgdvi.diagnostics.answers import Answer
from sgdvi.diagnostics.curves import LawCurves, Summary
from sgdvi.diagnostics.findings import Finding, Status
from sgdvi.diagnostics.predictions.result import Predictions
from sgdvi.diagnostics.thresholds import Thresholds
from sgdvi.diagnostics.verdict import Verdict

SCHEMA_VERSION = 2
_NUMBERS = {text: float(text) for text in ("inf", "-inf", "nan")}


@dataclass(frozen=True, eq=False, kw_only=True)
class Record(AsJson):
    """What the checks say of several runs, without the runs.

    Attributes
    ----------
    runs, functionals
        Names of the runs and of the functionals, in their order.
    reference
        Name of the run that stands for the posterior, or None.
    thresholds
        What the checks were held against.
    findings
        Everything that the checks say, check by check in the order of the runs.
    verdict
        The answer in one sentence, with its reasons.
    summaries
        Run -> functional -> mean, sd, q5, q50, q95, ess, rhat, n; nan or None where a number does not exist.
    network
        Scalings of the linear network and settings of SGD on it, JSON types; None for other models.
    values
        Run with draws -> functional -> its draws, shape (chain, draw), float64.
    kinds
        Run with draws -> what made them: "sgd", "nuts", ...; "" where nothing says it.
    factors
        Run that has them -> draws of the two factors u and w of a product, each (chain, draw) or (chain, draw, unit).
    predictions
        What was found of predictions of a test set, or None.
    laws
        Run that is a law -> its curves; a comparison evaluates them when they are first read.
    """

    runs: Collection[str]
    functionals: Collection[str]
    reference: str | None
    thresholds: Thresholds
    findings: tuple[Finding, ...]
    verdict: Verdict
    summaries: Mapping[str, Mapping[str, Summary]]
    network: Mapping[str, Any] | None = None
    values: Mapping[str, Mapping[str, np.ndarray]]
    kinds: Mapping[str, str] = field(default_factory=dict)
    factors: Mapping[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    laws: Mapping[str, LawCurves] = field(default_factory=dict)
    predictions: Predictions | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return all but draws and curves as JSON types; infinities and nan as the texts "inf", "-inf", "nan"."""
        return {
            "schema_version": SCHEMA_VERSION,
            "verdict": {
                "status": str(self.verdict.status),
                "sentence": self.verdict.sentence,
                "reasons": list(self.verdict.reasons),
                "changes": list(self.verdict.changes),
                "answers": {
                    question: {"status": str(answer.status), "sentence": answer.sentence, "check": answer.check}
                    for question, answer in self.verdict.answers.items()
                },
                "uses": {use: str(status) for use, status in self.verdict.uses.items()},
                "runs": {run: str(status) for run, status in self.verdict.runs.items()},
            },
            "reference": self.reference,
            "runs": list(self.runs),
            "functionals": list(self.functionals),
            "findings": [plain(asdict(finding)) for finding in self.findings],
            "summaries": plain(self.summaries),
            "thresholds": self.thresholds.to_dict(),
            "known": None if self.network is None else plain(self.network),
            "predictions": None if self.predictions is None else self.predictions.to_dict(),
        }

    @classmethod
    def from_dict(
        cls,
        entries: Mapping[str, Any],
        *,
        values: Mapping[str, Mapping[str, np.ndarray]],
        kinds: Mapping[str, str],
        factors: Mapping[str, tuple[np.ndarray, np.ndarray]],
        laws: Mapping[str, LawCurves],
    ) -> "Record":
        """Return the record of what `to_dict` wrote, together with what it leaves out."""
        return cls(
            runs=tuple(entries["runs"]),
            functionals=tuple(entries["functionals"]),
            reference=entries["reference"],
            thresholds=Thresholds(**entries["thresholds"]),
            findings=tuple(_finding(entry) for entry in entries["findings"]),
            verdict=_verdict(entries["verdict"]),
            summaries=_numbers(entries["summaries"]),
            network=entries["known"],
            values=values,
            kinds=kinds,
            factors=factors,
            laws=laws,
            predictions=Predictions.from_dict(entries["predictions"]) if entries.get("predictions") else None,
        )


def _verdict(entry: Mapping[str, Any]) -> Verdict:
    answers = {
        question: Answer(Status(answer["status"]), answer["sentence"], answer["check"])
        for question, answer in entry["answers"].items()
    }
    uses, runs = ({name: Status(status) for name, status in entry[part].items()} for part in ("uses", "runs"))
    reasons, changes = tuple(entry["reasons"]), tuple(entry["changes"])
    return Verdict(entry["sentence"], Status(entry["status"]), reasons, changes, answers, uses, runs)


def _finding(entry: Mapping[str, Any]) -> Finding:
    # Texts such as "inf" are numbers again only where numbers stand: a sentence is never one.
    numbers = {name: _numbers(entry[name]) for name in ("value", "threshold", "details")}
    return Finding(**{**entry, **numbers, "status": Status(entry["status"])})


def _numbers(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _numbers(item) for name, item in value.items()}
    return _NUMBERS.get(value, value) if isinstance(value, str) else value

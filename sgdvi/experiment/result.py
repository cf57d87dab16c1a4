"""What an experiment returns, and how it is written to a folder."""

import os
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sgdvi._internal.card import card
from sgdvi._internal.files import write_json
from sgdvi._internal.text import listed
from sgdvi.comparison import Comparison, Verdict
from sgdvi.diagnostics.findings import Finding
from sgdvi.draws.tree import save
from sgdvi.experiment.folder import REPORT, check_folder, locked
from sgdvi.experiment.plan import Plan
from sgdvi.experiment.remedies import exact_remedies
from sgdvi.experiment.written import FAILURE, save_report
from sgdvi.problem.base import Problem
from sgdvi.remedies import Remedies
from sgdvi.report import Context, Foreseen, as_text
from sgdvi.report.text import uses_in_words

UNFINISHED = "unfinished"


@dataclass(frozen=True)
class Result:
    """Runs of one problem and the comparison of them.

    Attributes
    ----------
    problem, plan
        What was run, with which settings.
    runs
        Name -> draws or law.
    comparison
        What `sgdvi.compare` says of the runs.
    context
        Settings, stages, versions and commands as the report shows them.
    """

    problem: Problem
    plan: Plan
    runs: Mapping[str, Any]
    comparison: Comparison
    context: Context

    @property
    def verdict(self) -> Verdict:
        """The answer in one sentence, with its reasons."""
        return self.comparison.verdict

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Everything that the checks found."""
        return self.comparison.findings

    @property
    def foreseen(self) -> tuple[Foreseen, ...]:
        """What was foreseen of each flavour of SGD by functional, beside what was observed."""
        return self.context.foreseen

    @cached_property
    def remedies(self) -> Remedies | None:
        """What to do instead, by the exact laws on v; None where no exact posterior or no temperature is known."""
        return exact_remedies(self.problem, self.plan)

    def __str__(self) -> str:
        return as_text(self.comparison, self.context, verbose=False)

    def __repr__(self) -> str:
        return f"<Result for {self.problem.name}, {listed(list(self.runs))}: {self.verdict.sentence}>"

    def _repr_html_(self) -> str:
        return card(f"Result: {self.problem.name}", uses_in_words(self.comparison), self.verdict.sentence)

    def save(self, folder: str | os.PathLike[str], overwrite: bool = False) -> Path:
        """Write report.html, report.json and the draws into `folder` and return the path of report.html.

        The files are written beside the folder first and then moved in, the page last: there is no half-written
        report.

        Raises
        ------
        InputError
            If the folder has a report already and `overwrite` is false, something else under the name of one of
            the files, or another run that writes to it, or if it cannot be written.
        """
        return save_report(self.comparison, self.context, folder, overwrite, trees(self.comparison.runs))


def save_draws(
    runs: Mapping[str, Any],
    folder: str | os.PathLike[str],
    overwrite: bool = False,
    failure: BaseException | None = None,
) -> Path:
    """Write only the draws, as after an interruption, and return the folder; of a failure also ``failure.json``.

    An earlier report stays whole: beside one they go into the folder ``unfinished``.
    """
    target = check_folder(folder, overwrite)
    if (target / REPORT).exists():
        target = check_folder(target / UNFINISHED, overwrite=True)
    with locked(target):
        place = save(trees(runs), target).parent
        if failure is not None:
            write_json(place / FAILURE, {"error": str(failure), "traceback": traceback.format_exception(failure)})
    return place


def trees(runs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the runs that have draws."""
    return {name: run for name, run in runs.items() if not hasattr(run, "log_prob")}

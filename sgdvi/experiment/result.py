"""What an experiment returns, and how it is written to a folder."""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sgdvi._check import InputError, message
from sgdvi.comparison import Comparison, Verdict
from sgdvi.diagnostics.findings import Finding
from sgdvi.draws import save
from sgdvi.experiment.plan import Plan
from sgdvi.problem import Problem
from sgdvi.report import Context, write_html

REPORT = "report.html"
RECORD = "report.json"


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

    def __str__(self) -> str:
        return str(self.comparison)

    def save(self, folder: str | os.PathLike[str], overwrite: bool = False) -> Path:
        """Write report.html, report.json and the draws into `folder` and return the path of report.html.

        The files are written beside the folder first and then moved in, the page last: there is no half-written
        report.

        Raises
        ------
        InputError
            If the folder has a report already and `overwrite` is false, or if it cannot be written.
        """
        target = check_folder(folder, overwrite)
        with tempfile.TemporaryDirectory(prefix=".part-", dir=target) as name:
            part = Path(name)
            save(trees(self.runs), part)
            self.comparison.to_json(part / RECORD)
            _add_context(part / RECORD, self.context)
            write_html(self.comparison, part / REPORT, self.context)
            _move_in(part, target)
        return target / REPORT


def save_draws(runs: Mapping[str, Any], folder: str | os.PathLike[str], overwrite: bool = False) -> Path:
    """Write only the draws, as after an interruption, and return the folder."""
    target = check_folder(folder, overwrite)
    with tempfile.TemporaryDirectory(prefix=".part-", dir=target) as name:
        save(trees(runs), Path(name))
        _move_in(Path(name), target)
    return target


def trees(runs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the runs that have draws."""
    return {name: run for name, run in runs.items() if not hasattr(run, "log_prob")}


def check_folder(folder: str | os.PathLike[str], overwrite: bool = False) -> Path:
    """Return the folder, made if need be, when a report can be written to it.

    Raises
    ------
    InputError
        If it has a report already and `overwrite` is false, if it is a file, or if it cannot be written.
    """
    target = Path(folder).expanduser()
    if (target / REPORT).exists() and not overwrite:
        advice = "Give --overwrite (overwrite=True) to replace it, or another folder."
        raise InputError(message("the output folder must not have a report already", f"{target / REPORT}", advice))
    try:
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=target):
            pass
    except OSError as error:
        reason = error.strerror or type(error).__name__
        advice = "Give another folder with --out."
        raise InputError(message("the output folder must be writable", f"{target} ({reason})", advice)) from error
    return target


def _move_in(part: Path, target: Path) -> None:
    for path in sorted(part.iterdir(), key=lambda path: (path.name == REPORT, path.name)):
        old = target / path.name
        if old.is_dir() and not old.is_symlink():
            shutil.rmtree(old)
        os.replace(path, old)


def _add_context(path: Path, context: Context) -> None:
    record = json.loads(path.read_text(encoding="utf-8"))
    record["experiment"] = {
        "problem": context.title,
        "command": context.command,
        "call": context.call,
        "settings": {setting.name: setting.value for setting in context.settings},
        "runs": {stage.name: {"seconds": stage.seconds, "skipped": stage.skipped} for stage in context.stages},
        "environment": dict(context.environment),
    }
    path.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

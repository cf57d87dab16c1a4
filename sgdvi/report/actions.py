"""What to do next: at most three things, each with the command to paste."""

import ast
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sgdvi._internal.text import number
from sgdvi.diagnostics.findings import Status
from sgdvi.diagnostics.record import Record
from sgdvi.diagnostics.table import TABLE
from sgdvi.report.context import RECOMMENDED, RUNS, Context

MOST = 3
_LONGER = 4
# Options of `sgdvi compare` that a further run must not keep: its report has a folder of its own.
_DROPPED = {"--overwrite": 0, "--quiet": 0, "--verbose": 0, "--break-lock": 0, "--out": 1, "--fail-on": 1, "--json": 1}
# Causes for which a run did not reach the posterior: with more steps it will, or never.
_LONGER_HELPS, _SETTLED = {"not moved", "on its way"}, {"plateau", "elsewhere", "joint mode"}
# A command that runs nothing: there is nothing to run longer or from another seed.
_CHECK = "sgdvi check "
_NAMES = {"num_steps": "--steps", "num_chains": "--chains"}


@dataclass(frozen=True)
class Action:
    """One thing to do, and the line that does it; "" where only a person can do it."""

    text: str
    command: str = ""


def actions(record: Record, context: Context) -> list[Action]:
    """Return what would change or settle the answer, the most important first.

    Parameters
    ----------
    record
        The record of a comparison.
    context
        Its command or Python call, which the actions change; without either there is only what was measured.
    """
    judged = {run for run, kind in record.kinds.items() if kind == "sgd"} or set(record.values) - {record.reference}
    status: dict[str, Status] = {}
    for finding in record.findings:
        if finding.run in judged:
            status[finding.check] = max(finding.status, status.get(finding.check, Status.PASS), key=_severity)
    given = _given(context.call)
    wanted = [Action(text, _flavour(context, text)) for text in record.verdict.changes if text.startswith(RECOMMENDED)]
    if (context.command and not context.command.startswith(_CHECK)) or given:
        wanted += [
            Action(text, _changed(context, suffix, changes))
            for text, suffix, changes in _wanted(record, status, given, bool(context.remedies))
        ]
        if Status.FAIL in _of(status, "on_functional") and context.problem is not None:
            wanted.append(Action("Map which learning rate and batch size come nearest.", _sweep(context)))
        wanted.append(Action("See whether another seed says the same.", _changed(context, "again", _seed(given))))
    return wanted[:MOST]


def _severity(status: Status) -> int:
    return status.severity


def _of(status: Mapping[str, Status], role: str) -> set[Status]:
    return {status[check.id] for check in TABLE if getattr(check, role) and check.id in status}


def _wanted(
    record: Record, status: Mapping[str, Status], given: Mapping[str, Any], measured: bool
) -> list[tuple[str, str, dict[str, Any]]]:
    """Return what to do, the end of the name of its folder, and the arguments that change."""
    gates = [check.id for check in TABLE if check.gate]
    wanted: list[tuple[str, str, dict[str, Any]]] = []
    if status.get("phase.collapse") is Status.FAIL or status.get("phase.temperature") is Status.FAIL:
        text = "Run SGD well below the temperature at which it collapses."
        wanted.append((text, "cooler", {"temperature": "0.5Tc", "learning_rate": None}))
    elif status.get("chains.overflow") is Status.FAIL and "learning_rate" in given:
        rate = float(number(given["learning_rate"] / _LONGER, 2).replace(",", ""))
        wanted.append(("Take a smaller step.", "smaller-step", {"learning_rate": rate, "temperature": None}))
    lost = bool(wanted)  # what has collapsed or overflowed gets no better by more steps
    if any(f.run == record.reference and f.check in gates and f.status is Status.FAIL for f in record.findings):
        draws = _LONGER * given.get("nuts_draws", 2000)
        wanted.append(("Give the reference more draws.", "more-draws", {"nuts_draws": draws}))
    causes = {f.details.get("cause") for f in record.findings if f.check == "arrival.posterior"}
    lost = lost or bool(causes & _SETTLED)  # nor what has settled at a minor mode
    unmixed = Status.FAIL in {status.get("mixing.rhat"), status.get("mixing.ess")} or bool(causes & _LONGER_HELPS)
    if not lost and (unmixed or Status.UNKNOWN in _of(status, "on_functional")) and "num_steps" in given:
        text = f"Run SGD {_LONGER} times as long."
        wanted.append((text, "longer", {"num_steps": _LONGER * given["num_steps"]}))
    differs = set().union(*(_of(status, role) for role in ("on_functional", "in_parameters", "joint", "tails")))
    if Status.FAIL in differs and not measured:
        text = "Measure what brings SGD nearer to the posterior, and what to run in its place."
        wanted.append((text, "remedies", {"remedies": True}))
    return wanted


def _flavour(context: Context, recommended: str) -> str:
    """Return the command that runs the flavour of SGD that is recommended, alone; "" for what is none."""
    if not (context.command or context.call):
        return ""
    name = next((name for name, run in RUNS.items() if recommended.startswith(RECOMMENDED + run)), "")
    changes = {"algorithms": (name,), "remedies": None, "learning_rate": None, "num_steps": None, "batch_size": None}
    return _changed(context, name, changes) if name else ""


def _seed(given: Mapping[str, Any]) -> dict[str, Any]:
    return {"seed": given.get("seed", 0) + 1}


def _given(call: str) -> dict[str, Any]:
    """Return the arguments of the Python call that made a report."""
    return (
        {word.arg: ast.literal_eval(word.value) for word in _call(ast.parse(call)).keywords if word.arg} if call else {}
    )


def _call(tree: ast.Module) -> ast.Call:
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.keywords)
    return next(calls, ast.Call(ast.Name("run"), [], []))


def _changed(context: Context, suffix: str, changes: Mapping[str, Any]) -> str:
    """Return the command, or else the Python call, with some arguments changed; None takes one away."""
    name = f"sgdvi-{context.problem.name if context.problem else 'comparison'}-{suffix}"
    if not context.command:
        tree = ast.parse(context.call)
        call = _call(tree)
        kept = [word for word in call.keywords if word.arg not in changes]
        added = [ast.keyword(arg, ast.Constant(value)) for arg, value in changes.items() if value is not None]
        call.keywords = [*kept, *added]
        return f"import sgdvi; {ast.unparse(call)}.save({name!r})"
    options = {_NAMES.get(arg, "--" + arg.replace("_", "-")): value for arg, value in changes.items()}
    words = _without(shlex.split(context.command), _DROPPED | {o: int(v is not True) for o, v in options.items()})
    for option, value in options.items():
        words += [] if value is None else [option] if value is True else [option, _text(value)]
    return shlex.join([*words, "--out", name])


def _text(value: Any) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _without(words: list[str], options: Mapping[str, int]) -> list[str]:
    kept, skip = [], 0
    for word in words:
        if skip:
            skip -= 1
        elif word.split("=")[0] in options:
            skip = 0 if "=" in word else options[word]
        else:
            kept.append(word)
    return kept


def _sweep(context: Context) -> str:
    words = shlex.split(context.command)
    linear = context.problem is not None and context.problem.linear
    runs = [] if linear else ["--runs"]
    if len(words) > 2 and words[1] == "compare" and not words[2].startswith("-"):
        return shlex.join(["sgdvi", "sweep", words[2], *runs])
    model = ast.literal_eval(_call(ast.parse(context.call)).args[0]) if context.call else ""
    return shlex.join(["sgdvi", "sweep", model, *runs])

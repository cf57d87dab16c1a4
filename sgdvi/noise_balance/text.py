"""A balance in 80 columns of text."""

import math
import textwrap
from typing import Any

import numpy as np

from sgdvi.diagnostics.findings import Status
from sgdvi.noise_balance.readings import Readings, short_name

_WIDTH = 80
_NAME = 26
_MOST_ROWS = 12
_MARKS = {Status.PASS: "pass", Status.WARN: "WARN", Status.FAIL: "FAIL", Status.NOT_APPLICABLE: "n/a"}


def describe(readings: Readings) -> str:
    """Return the result as a person reads it in a terminal."""
    path = readings.path
    chains = f"{path.num_chains} chain{'s' if path.num_chains > 1 else ''} of SGD, {int(path.steps[-1]):,} steps"
    lines = textwrap.wrap(f"{readings.title}: {chains}, {_rate(readings)}", _WIDTH)
    if path.lost:
        lines.append(f"{path.lost} more chain{'s' if path.lost > 1 else ''} overflowed and were left out.")
    if len(readings.symmetries):
        lines += ["", *_tables(readings)]
    for family in readings.symmetries.families:
        charges, member = family.size * (family.size + 1) // 2, short_name(family.members[0])
        text = f"GL({family.size}), with {charges} charges: the product of {member} and its like"
        lines += textwrap.wrap(text, _WIDTH, subsequent_indent="  ")
    if readings.symmetries.unused:
        text = f"Left out, as no single row depends on them: {', '.join(readings.symmetries.unused)}"
        lines += ["", *textwrap.wrap(text, _WIDTH, subsequent_indent="  ")]
    for finding in readings.findings:
        mark = _MARKS.get(finding.status, "unknown")
        text = f"{finding.meaning} {finding.advice}".strip()
        lines += ["", *textwrap.wrap(text, _WIDTH, initial_indent=f"{mark:<8}", subsequent_indent=" " * 8)]
    return "\n".join(lines)


def _rate(readings: Readings) -> str:
    if math.isnan(readings.path.learning_rate):
        return "learning rate not known"
    size = readings.path.batch_size
    return f"learning rate {readings.path.learning_rate:.3g}, batch size {size}, T = {readings.path.temperature:.3g}"


def _tables(readings: Readings) -> list[str]:
    """Two tables: charges with their drift, and noise terms with the norm ratio; the farthest from rest first."""
    rows = readings.table()
    if len(rows) > _MOST_ROWS:
        with np.errstate(all="ignore"):
            above, below = readings.noise_terms
            apart = np.nan_to_num(np.abs(above - below) / (above + below), nan=-1.0)
        chosen = sorted(np.argsort(-apart, kind="stable")[:_MOST_ROWS])
    else:
        chosen = list(range(len(rows)))
    name = f"{'symmetry u / w':<{_NAME}}"
    lines = [f"{name}{'charge |u|²-|w|²':^19}{'drift dc/dt':^35}"]
    lines.append(f"{'':<{_NAME}}{'first':>9}{'last':>10}{'measured':>10}{'predicted':>10}{'error':>9}{'z':>6}")
    for number in chosen:
        row = rows[number]
        cells = [(row["charge_first"], 9), (row["charge_last"], 10), (row["drift"], 10), (row["drift_predicted"], 10)]
        numbers = "".join(_cell(value, width) for value, width in cells)
        z = f"{row['z']:6.1f}" if math.isfinite(row["z"]) else f"{'–':>6}"
        lines.append(f"{_clip(row['name'])}{numbers}{_cell(row['drift_error'], 9, 2)}{z}")
    lines += ["", f"{name}{'noise, second half':^24}{'|u|²/|w|², second half':^29}"]
    heads = f"{'Tr C(u)':>8}{'Tr C(w)':>8}{'ratio':>8}{'ratio':>8}{'error':>7}{'from':>7}{'to':>7}"
    lines.append(f"{'':<{_NAME}}{heads}")
    for number in chosen:
        row = rows[number]
        above, below = row["noise_positive"], row["noise_negative"]
        terms = (above, below, above / below if below > 0 else math.inf, row["norm_ratio"])
        ratios = "".join(_cell(row[f"norm_ratio_{each}"], 7, 2) for each in ("error", "low", "high"))
        lines.append(_clip(row["name"]) + "".join(_cell(each, 8) for each in terms) + ratios)
    lines += _rest(readings, [rows[number] for number in chosen])
    left = len(rows) - len(chosen)
    if left:
        lines.append(f"... and {left} more, nearer to balance; .table() and .to_json have all.")
    return lines


def _rest(readings: Readings, rows: list[dict[str, Any]]) -> list[str]:
    """A table of where each symmetry comes to rest, predicted from one minimum, and how long it takes."""
    if not any(math.isfinite(row["relaxation_steps"]) for row in rows):
        return [""] + textwrap.wrap(readings.rest.why, _WIDTH) if readings.rest.why else []
    lines = [
        "",
        f"{'at rest, from one minimum':<{_NAME}}{'|u|²/|w|²':>12}{'measured':>12}{'error':>9}{'steps to it':>14}",
    ]
    for row in rows:
        cells = (("norm_ratio_rest", 12), ("norm_ratio", 12), ("norm_ratio_error", 9), ("relaxation_steps", 14))
        lines.append(_clip(row["name"]) + "".join(_cell(row[key], width) for key, width in cells))
    return lines


def _clip(name: str) -> str:
    if len(name) >= _NAME:
        name = name.replace(", ", ",")
    return f"{name if len(name) < _NAME else name[: _NAME - 2] + '…':<{_NAME}}"


def _cell(value: float, width: int, digits: int = 3) -> str:
    if math.isnan(value):
        return f"{'–':>{width}}"
    if math.isinf(value):
        return f"{'∞':>{width}}"
    # an exponent of one digit is written as one
    return f"{f'{value:.{digits}g}'.replace('e-0', 'e-').replace('e+0', 'e+'):>{width}}"

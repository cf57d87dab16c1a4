"""Check the paper: every claim measured, with a verdict."""

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm.auto import tqdm

import sgdvi
from sgdvi._internal.arguments import checked
from sgdvi._internal.check import InputError, message, whole
from sgdvi._internal.files import plain
from sgdvi.experiment.claims._claim import Claim, Run
from sgdvi.experiment.claims.result import Reproduction
from sgdvi.experiment.claims.rows import Checked
from sgdvi.experiment.claims.table import CLAIMS

PAGE, RECORD = "claims.html", "claims.json"


@checked
def reproduce(
    ids: str | Iterable[str] | None = None,
    *,
    quick: bool = False,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    progress: bool = False,
    on_claim: Callable[[Checked], None] | None = None,
) -> Reproduction:
    """Measure the claims of the paper one by one and say of each whether it holds.

    Every theorem, equation, figure and number of Ziyin, Li and Ueda, Phys. Rev. E 111, 065303 (2025), is a row:
    the claim, our setting, what was measured, and by a criterion that was fixed before: holds, holds with a correction,
    does not hold, or cannot tell. Rows B1 to B7 are what the package says beyond it: momentum, epochs, other
    symmetries, several inputs, finite steps at every depth. Computed in float64.

    Parameters
    ----------
    ids
        Ids of the claims to check, such as ``["T17", "F3r"]``; None checks all.
    quick
        Whether to take shorter simulations: one and a half minutes for all on two cores, instead of some ten.
    seed
        Of everything random: data, starts, minibatches.
    out
        Folder for ``claims.html`` and ``claims.json``; it is made if need be.
    progress
        Whether to show a progress bar.
    on_claim
        Called with every row as it is done.

    Returns
    -------
    Reproduction
        With ``.claims``, ``.changed``, ``.answer``, ``.to_json(path)``, ``.to_html(path)`` and ``str()``.

    Raises
    ------
    InputError
        For an id that is none, a seed that is no whole number, and a folder that cannot be written.

    Examples
    --------
    >>> import sgdvi
    >>> reproduction = sgdvi.reproduce("T20", quick=True)
    >>> reproduction["T20"].verdict.value
    'holds'
    """
    chosen, run = _choose(ids), Run(bool(quick), whole("seed", seed))
    folder = None if out is None else _folder(out)
    rows = []
    with jax.enable_x64(True), tqdm(chosen, disable=not progress, unit="claim", leave=False) as bar:
        for one in bar:
            bar.set_description(one.id)
            rows.append(_check(one, run))
            if on_claim is not None:
                on_claim(rows[-1])
    reproduction = Reproduction(tuple(rows), run.quick, run.seed, sgdvi.__version__)
    if folder is not None:
        reproduction.to_json(folder / RECORD)
        reproduction.to_html(folder / PAGE)
    return reproduction


def _check(one: Claim, run: Run) -> Checked:
    begun = time.perf_counter()
    with np.errstate(over="ignore", invalid="ignore"):  # chains that overflow are counted
        measured = one.measure(run)
    seconds = round(time.perf_counter() - begun, 2)
    text, setting = (part.format(**measured.values).replace("0e+00", "0") for part in (measured.text, one.setting))
    return Checked(one, measured.verdict, text, setting, plain(measured.values), _short(measured.curves), seconds)


def _short(curves: Any) -> Any:
    """The curves as JSON types with six digits: the figure of a record is that of its run."""
    if isinstance(curves, dict):
        return {name: _short(curve) for name, curve in curves.items()}
    if isinstance(curves, list | tuple):
        return [_short(item) for item in curves]
    if isinstance(curves, np.ndarray):
        return _short(curves.tolist())
    return plain(float(f"{curves:.6g}") if isinstance(curves, float) else curves)


def _choose(ids: str | Iterable[str] | None) -> list[Claim]:
    if ids is None:
        return list(CLAIMS.values())
    by_name = {name.lower(): one for name, one in CLAIMS.items()}
    wanted = [ids] if isinstance(ids, str) else list(ids)
    for name in wanted:
        if str(name).lower() not in by_name:
            raise InputError(message("ids must be claims of the paper", repr(name), f"They are {', '.join(CLAIMS)}."))
    lower = {str(name).lower() for name in wanted}
    return [one for name, one in by_name.items() if name in lower]


def _folder(out: str | os.PathLike[str]) -> Path:
    folder = Path(out).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        rule = f"{str(folder)!r} must be a folder that can be written"
        raise InputError(message(rule, error.strerror or str(error), "Give another --out.")) from error
    return folder

"""What CmdStan writes around its draws: settings in comments, warm-up rows, and statistics of its steps."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sgdvi._internal.check import InputError, message

# Columns that are no variables of the model -> their names in ArviZ.
_STATISTICS = {
    "lp__": "lp",
    "accept_stat__": "acceptance_rate",
    "stepsize__": "step_size",
    "treedepth__": "tree_depth",
    "n_leapfrog__": "n_steps",
    "divergent__": "diverging",
    "energy__": "energy",
}
_STAN = {"inference_library": "Stan"}
_ADAPTED = "Adaptation terminated"
_KINDS = {"variational": "vi", "pathfinder": "pathfinder", "laplace": "laplace"}


@dataclass(frozen=True)
class Said:
    """What the comments of a file say.

    Attributes
    ----------
    kind
        What made the draws; "" where nothing says it.
    first
        Number of rows before the first draw: warm-up, or the mean of a fit.
    deepest
        Largest tree depth; None where it is not said.
    attributes
        Of the run: what wrote it, and whether its draws are independent.
    """

    kind: str = ""
    first: int = 0
    deepest: int | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)


def said_in(path: Path, comments: Sequence[tuple[int, str]], rows: int) -> Said:
    """Read the comments of a file of CmdStan, each with the number of rows before it; of other files nothing is said.

    Raises
    ------
    InputError
        If it holds fewer draws than it says, or comes from an optimizer.
    """
    settings = _settings(comments)
    method = settings.get("method", "")
    if method == "optimize":
        raise InputError(message(f"{str(path)!r} must hold draws", "what an optimizer wrote", "Run Stan's sampler."))
    if method in _KINDS:
        # the first row of a variational fit is its mean
        return Said(_KINDS[method], int(method == "variational"), attributes={**_STAN, "independent": 1})
    if method != "sample":
        return Said(attributes=_STAN if settings.get("stan_version_major") else {"inference_library": "CSV"})
    thin = max(1, _whole(settings, "thin", 1))
    saved = settings.get("save_warmup", "0") in ("1", "true")
    adapted = next((before for before, text in comments if text.startswith(_ADAPTED)), None)
    first = math.ceil(_whole(settings, "num_warmup", 0) / thin) if saved else 0
    first = first if adapted is None or not saved else adapted
    wanted = math.ceil(_whole(settings, "num_samples", 0) / thin)
    if rows < first + wanted:
        got = f"{max(rows - first, 0)} of {wanted}: a run that was stopped, or a file that was cut"
        advice = "Give the file of a run that ended, or one without its comments."
        raise InputError(message(f"{str(path)!r} must hold all draws that it says", got, advice))
    depth = _whole(settings, "max_depth", -1)
    kind = "nuts" if settings.get("engine", "") == "nuts" else settings.get("algorithm", "stan")
    return Said(kind, first, depth if depth >= 0 else None, _STAN)


def statistics(arrays: Mapping[str, np.ndarray], said: Said) -> dict[str, np.ndarray]:
    """Return statistic, as ArviZ names it, -> array (chain, draw), of the columns that Stan names with "__"."""
    stats = {_STATISTICS[name]: array for name, array in arrays.items() if name in _STATISTICS}
    if "diverging" in stats:
        stats["diverging"] = stats["diverging"] > 0
    if "tree_depth" in stats and said.deepest is not None:
        stats["reached_max_treedepth"] = stats["tree_depth"] >= said.deepest
    return stats


def _settings(comments: Sequence[tuple[int, str]]) -> dict[str, str]:
    pairs = (text.partition("=") for _, text in comments if "=" in text)
    return {name.strip(): value.replace("(Default)", "").strip() for name, _, value in pairs}


def _whole(settings: Mapping[str, str], name: str, default: int) -> int:
    text = settings.get(name, "")
    return int(text) if text.isdecimal() else default

"""Colours and line styles of the runs: colour-blind safe (Okabe and Ito 2008), the exact law always the ink line."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Theme:
    """Colours that belong to the page and not to a run."""

    name: str
    ink: str
    muted: str
    grid: str


@dataclass(frozen=True)
class Pen:
    """How one run is drawn."""

    color: str
    linestyle: Any = "-"
    linewidth: float = 1.6
    zorder: float = 3.0
    marker: str = "o"


LIGHT = Theme("light", ink="#16181d", muted="#5b6270", grid="#e4e6ea")
DARK = Theme("dark", ink="#eceef2", muted="#a4abb8", grid="#33373f")

# Okabe-Ito hues; the second colour is the same hue, lightened until it has contrast 4.5 on the dark page.
_RUNS: dict[str, tuple[str, str, Any]] = {
    "SGD": ("#0072b2", "#5ab4e6", "-"),
    "exact posterior": ("#c77c00", "#f0b429", "-"),
    "NUTS": ("#d55e00", "#ff8f4d", (0, (4, 1.5))),
    "mean-field VI": ("#00815e", "#2fc79d", (0, (1, 1))),
    "full-rank VI": ("#b0528c", "#e58fc3", (0, (5, 1.5, 1, 1.5))),
}
_SPARE: list[tuple[str, str, Any]] = [
    ("#6a51a3", "#a99be0", "-"),
    ("#7a6a1c", "#d0bd55", "--"),
    ("#3b7a9e", "#86c3e0", ":"),
    ("#8c3b2f", "#e08a7d", "-"),
    ("#55585f", "#b9bcc2", "--"),
    ("#00695c", "#5fd0c0", ":"),
    ("#a0446e", "#f0a0c4", "-"),
    ("#5c7f14", "#a9cf5a", "--"),
    ("#30508c", "#90aef0", ":"),
]
# So many hues are near one another: where runs stand in one row the marker tells them apart.
_MARKERS = "sD^vPX*<>"
EXACT_LAW = "exact law"
EXACT_POSTERIOR = "exact posterior"


def run_colors(theme: Theme) -> dict[str, str]:
    """Return the colour of every run that has one of its own."""
    return {run: light if theme is LIGHT else dark for run, (light, dark, _) in _RUNS.items()}


def dark_colors() -> dict[str, str]:
    """Return what stands on a dark page for each colour of the theme and of the runs on a light one."""
    themes = {getattr(LIGHT, part): getattr(DARK, part) for part in ("ink", "muted", "grid")}
    return themes | {light: dark for light, dark, _ in (*_RUNS.values(), *_SPARE)}


def pen(run: str, names: list[str], theme: Theme) -> Pen:
    """Return the pen of `run`; runs with names of their own get spare colours in the order of `names`."""
    if run == EXACT_LAW:
        return Pen(theme.ink, "-", 2.0, 5.0)
    marker = "o"
    if run in _RUNS:
        light, dark, style = _RUNS[run]
    else:
        others = [name for name in names if name not in _RUNS and name != EXACT_LAW]
        place = others.index(run) % len(_SPARE)
        (light, dark, style), marker = _SPARE[place], _MARKERS[place]
    return Pen(light if theme is LIGHT else dark, style, 1.6, 4.0 if run == "exact posterior" else 3.0, marker)

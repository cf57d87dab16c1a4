"""Where figures are drawn, and how they are written: one style, and the same bytes for the same input."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sgdvi._internal.check import require
from sgdvi._internal.files import write_whole
from sgdvi._internal.style.figure import style
from sgdvi._internal.style.palette import EXACT_LAW, LIGHT, run_colors

# What each format writes of the time and the program, left out: the same input gives the same bytes.
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
FORMATS = tuple(_METADATA)


@contextmanager
def canvas(ax: Axes | None, figsize: tuple[float, float] = (5.2, 3.8)) -> Iterator[Axes]:
    """Give the axes to draw on: ``ax`` as it is, or those of a new pyplot figure in the style of sgdvi."""
    if ax is not None:
        yield ax
        return
    import matplotlib.pyplot as plt

    with style(LIGHT):
        yield plt.subplots(figsize=figsize)[1]


# Colour of every run by its name, as in the report: the exact law is always the ink line.
COLORS: dict[str, str] = {EXACT_LAW: LIGHT.ink, **run_colors(LIGHT)}


def set_style() -> None:
    """Make matplotlib draw in the style of sgdvi from here on, on white: for notebooks and papers.

    Lines take the colours of `sgdvi.plots.COLORS` in turn.
    """
    import matplotlib as mpl
    from cycler import cycler

    with style(LIGHT):
        settings = {name: mpl.rcParams[name] for name in mpl.rcParams if not name.startswith("backend")}
    settings |= {"figure.facecolor": "white", "axes.facecolor": "white", "savefig.transparent": False}
    mpl.rcParams.update(settings | {"axes.prop_cycle": cycler(color=list(COLORS.values())[1:])})


@contextmanager
def panels(columns: int, figsize: tuple[float, float]) -> Iterator[tuple[Figure, list[Axes]]]:
    """Give a new figure with several panels side by side, in the style of sgdvi, outside pyplot."""
    with style(LIGHT):
        figure = Figure(figsize=figsize)
        yield figure, list(figure.subplots(1, columns, squeeze=False)[0])


def legend_above(axes: Axes) -> None:
    """Put the legend above the axes, where it hides nothing; it belongs to them, so that they can be one of several."""
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=8)


def check_figure_path(path: str | os.PathLike[str]) -> Path:
    """Return the path of a figure; its ending must be one of `FORMATS` and its folder must exist.

    Raises
    ------
    InputError
        Otherwise, and where the path is a folder.
    """
    target = Path(path).expanduser()
    ending = target.suffix.lower().removeprefix(".")
    rule = f"a figure's file must end in {', '.join(f'.{name}' for name in FORMATS[:-1])} or .{FORMATS[-1]}"
    require(ending in FORMATS, rule, repr(str(path)), "The ending chooses the format.")
    require(target.parent.is_dir(), "the folder of a figure must exist", repr(str(target.parent)), "Make it first.")
    require(not target.is_dir(), "a figure's file must not be a folder", repr(str(path)))
    return target


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a figure as PNG, SVG or PDF, by the ending of the path, on white; the same figure gives the same bytes.

    Parameters
    ----------
    figure
        A matplotlib figure; `Axes.figure` of what the functions here return.
    path
        File to write; it is replaced if it exists.

    Raises
    ------
    InputError
        For another ending, or a path that cannot be written.
    """
    target = check_figure_path(path)
    kind = target.suffix.lower().removeprefix(".")

    def draw(part: Path) -> None:
        with rc_context({"svg.hashsalt": "sgdvi", "svg.fonttype": "path", "pdf.fonttype": 42}):
            figure.savefig(part, format=kind, dpi=200, facecolor="white", transparent=False, metadata=_METADATA[kind])

    return write_whole(target, draw)

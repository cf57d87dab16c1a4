"""A figure of the report: drawn for light pages, recoloured for dark ones, and embedded as data: URIs."""

import base64
import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import as_file, files

import matplotlib
import matplotlib.style
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter
from PIL import Image

from sgdvi._internal.style.palette import DARK, LIGHT, Theme, dark_colors

FONTS = "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', 'Liberation Sans', Arial, 'DejaVu Sans', sans-serif"
Draw = Callable[[Theme], Figure]


@dataclass(frozen=True)
class Picture:
    """A figure as the page embeds it.

    Attributes
    ----------
    light, dark
        data: URIs of the two variants.
    width, height
        Size in CSS pixels, so that the page does not move while it loads.
    alt
        What the figure shows, for readers who do not see it.
    caption
        Text under the figure.
    """

    light: str
    dark: str
    width: int
    height: int
    alt: str
    caption: str


def picture(draw: Draw, alt: str, caption: str) -> Picture:
    """Draw a figure for both themes."""
    light, (width, height) = _drawn(draw, LIGHT)
    dark = recolored(light) or _drawn(draw, DARK)[0]
    return Picture(
        _uri(light), _uri(dark), round(width * 110), round(height * 110), alt, caption.replace(" %", "\u00a0%")
    )


def _drawn(draw: Draw, theme: Theme) -> tuple[str, tuple[float, float]]:
    """Draw a figure in a theme: its SVG and its size in inches."""
    with style(theme), matplotlib.rc_context({"text.parse_math": False}):
        figure = draw(theme)
        _formulas_at_ticks(figure)
        width, height = figure.get_size_inches()
        return _svg(figure), (float(width), float(height))


def recolored(svg: str) -> str | None:
    """Return a light figure in the colours of the dark theme, which is half of the drawing.

    None where it holds an image or a colour that is of no theme: that has to be drawn.
    """
    colors = dark_colors()
    styles = re.findall(r'style="([^"]*)"', svg)
    if "<image" in svg or not set(re.findall(r"#[0-9a-f]{6}", " ".join(styles))) <= set(colors):
        return None
    dark = lambda part: re.sub(r"#[0-9a-f]{6}", lambda color: colors[color[0]], part[0])  # noqa: E731
    return re.sub(r'style="[^"]*"', dark, svg)


def _uri(svg: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode("utf-8")).decode("ascii")


@contextmanager
def style(theme: Theme) -> Iterator[None]:
    """Use the style file of sgdvi with the colours of `theme`, whatever the user's own settings are."""
    colors = {
        "text.color": theme.ink,
        "axes.labelcolor": theme.ink,
        "axes.edgecolor": theme.muted,
        "axes.titlecolor": theme.ink,
        "xtick.color": theme.muted,
        "ytick.color": theme.muted,
        "xtick.labelcolor": theme.ink,
        "ytick.labelcolor": theme.ink,
        "grid.color": theme.grid,
        "figure.facecolor": "none",
        "axes.facecolor": "none",
    }
    with matplotlib.rc_context(), as_file(files("sgdvi._internal.style").joinpath("assets/sgdvi.mplstyle")) as path:
        matplotlib.rcdefaults()
        matplotlib.style.use([str(path), colors])
        yield


def _formulas_at_ticks(figure: Figure) -> None:
    """Typeset the numbers at logarithmic axes, the only formulas: a "$" in a name is a dollar."""
    for place in figure.axes:
        for axis in (place.xaxis, place.yaxis):
            if isinstance(axis.get_major_formatter(), LogFormatter):
                for label in axis.get_ticklabels(which="both"):
                    label.set_parse_math(True)


def _svg(figure: Figure) -> str:
    # Date and creator are left out: the same input gives the same bytes.
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue().decode("utf-8")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r' d="([^"]*)"', lambda match: f' d="{_short_path(match[1])}"', text)
    text = re.sub(r"(data:image/png;base64,)([^\"]*)", lambda match: match[1] + _few_colors(match[2]), text)
    # Text stays text, in the page's own fonts: they are narrower than DejaVu Sans, for which the room was measured.
    text = re.sub(r"'DejaVu Sans'(, [^;\"]*)?", FONTS, text)
    return re.sub(r">\s+<", "><", text)


def _short_path(path: str) -> str:
    # A tenth of a point is finer than any screen; matplotlib writes millionths, and a line for every command.
    return re.sub(r"\s*([A-Za-z])\s*", r"\1", re.sub(r"(\.\d)\d+", r"\1", path)).strip()


def _few_colors(png: str) -> str:
    """Encode an image with 128 colours: to the eye the same clouds of points, in a quarter of the bytes."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(base64.b64decode(png))) as image:
        image.quantize(128, method=Image.Quantize.FASTOCTREE).save(buffer, "png", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")

"""The page: all sections in one self-contained HTML file."""

import os
import tempfile
from pathlib import Path

import jax

import sgdvi
from sgdvi.comparison import Comparison
from sgdvi.report._render import render, stylesheet
from sgdvi.report.context import Context
from sgdvi.report.sections import SECTIONS


def render_page(comparison: Comparison, context: Context | None = None) -> str:
    """Return the report as HTML: no scripts, nothing loaded from outside, the same bytes for the same input.

    Parameters
    ----------
    comparison
        What `sgdvi.compare` returned.
    context
        Problem, settings and provenance to show around it; None shows the comparison alone.
    """
    context = context or Context()
    with jax.enable_x64(True):
        parts = [section(comparison, context) for section in SECTIONS]
    page = render(
        "page",
        context=context,
        sections=[part for part in parts if part is not None],
        stylesheet=stylesheet(),
        version=sgdvi.__version__,
    )
    return str(page)


def write_html(comparison: Comparison, path: str | os.PathLike[str], context: Context | None = None) -> Path:
    """Write the report to `path`, whole or not at all, and return the path."""
    target = Path(path)
    text = render_page(comparison, context)
    handle, part = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.chmod(part, 0o644)
        os.replace(part, target)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
    return target

"""The page: all sections in one self-contained HTML file."""

import os
import re
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import jax
from markupsafe import Markup

from sgdvi._internal.check import InputError, message
from sgdvi.comparison import Comparison
from sgdvi.report._render import render
from sgdvi.report.context import Context
from sgdvi.report.section import Section
from sgdvi.report.sections import SECTIONS

LARGE = 3_000_000


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
    return str(render("page", context=context, sections=_sections(comparison, context)))


def render_pages(parts: Sequence[tuple[Comparison, Context]]) -> str:
    """Return several reports as one page: a table of the verdicts on top, then each report with its own places.

    Parameters
    ----------
    parts
        Comparisons with their contexts; of one, the page is that of `render_page`.
    """
    if len(parts) == 1:
        return render_page(*parts[0])
    models = []
    for number, (comparison, context) in enumerate(parts, 1):
        prefix = f"m{number}-"
        models.append(
            {
                "id": f"m{number}",
                "title": context.title,
                "status": comparison.verdict.status,
                "sentence": comparison.verdict.sentence,
                "sections": [
                    Section(prefix + part.id, part.heading, _with_prefix(part.html, prefix))
                    for part in _sections(comparison, context)
                ],
            }
        )
    return str(render("several", models=models))


def _sections(comparison: Comparison, context: Context) -> list[Section]:
    with jax.enable_x64(True):
        parts = [section(comparison, context) for section in SECTIONS]
    return [part for part in parts if part is not None]


def _with_prefix(html: Markup, prefix: str) -> Markup:
    # Ids stand in tags alone: text is escaped, so a quote in it is &#34;.
    return Markup(re.sub(r'(\bid="|href="#)', rf"\1{prefix}", html))


def write_html(comparison: Comparison, path: str | os.PathLike[str], context: Context | None = None) -> Path:
    """Write the report to `path`, whole or not at all, and return the path; see `write_page`."""
    return write_page(render_page(comparison, context), path)


def write_page(text: str, path: str | os.PathLike[str]) -> Path:
    """Write a page to `path`, whole or not at all, and return the path.

    Raises
    ------
    InputError
        If the file cannot be written.

    Warns
    -----
    UserWarning
        If the page is larger than 3 MB: mail and issue trackers refuse such files.
    """
    target = Path(path)
    size = len(text.encode("utf-8"))
    if size > LARGE:
        warnings.warn(
            f"the report has {size / 1e6:.1f} MB; compare fewer functionals or runs at once", UserWarning, stacklevel=2
        )
    try:
        handle, part = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        rule = f"{str(target)!r} must be writable"
        raise InputError(message(rule, error.strerror or str(error), "Give another path.")) from error
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.chmod(part, 0o644)
        os.replace(part, target)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
    return target

"""The page: all sections in one self-contained HTML file."""

import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import jax
from markupsafe import Markup

from sgdvi._internal.files import write_text
from sgdvi.diagnostics.record import Record
from sgdvi.report._render import Section, render
from sgdvi.report.context import Context
from sgdvi.report.sections import SECTIONS

LARGE = 3_000_000


def render_page(record: Record, context: Context | None = None) -> str:
    """Return the report as HTML: no scripts, nothing loaded from outside, the same bytes for the same input.

    Parameters
    ----------
    record
        What `sgdvi.compare` or `read_record` returned.
    context
        Problem, settings and provenance to show around it; None shows the comparison alone.
    """
    context = context or Context()
    return str(render("page", context=context, sections=_sections(record, context)))


def render_pages(parts: Sequence[tuple[Record, Context]]) -> str:
    """Return several reports as one page: a table of the verdicts on top, then each report with its own places.

    Parameters
    ----------
    parts
        Records with their contexts; of one, the page is that of `render_page`.
    """
    if len(parts) == 1:
        return render_page(*parts[0])
    models = []
    for number, (record, context) in enumerate(parts, 1):
        prefix = f"m{number}-"
        models.append(
            {
                "id": f"m{number}",
                "title": context.title,
                "status": record.verdict.status,
                "sentence": record.verdict.sentence,
                "sections": [
                    Section(prefix + part.id, part.heading, _with_prefix(part.html, prefix))
                    for part in _sections(record, context)
                ],
            }
        )
    return str(render("several", models=models))


def _sections(record: Record, context: Context) -> list[Section]:
    with jax.enable_x64(True):
        parts = [section(record, context) for section in SECTIONS]
    return [part for part in parts if part is not None]


def _with_prefix(html: Markup, prefix: str) -> Markup:
    # Ids stand in tags alone: text is escaped, so a quote in it is &#34;.
    return Markup(re.sub(r'(\bid="|href="#)', rf"\1{prefix}", html))


def write_html(record: Record, path: str | os.PathLike[str], context: Context | None = None) -> Path:
    """Write the report to `path`, whole or not at all, and return the path; see `write_page`."""
    return write_page(render_page(record, context), path)


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
    size = len(text.encode("utf-8"))
    if size > LARGE:
        warnings.warn(
            f"the report has {size / 1e6:.1f} MB; compare fewer functionals or runs at once", UserWarning, stacklevel=2
        )
    return write_text(path, text)

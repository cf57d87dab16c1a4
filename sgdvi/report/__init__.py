"""The report: a comparison as one self-contained HTML page, section by section."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sgdvi.report.context import Card as Card
    from sgdvi.report.context import Context as Context
    from sgdvi.report.context import Instead as Instead
    from sgdvi.report.context import Setting as Setting
    from sgdvi.report.context import Stage as Stage
    from sgdvi.report.page import render_page as render_page
    from sgdvi.report.page import render_pages as render_pages
    from sgdvi.report.page import write_html as write_html
    from sgdvi.report.page import write_page as write_page
    from sgdvi.report.record import read_record as read_record
    from sgdvi.report.record import write_record as write_record

_CONTENTS = {
    "Card": "sgdvi.report.context",
    "Context": "sgdvi.report.context",
    "Instead": "sgdvi.report.context",
    "Setting": "sgdvi.report.context",
    "Stage": "sgdvi.report.context",
    "render_page": "sgdvi.report.page",
    "render_pages": "sgdvi.report.page",
    "write_page": "sgdvi.report.page",
    "write_html": "sgdvi.report.page",
    "read_record": "sgdvi.report.record",
    "write_record": "sgdvi.report.record",
}

__all__ = sorted(_CONTENTS)


def __getattr__(name: str) -> Any:
    # On first use: who wants only the style of the figures (`sgdvi.plots`) must not wait for ArviZ.
    if name not in _CONTENTS:
        raise AttributeError(f"module 'sgdvi.report' has no attribute {name!r}")
    return getattr(importlib.import_module(_CONTENTS[name]), name)

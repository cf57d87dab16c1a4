"""The report: a comparison as one self-contained HTML page, section by section."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sgdvi.report.context import Context as Context
    from sgdvi.report.context import Setting as Setting
    from sgdvi.report.context import Stage as Stage
    from sgdvi.report.page import render_page as render_page
    from sgdvi.report.page import write_html as write_html

_CONTENTS = {
    "Context": "sgdvi.report.context",
    "Setting": "sgdvi.report.context",
    "Stage": "sgdvi.report.context",
    "render_page": "sgdvi.report.page",
    "write_html": "sgdvi.report.page",
}

__all__ = ["Context", "Setting", "Stage", "render_page", "write_html"]


def __getattr__(name: str) -> Any:
    # On first use: who wants only the style of the figures (`sgdvi.plots`) must not wait for ArviZ.
    if name not in _CONTENTS:
        raise AttributeError(f"module 'sgdvi.report' has no attribute {name!r}")
    return getattr(importlib.import_module(_CONTENTS[name]), name)

"""The report: a comparison as one self-contained HTML page, section by section."""

from sgdvi.report.context import Context, Setting, Stage
from sgdvi.report.page import render_page, write_html

__all__ = ["Context", "Setting", "Stage", "render_page", "write_html"]

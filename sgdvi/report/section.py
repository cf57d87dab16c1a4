"""What a section of the report is."""

from dataclasses import dataclass

from markupsafe import Markup


@dataclass(frozen=True)
class Section:
    """A part of the page: its id, its heading and its HTML."""

    id: str
    heading: str
    html: Markup

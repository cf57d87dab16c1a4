"""Sections and their templates: one environment with autoescape, so that no text of a user becomes markup."""

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

import sgdvi
from sgdvi._internal.text import typeset
from sgdvi.report import _format

_BACKTICKS = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Section:
    """A part of the page: its id, its heading and its HTML."""

    id: str
    heading: str
    html: Markup


@cache
def environment() -> Environment:
    """Return the environment of the templates in ``report/templates``."""
    env = Environment(
        loader=PackageLoader("sgdvi.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters.update(number=typeset, seconds=_format.seconds, code=code)
    env.globals.update(glyphs=_format.GLYPHS, words=_format.WORDS, stylesheet=stylesheet, version=sgdvi.__version__)
    return env


def render(template: str, **values: Any) -> Markup:
    """Render ``templates/<template>.html``."""
    return Markup(environment().get_template(f"{template}.html").render(**values))


def code(text: str) -> Markup:
    """Escape a text, and show as code what stands between backticks in it."""
    return Markup(_BACKTICKS.sub(r"<code>\1</code>", str(escape(text))))


@cache
def stylesheet() -> Markup:
    """Return the style sheet of the page."""
    return Markup(files("sgdvi.report").joinpath("assets/page.css").read_text(encoding="utf-8"))

"""How objects show themselves in a notebook: a title, a few rows, a picture."""

import base64
import io
from collections.abc import Mapping
from html import escape
from typing import Any


def card(title: str, rows: Mapping[str, str], sentence: str = "", figure: Any = None) -> str:
    """Return HTML of a title, a sentence, names with values, and a matplotlib figure; every text is escaped."""
    body = "".join(
        f'<tr><th style="text-align:left">{escape(name)}</th><td style="text-align:left">{escape(value)}</td></tr>'
        for name, value in rows.items()
    )
    parts = [f"<strong>{escape(title)}</strong>", f"<p>{escape(sentence)}</p>" if sentence else ""]
    parts += [f"<table>{body}</table>" if body else "", _image(figure, title) if figure is not None else ""]
    return f"<div>{''.join(parts)}</div>"


def _image(figure: Any, title: str) -> str:
    buffer = io.BytesIO()
    # on white: a notebook may be dark, and the ink of the figure is not
    figure.savefig(buffer, format="png", dpi=100, facecolor="white", metadata={"Software": None})
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<img alt="{escape(title)}: density" src="data:image/png;base64,{data}">'

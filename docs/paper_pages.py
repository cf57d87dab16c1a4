"""Write "The paper, claim by claim" and the gallery from the declarations and the record of a full run."""

import inspect
import re
import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from sgdvi._internal.style.figure import style
from sgdvi._internal.style.palette import LIGHT
from sgdvi.experiment.claims.page import figures
from sgdvi.experiment.claims.result import Reproduction, read
from sgdvi.experiment.claims.rows import Checked
from sgdvi.experiment.claims.table import CLAIMS
from sgdvi.plots import save_figure

RECORD = Path(__file__).parent / "_static/claims.json"
# What the package draws itself: a title, and the lines that make it; they are run to draw it.
PACKAGE = {
    "laws": (
        "Laws of several depths",
        """
        moments = sgdvi.Moments.linear(slope=1.0, noise=1.0)
        laws = {f"depth {d}": sgdvi.SGDStationary(moments, 0.15, depth=d) for d in (0, 1, 2)}
        ax = sgdvi.plots.plot_law(laws)
        """,
    ),
    "tails": (
        "Their tails",
        """
        moments = sgdvi.Moments.linear(slope=1.0, noise=1.0)
        laws = {f"depth {d}": sgdvi.SGDStationary(moments, 0.15, depth=d) for d in (1, 2, 5)}
        ax = sgdvi.plots.plot_law(laws, "tail")
        """,
    ),
    "phases": (
        "Phase diagram",
        """
        moments = sgdvi.Moments.linear(slope=1.0, noise=1.0)
        noise, temperature = np.linspace(0.03, 3, 32), np.linspace(0.01, 0.58, 32)
        diagram = sgdvi.phase_diagram(moments, noise=noise, temperature=temperature)
        ax = sgdvi.plots.plot_phase_diagram(diagram, points={"a run": (1.0, 0.15)})
        """,
    ),
    "fluctuations": (
        "Fluctuation inversion",
        """
        ax = sgdvi.plots.plot_fluctuations(sgdvi.Moments.linear(slope=1.0, noise=1.0))
        """,
    ),
    "sweep": (
        "Map over learning rate and batch size",
        """
        found = sgdvi.sweep("small-n", learning_rates=[0.05, 0.1, 0.2, 0.4], batch_sizes=[1, 2, 4, 8])
        ax = sgdvi.plots.plot_sweep(found)
        """,
    ),
}


def write(folder: Path) -> None:
    """Write both pages and their figures into `folder`."""
    found = read(RECORD, CLAIMS)
    pictures = folder / "claims"
    pictures.mkdir(parents=True, exist_ok=True)
    (folder / "claims.md").write_text(claims_page(found, pictures), encoding="utf-8")
    (folder / "gallery.md").write_text(gallery_page(found, pictures), encoding="utf-8")


def claims_page(found: Reproduction, pictures: Path) -> str:
    """Return the table and a section for every claim."""
    counts = Counter(row.verdict.value for row in found.claims)
    seconds = sum(row.seconds for row in found.claims)
    lines = [
        f"{escape(found.answer)} Measured by sgdvi {found.version}, seed {found.seed}, in {seconds:.0f} s.",
        "",
        "| claim | in the paper | what | verdict |",
        "|---|---|---|---|",
        *(
            f"| [{one.id}](#{anchor(row)}) | {escape(one.paper)} | {escape(one.title)} | {row.verdict} |"
            for row in found.claims
            for one in [row.claim]
        ),
        "",
        "By verdict: " + ", ".join(f"{verdict} {count}" for verdict, count in counts.items()) + ".",
        "",
    ]
    for row in found.claims:
        lines += [f"({anchor(row)})=", f"## {row.claim.id}. {escape(row.claim.title)}", ""]
        lines += [f"*{escape(row.claim.paper)}*: **{row.verdict}**.", "", escape(row.claim.says), ""]
        lines += images(row, pictures)
        lines += [f"**Measured.** {escape(row.text)}", "", f"**Setting.** {escape(row.setting)}", ""]
        lines += [f"**How.** {escape(row.claim.how)}", "", f"**Criterion.** {escape(row.claim.criterion)}", ""]
    return "\n".join(lines)


def gallery_page(found: Reproduction, pictures: Path) -> str:
    """Return every figure with the lines that make it."""
    lines: list[str] = []
    for row in found.claims:
        if row.claim.draw is None or not row.curves:
            continue
        lines += [f"## {escape(row.claim.title)} ({row.claim.id})", "", *images(row, pictures)]
        body = textwrap.dedent("".join(inspect.getsource(row.claim.draw).split('"""', 2)[2]).lstrip("\n"))
        call = f'row = sgdvi.reproduce("{row.claim.id}")["{row.claim.id}"]\naxes, curves = [plt.subplots()[1] for _ in '
        call += f"range({row.claim.panels})], row.curves\n"
        lines += ["```python", (call + body).rstrip(), "```", ""]
    for name, (title, code) in PACKAGE.items():
        code = textwrap.dedent(code).strip()
        path = pictures / f"{name}.png"
        save_figure(drawn(code), path)
        lines += [f"## {title}", "", f"![{title}](generated/claims/{path.name})", "", "```python", code, "```", ""]
    return "\n".join(lines)


def images(row: Checked, pictures: Path) -> list[str]:
    """Draw the panels of a row and return the lines that show them."""
    lines = []
    with style(LIGHT):
        for place, panel in enumerate(figures(row, LIGHT), 1):
            path = pictures / f"{row.claim.id}-{place}.png"
            save_figure(panel, path)
            alt = escape(f"{row.claim.title}, panel {place}. {row.claim.caption}")
            lines += [f"```{{image}} generated/claims/{path.name}", f":alt: {alt}", ":width: 48%", "```"]
    return [*lines, "", escape(row.claim.caption), ""] if lines else []


def drawn(code: str) -> Any:
    """Run lines that leave an `ax` and return its figure."""
    import numpy as np

    import sgdvi

    known: dict[str, Any] = {"sgdvi": sgdvi, "np": np}
    exec(code, known)
    figure = known["ax"].figure
    plt.close(figure)
    return figure


def anchor(row: Checked) -> str:
    """Return the place of a row on the page."""
    return f"claim-{row.claim.id.lower()}"


def escape(text: str) -> str:
    """Return text that Markdown leaves as it is, code in backticks apart."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([*_|<>$\[\]~])", r"\\\1", part) for part in parts)

"""Sphinx configuration: API pages in a hand-made order, notebooks executed from their text, errors fatal."""

import os
import re
import shutil
import sys
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

from sgdvi.cli import cli
from sgdvi.zoo import template

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # paper_pages, which stands beside this file

import paper_pages  # noqa: E402

project = "sgdvi"
author = "The sgdvi developers"
project_copyright = author
release = version = installed("sgdvi")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.viewcode", "numpydoc"]
source_suffix = {".md": "myst-nb", ".py": "myst-nb"}
# Pages that are Python are the notebooks; what lies beside this file is run by hand.
exclude_patterns = ["_build", "generated", "*.py"]
suppress_warnings = ["config.cache"]

html_math_renderer = "mathml"
html_theme = "furo"
html_title = "sgdvi"
html_static_path = ["_static"]
html_css_files = ["math.css"]
templates_path: list[str] = []

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "exclude-members": "tree_flatten, tree_unflatten"}
default_role = "py:obj"
numpydoc_show_class_members = False

myst_enable_extensions = ["dollarmath", "deflist", "colon_fence"]
myst_heading_anchors = 3
nb_custom_formats = {".py": ["jupytext.reads", {"fmt": "py:percent"}]}
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 600

# Without widgets tqdm warns on every page that it draws its bar as text; JAX warns of a compiled program that another
# process is still writing.
os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found,ignore:Error reading persistent compilation cache"

# Notebooks live at the top of the repository, Sphinx wants its sources in one folder.
notebooks = HERE / "notebooks"
shutil.rmtree(notebooks, ignore_errors=True)
notebooks.mkdir()
for source in sorted((HERE.parent / "notebooks").glob("[0-9]*.py")):
    shutil.copy(source, notebooks / source.name)

# The pages show what the program prints today, not a copy of it.
generated = HERE / "generated"
generated.mkdir(exist_ok=True)
for command in (
    "compare", "check", "forecast", "sweep", "report", "law", "phases", "balance", "reproduce", "models", "doctor",
):  # fmt: skip
    shown = CliRunner().invoke(cli, [command, "--help"], prog_name="sgdvi", catch_exceptions=False)
    (generated / f"help-{command}.txt").write_text(shown.output, encoding="utf-8")
FIGURES = {
    "law-depths": "law --slope 1 --noise 1 --temperature 0.5Tc --depths 0,1,2,inf --ratio 1",
    "phase-diagram": "phases --slope 1 --noise 1",
}
for figure, arguments in FIGURES.items():
    line = [*arguments.split(), "--out", str(generated / f"{figure}.png")]
    drawn = CliRunner().invoke(cli, line, prog_name="sgdvi", catch_exceptions=False)
    if drawn.exit_code:
        raise RuntimeError(drawn.output)
paper_pages.write(generated)
# The notebooks show their figures: a kernel chooses the backend for that where none is named.
os.environ.pop("MPLBACKEND", None)
(generated / "template.py").write_text(template(), encoding="utf-8")


def inline_math(translator: HTML5Translator, node: nodes.math) -> None:
    translator.body.append(convert(node.astext()))
    raise nodes.SkipNode


def block_math(translator: HTML5Translator, node: nodes.math_block) -> None:
    text = node.astext().strip()
    if "&" in text or "\n\n" in text:
        text = r"\begin{align*}" + text.replace("\n\n", r" \\ ") + r"\end{align*}"
    translator.body.append(f'<div class="math">{convert(text, display="block")}</div>')
    raise nodes.SkipNode


# Elsewhere than in code and mathematics |v| is an absolute value, which reStructuredText takes for a reference.
BLOCK = r"^(?P<indent> *)(?:\.\. (?:math|code|code-block)::.*|[^.\n]*::)\n(?:[ ]*\n|(?P=indent) +.*\n)+"
KEPT_OR_BAR = re.compile(rf"{BLOCK}|``[^`]+``|`[^`]+`|\|", re.MULTILINE)


def escape_bars(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    text = "\n".join(lines) + "\n"
    lines[:] = KEPT_OR_BAR.sub(lambda found: r"\|" if found[0] == "|" else found[0], text).splitlines()


# What Python shows for an argument annotated with ArrayLike
ARRAY_LIKE = "~jax.Array | ~numpy.ndarray | ~numpy.bool | ~numpy.number | bool | int | float | complex"
# and for numbers that are given back
VALUES = "~jax.Array | ~numpy.ndarray[~typing.Any, ~numpy.dtype[~typing.Any]]"


def shorten_signature(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, arguments: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    for long in (ARRAY_LIKE, VALUES):
        arguments = arguments and arguments.replace(long, "~jax.typing.ArrayLike")
    # the default of a dataclass field made by a function is shown as <factory>, which is no Python
    arguments = arguments and arguments.replace("<factory>", "...")
    return arguments, returned and returned.replace(VALUES, "~jax.Array | ~numpy.ndarray")


def setup(app: Sphinx) -> None:
    app.connect("autodoc-process-signature", shorten_signature)
    app.connect("autodoc-process-docstring", escape_bars, priority=900)  # after numpydoc
    # MathML needs no script and no network, so the pages can be read offline.
    app.add_html_math_renderer("mathml", (inline_math, None), (block_math, None))

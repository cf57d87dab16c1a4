"""The table of contents: every public name exists, and ``import sgdvi`` stays light and harmless."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import sgdvi

PROBE = """
import sys, sgdvi
heavy = {"numpy", "jax", "numpyro", "arviz", "xarray", "matplotlib", "scipy", "optax"} & set(sys.modules)
assert not heavy, f"import sgdvi imports {sorted(heavy)}"
import os, sgdvi.cli
assert "OPENBLAS_THREAD_TIMEOUT" in os.environ
"""


# What is public stands in ``__init__.pyi``: functions and classes, and whole modules.
MODULES = {name for name in sgdvi.__all__ if isinstance(getattr(sgdvi, name), ModuleType)}
NAMES = sorted(set(sgdvi.__all__) - MODULES - {"__version__"})

# ArviZ puts a lazy stand-in in NumPyro's place; whichever comes first, NumPyro must be whole
FIRST = ["arviz", "sgdvi.comparison", "sgdvi.diagnostics", "sgdvi.experiment", "sgdvi.report"]
NUMPYRO = """
import numpyro
import numpyro.distributions as dist
import sgdvi
assert dist.distribution is sys.modules["numpyro.distributions.distribution"]
"""

# ArviZ, then NumPyro, both after `import sgdvi`
LATER = """
import sgdvi, arviz
from numpyro.infer import MCMC
import numpyro
sgdvi.SGD
assert numpyro.infer.initialization.init_to_sample
"""

ROOT = Path(__file__).parent.parent
TELLERS = (
    "sgdvi/**/*.py",
    "sgdvi/**/*.pyi",
    "sgdvi/**/*.html",
    "models/*.py",
    "notebooks/*.py",
    "docs/**/*.md",
    "*.md",
)
# imports and Sphinx directives import what they name; so does `python -m`
IMPORTS = re.compile(r"^\s*(?:from|import|\.\. \w+::) .*$|-m sgdvi\.\w+", re.MULTILINE)
DOTTED = re.compile(r"(?<![\w./])sgdvi(?:\.[A-Za-z]\w*)+")
# One process for all that needs a fresh one: importing everything takes seconds.
RESOLVE = """
import json, sys
from functools import reduce
import jax
before = dict(jax.config.values)
import sgdvi

# modules that are public although no name at the top stands for what is in them: before anything else is imported
sgdvi.draws.open_store; sgdvi.draws.load; sgdvi.inputs.from_svi; sgdvi.samplers.references.nuts
wrong = []
for name in json.loads(sys.argv[1]):
    first, *others = name.split(".")[1:]
    try:
        # what is no public name at the top may still be there once something has imported it
        reduce(getattr, others, getattr(sgdvi, first)) if first in sgdvi.__all__ else wrong.append(name)
    except AttributeError:
        wrong.append(name)
assert not wrong, f"told to users, and not there: {wrong}"
for name in sgdvi.__all__:
    getattr(sgdvi, name)
assert dict(jax.config.values) == before, "importing sgdvi changes global JAX settings"
"""


def told(text: str) -> set[str]:
    """Return the dotted names that a text writes, but for those that it imports itself."""
    text = IMPORTS.sub("", text)
    names = set()
    for match in DOTTED.finditer(text):
        # a module's path in quotes is an argument of importlib
        before, after = text[match.start() - 1 : match.start()], text[match.end() : match.end() + 2]
        if not (before in {'"', "'"} and (after[:1] == before or after == ".{")):
            names.add(match.group())
    return names


@pytest.mark.parametrize("name", sgdvi.__all__)
def test_name_exists(name: str) -> None:
    assert getattr(sgdvi, name) is not None
    assert name in dir(sgdvi)


@pytest.mark.parametrize("name", NAMES)
def test_name_is_documented(name: str) -> None:
    assert (getattr(sgdvi, name).__doc__ or "").strip(), f"sgdvi.{name} has no docstring"


@pytest.mark.parametrize("name", NAMES)
def test_lazy_name_is_no_module(name: str) -> None:
    # after `import sgdvi.thing` the attribute `sgdvi.thing` is the module, so a lazy name of that spelling would change
    assert importlib.util.find_spec(f"sgdvi.{name}") is None
    assert not isinstance(getattr(sgdvi, name), ModuleType)


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="attribute posterior"):
        sgdvi.posterior  # noqa: B018


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(PROBE, id="light"),
        pytest.param(LATER, id="numpyro last", marks=pytest.mark.slow),
        *(
            pytest.param(
                f"import sys\nimport {first}\n{NUMPYRO}",
                id=f"{first} before numpyro",
                marks=() if first == "arviz" else pytest.mark.slow,
            )
            for first in FIRST
        ),
    ],
)
def test_import_in_a_fresh_process(code: str, tmp_path: Path) -> None:
    # away from the checkout, so that the installed package is the one that answers
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_name_that_users_are_told_is_there_and_harmless(tmp_path: Path) -> None:
    pages = [path for pattern in TELLERS for path in ROOT.glob(pattern)]
    names = sorted(set().union(*(told(page.read_text(encoding="utf-8")) for page in pages)))
    assert {"sgdvi.samplers.references.nuts", "sgdvi.optimal_temperature"} <= set(names)
    code = [sys.executable, "-c", RESOLVE, json.dumps(names)]
    done = subprocess.run(code, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_names_that_are_told() -> None:
    text = """import sgdvi.cli
        "Take sgdvi.inputs.gone instead." 'sgdvi.SGD' `python -m sgdvi.cli` f"sgdvi.models.{name}" see sgdvi.nuts."""
    assert told(text) == {"sgdvi.inputs.gone", "sgdvi.nuts"}

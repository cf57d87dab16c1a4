"""The table of contents: every public name exists, and ``import sgdvi`` stays light and harmless."""

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import sgdvi

PROBE = """
import sys, sgdvi
heavy = {"jax", "numpyro", "arviz", "xarray", "matplotlib", "scipy", "optax"} & set(sys.modules)
assert not heavy, f"import sgdvi imports {sorted(heavy)}"
"""
SETTINGS = """
import jax
before = dict(jax.config.values)
import sgdvi
for name in sgdvi.__all__:
    getattr(sgdvi, name)
assert dict(jax.config.values) == before, "importing sgdvi changes global JAX settings"
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

# modules that are public although no name at the top stands for what is in them
MODULE_NAMES = (
    "import sgdvi; sgdvi.draws.open_store; sgdvi.draws.load; sgdvi.inputs.from_svi; sgdvi.samplers.references.nuts"
)


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
        pytest.param(SETTINGS, id="harmless"),
        pytest.param(MODULE_NAMES, id="modules"),
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

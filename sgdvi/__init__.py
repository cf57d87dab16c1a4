"""sgdvi: is what SGD gives me a posterior?

Exact stationary laws of stochastic gradient descent, SGD as a sampler for NumPyro models, references (NUTS,
variational inference, exact posteriors) and a verdict with reasons. This module is the table of contents;
names are imported on first use, so that ``import sgdvi`` and ``sgdvi --help`` stay quick.
"""

import sys
from importlib.metadata import version as _version
from typing import Any

import lazy_loader as _lazy

__version__ = _version("sgdvi")

# What is public stands in ``__init__.pyi``, once, for Python as for editors and type checkers.
_load, _, __all__ = _lazy.attach_stub(__name__, __file__)
__all__ = sorted([*__all__, "__version__"])


def _bind_numpyro() -> None:
    # `import arviz` leaves a lazy stand-in for NumPyro. `import numpyro.distributions` through it runs that package
    # twice, and the second copy lacks its submodules: numpyro.factor then fails. Bind them again.
    if "numpyro" in sys.modules:
        getattr(sys.modules["numpyro"], "__version__", None)  # loads what is still lazy
        for name in [name for name in sys.modules if name.startswith("numpyro.")]:
            parent, _, child = name.rpartition(".")
            vars(sys.modules[parent]).setdefault(child, sys.modules[name])


_bind_numpyro()


def __getattr__(name: str) -> Any:
    value = _load(name)
    _bind_numpyro()  # ArviZ and NumPyro may have come after `import sgdvi`
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__

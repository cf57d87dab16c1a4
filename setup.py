"""Map the top-level folder ``models/`` to the package ``sgdvi.models``; all else is in pyproject.toml."""

import sys

from setuptools import find_packages, setup

if sys.version_info < (3, 12):  # noqa: UP036  pip would name a missing version of JAX instead
    sys.exit(f"sgdvi needs Python 3.12 or newer; got {sys.version.split()[0]}. Make the environment with python3.12.")

packages = [*find_packages(include=["sgdvi", "sgdvi.*"]), "sgdvi.models"]
setup(packages=packages, package_dir={"sgdvi.models": "models"})

"""Map the top-level folder ``models/`` to the package ``sgdvi.models``; all else is in pyproject.toml."""

from setuptools import find_packages, setup

packages = [*find_packages(include=["sgdvi", "sgdvi.*"]), "sgdvi.models"]
setup(packages=packages, package_dir={"sgdvi.models": "models"})

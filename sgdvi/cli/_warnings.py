"""Warnings on the command line: one line each, as errors are."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import click


@contextmanager
def warnings_in_one_line() -> Iterator[None]:
    """Print warnings to the stream of errors without their place in the code."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda text, *_, **__: click.echo(f"sgdvi: {text}", err=True)
        yield

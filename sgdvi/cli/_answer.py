"""How a command ends: what it prints of its record or comparison, and the exit status."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from sgdvi.comparison import Comparison

VERDICT_REACHED = 3


def print_json(record: dict[str, Any]) -> None:
    """Print a record as JSON."""
    from sgdvi._internal.files import plain

    click.echo(json.dumps(plain(record), indent=2, ensure_ascii=False))


def print_comparison(
    comparison: "Comparison",
    text: Callable[[], str],
    page: object,
    record: str | None,
    quiet: bool,
    fail_on: str | None,
) -> int:
    """Print `text` and the path of the page, or the record where "-" asks for it; return the exit status."""
    from sgdvi.diagnostics.findings import Status

    if record and record != "-":
        comparison.to_json(record)
    if record == "-":
        print_json(comparison.to_dict())
    else:
        if not quiet:
            click.echo(f"{text()}\n")
        click.echo(page)
    reached = Status(comparison.verdict.status).severity >= Status(fail_on).severity if fail_on else False
    return VERDICT_REACHED if reached else 0

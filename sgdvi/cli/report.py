"""``sgdvi report``: render reports again from their records and draws, several of them on one page."""

from pathlib import Path

import click


@click.command("report", short_help="Render a report again, or several on one page.")
@click.argument("folders", nargs=-1, required=True, type=click.Path(), metavar="FOLDER...")
@click.option("--out", type=click.Path(), metavar="FILE", help="The page.  [default: report.html in the one FOLDER]")
def command(folders: tuple[str, ...], out: str | None) -> None:
    """Render the page of each FOLDER that `sgdvi compare` wrote, from its report.json and draws.nc.

    The same version of sgdvi gives the same bytes. With several folders the verdicts come first, in one table, and
    --out is needed. The last line printed is the path of the page.
    """
    from sgdvi._internal.check import InputError, message, require
    from sgdvi.report import read_record, render_pages, write_page

    several = len(folders) > 1
    require(out or not several, "several reports on one page need --out", f"{len(folders)} folders", "Give --out FILE.")
    parts = [read_record(folder) for folder in folders]
    target = Path(out).expanduser() if out else Path(folders[0]).expanduser() / "report.html"
    try:
        page = render_pages(parts)
    except Exception as error:  # a record that only looks like one of ours can fail in any section
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        rule, advice = f"{', '.join(folders)} must hold whole reports", "Make them again with `sgdvi compare`."
        raise InputError(message(rule, reason, advice)) from error
    click.echo(write_page(page, target))

"""``sgdvi reproduce``: every claim and figure of the paper, measured, with a verdict."""

from pathlib import Path

import click

FOLDER, CHANGED = "sgdvi-reproduce", 3


@click.command("reproduce", short_help="Check the paper claim by claim: what was measured, and does it hold?")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--quick", is_flag=True, help="Shorter simulations: about 90 seconds instead of ten minutes.")
@click.option("--seed", type=int, default=0, show_default=True, help="Random seed, of data, starts and minibatches.")
@click.option("--out", type=click.Path(), metavar="DIR", default=FOLDER, show_default=True,
              help="Folder for claims.html and claims.json.")  # fmt: skip
@click.option("--json", "record", type=click.Path(), metavar="FILE", help="Write the JSON to FILE too.")
@click.option("--fail-on-change", is_flag=True, help="Exit with status 3 where a verdict is not the expected one.")
def command(ids: tuple[str, ...], quick: bool, seed: int, out: str, record: str | None, fail_on_change: bool) -> int:
    """Measure the claims of the paper and say of each: holds, with a correction, does not hold, or cannot tell.

    IDs choose some of them: T1 to T30 for theorems, equations and numbers, F1 to F5r for figures, Tab1; B1 to B7 go
    beyond the paper. The exit status is 0 whatever the verdicts are, unless --fail-on-change is given.
    """
    from sgdvi.cli._cache import compilation_cache

    with compilation_cache(True, lambda text: click.echo(text, err=True)):
        from tqdm.auto import tqdm

        from sgdvi._internal.check import require
        from sgdvi.experiment.claims.conduct import PAGE, RECORD, reproduce

        if record is not None:
            folder = Path(record).expanduser().parent
            require(folder.is_dir(), "the folder of --json must exist", repr(str(folder)), "Make it first.")
        reproduction = reproduce(
            ids or None, quick=quick, seed=seed, out=out, progress=True, on_claim=lambda row: tqdm.write(str(row))
        )
    click.echo(f"\n{reproduction.answer}")
    if record is not None:
        click.echo(reproduction.to_json(Path(record).expanduser()))
    for name in (RECORD, PAGE):
        click.echo(Path(out) / name)
    return CHANGED if fail_on_change and reproduction.changed else 0

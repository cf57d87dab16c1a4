"""``sgdvi check``: judge draws of any tool, without a model, and write the report."""

import sys
from typing import Any

import click


@click.command("check", short_help="Judge draws of any tool, without a model, and write a report.")
@click.argument("draws", nargs=-1, required=True, type=click.Path(), metavar="DRAWS...")
@click.option(
    "--reference",
    multiple=True,
    type=click.Path(),
    metavar="DRAWS",
    help="Draws that stand for the posterior; given several times: one file for each chain.",
)
@click.option(
    "--functionals",
    metavar="FILE",
    type=click.Path(),
    help="Python file with functionals = {'name': lambda draws: ...}: what is asked for.",
)
@click.option(
    "--predictions",
    metavar="NAME",
    help="Variable that holds predictions of a test set, (chain, draw, point) or (chain, draw, point, class).",
)
@click.option(
    "--observed",
    metavar="FILE",
    type=click.Path(),
    help="What was observed at the test points, one number each (.npy, or lines of text): scores and calibration.",
)
@click.option("--out", type=click.Path(), metavar="DIR", help="Folder of the report.  [default: sgdvi-check-NAME]")
@click.option("--overwrite", is_flag=True, help="Replace a report that is in the folder already.")
@click.option("--break-lock", is_flag=True, help="Write to DIR though a run on another host holds its lock.")
@click.option(
    "--fail-on", type=click.Choice(["warn", "fail"]), help="Exit with status 3 at this verdict or a worse one."
)
@click.option("--json", "record", metavar="FILE", help="Write the record to FILE too; - prints it and nothing else.")
@click.option("--verbose", is_flag=True, help="Print all reasons, numbers and checks.")
@click.option("--quiet", is_flag=True, help="Print only the path of the report.")
def command(
    draws: tuple[str, ...],
    reference: tuple[str, ...],
    functionals: str | None,
    predictions: str | None,
    observed: str | None,
    out: str | None,
    overwrite: bool,
    break_lock: bool,
    fail_on: str | None,
    record: str | None,
    verbose: bool,
    quiet: bool,
) -> int:
    """Say whether DRAWS, of whatever tool, ran and arrived, and whether they are the law of the reference.

    DRAWS is a NetCDF file or a Zarr store of ArviZ; .npz or .npy with arrays (chain, draw, ...); .csv of CmdStan or of
    R's posterior; or a folder of checkpoints (.pt, .safetensors) that one training run has saved, sub-folders being
    chains. Several CSV or NumPy files are the chains of one run.

    Without --reference the questions are whether it is finite, moved, mixed and came to rest. The last line printed is
    the path of the report.
    """
    from sgdvi._internal.check import require
    from sgdvi.cli._answer import print_comparison
    from sgdvi.cli._warnings import warnings_in_one_line
    from sgdvi.experiment.any_draws import check, context_of, functionals_in, observed_in
    from sgdvi.experiment.folder import check_folder, locked
    from sgdvi.experiment.written import save_report
    from sgdvi.report import as_text

    asked: dict[str, Any] = {} if functionals is None else {"functionals": functionals_in(functionals)}
    require(predictions or not observed, "--observed must come with --predictions", observed, "Name their variable.")
    asked |= {} if observed is None else {"observed": observed_in(observed)}
    folder = None if out is None else check_folder(out, overwrite)
    with warnings_in_one_line():
        comparison = check(
            list(draws),
            list(reference) or None,
            predictions=predictions,
            progress=not quiet and sys.stderr.isatty(),
            **asked,
        )
    context = context_of(comparison, ["sgdvi", *sys.argv[1:]])
    target = folder or check_folder(f"sgdvi-check-{next(iter(comparison.runs))}", overwrite)
    with locked(target, break_lock):
        page = save_report(comparison, context, target, overwrite)

    def text() -> str:
        return str(comparison) if verbose else as_text(comparison, context, verbose=False)

    return print_comparison(comparison, text, page, record, quiet, fail_on)

"""A report as a folder: page, record and draws, all of them or none."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sgdvi._internal.files import writable, written_whole
from sgdvi.comparison import Comparison
from sgdvi.experiment.folder import REPORT, check_folder, locked
from sgdvi.report import Context, read_record, write_html, write_record

FAILURE = "failure.json"


def save_report(
    comparison: Comparison, context: Context, folder: Any, overwrite: bool, trees: Mapping[str, Any] | None = None
) -> Path:
    """Write report.html, report.json and draws.nc into `folder` and return the path of report.html.

    Parameters
    ----------
    comparison, context
        What the page shows.
    folder, overwrite
        See `check_folder`.
    trees
        Runs that are kept whole in draws.nc; of others only what the page shows.

    Raises
    ------
    InputError
        If the folder cannot take it.
    """
    target = check_folder(folder, overwrite)
    with locked(target), writable(target), written_whole(target, last=REPORT) as part:
        write_record(comparison, context, part, trees)
        # From what was written, so that `sgdvi report` makes the same bytes of it.
        record, shown = read_record(part)
        write_html(record, part / REPORT, shown)
        (target / FAILURE).unlink(missing_ok=True)  # of an earlier run
    return target / REPORT

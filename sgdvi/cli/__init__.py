"""The command line: one file per command, heavy imports inside the commands.

Exit status: 0 done, whatever the verdict; 1 a fault of sgdvi; 2 bad input; 3 the verdict named by ``--fail-on``, or one
that ``--fail-on-change`` did not expect; 130 interrupted; 141 the reader of the output has ended; 143 told to end by
SIGTERM.
"""

import errno
import gc
import os
import sys
import traceback
from collections.abc import Sequence

import click

# Before NumPy is there: threads of OpenBLAS that wait for the next small product at full speed take a sixth of the
# processor time of a comparison. Asleep, they still share the large ones.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")

from sgdvi import __version__
from sgdvi._internal.check import InputError
from sgdvi.cli import balance, check, compare, doctor, forecast, law, models, phases, report, reproduce, sweep
from sgdvi.cli._interrupt import interrupt_on_termination

DONE, FAULT, BAD_INPUT, INTERRUPTED, PIPE_CLOSED, TERMINATED = 0, 1, 2, 130, 141, 143


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="sgdvi %(version)s")
def cli() -> None:
    """Is what SGD gives me a posterior?

    `sgdvi compare MODEL` runs SGD, NUTS, variational inference and the exact laws on one model and data set, and
    writes a report with a verdict; `sgdvi forecast MODEL` says beforehand, in seconds, what SGD will be;
    `sgdvi sweep MODEL` maps learning rates and batch sizes.

    `sgdvi check DRAWS` judges the draws of any tool, PyTorch and Stan among them, without a model.

    `sgdvi law` and `sgdvi phases` show the exact laws alone, `sgdvi balance`
    the scaling symmetries of a model; `sgdvi reproduce` checks the paper claim by claim.
    """


for module in (compare, check, forecast, sweep, law, phases, balance, reproduce, report, models, doctor):
    cli.add_command(module.command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status; every expected error is one line on stderr."""
    # Tracing makes millions of objects that stay: at Python's pace, looking for garbage takes a tenth of the time.
    gc.set_threshold(*map(max, gc.get_threshold(), (100_000, 50, 100)))
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by the caller, as services do
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))
    with interrupt_on_termination() as told:
        try:
            status = _run(arguments)
            sys.stdout.flush()
        except OSError as error:
            # what stdout cannot take now it must not be asked to take again when Python ends
            sys.stdout = open(os.devnull, "w", encoding="utf-8")
            if error.errno == errno.EPIPE:
                return PIPE_CLOSED
            return _refuse(f"the system must take what is written; got {_reason(error)}.")
    return TERMINATED if told and status == INTERRUPTED else status


def _run(arguments: Sequence[str] | None) -> int:
    try:
        status = cli.main(None if arguments is None else list(arguments), prog_name="sgdvi", standalone_mode=False)
    except InputError as error:
        return _refuse(str(error))
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return BAD_INPUT
    except click.ClickException as error:
        help_name = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "sgdvi"
        return _refuse(f"{error.format_message()} See `{help_name} --help`.")
    except (KeyboardInterrupt, click.Abort) as error:
        click.echo(
            f"sgdvi: {error}" if isinstance(error, click.Abort) and str(error) else "sgdvi: interrupted", err=True
        )
        return INTERRUPTED
    except SystemExit:  # what click makes of a pipe whose reader has ended, as `head` does
        return PIPE_CLOSED
    except OSError:
        raise
    except Exception:
        traceback.print_exc()
        click.echo("sgdvi: this is a fault of sgdvi, not of your input; please report the lines above", err=True)
        return FAULT
    return status if isinstance(status, int) else DONE


def _reason(error: OSError) -> str:
    reason = error.strerror or str(error) or type(error).__name__
    return f"{reason} ({error.filename})" if error.filename else reason


def _refuse(text: str) -> int:
    click.echo("sgdvi: " + " ".join(text.split()), err=True)
    return BAD_INPUT

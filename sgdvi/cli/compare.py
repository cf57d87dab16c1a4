"""``sgdvi compare``: run everything on one model and write the report."""

import shlex
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import click

FAILED = 1
# Seconds.
_SHORTEST = 0.05


@click.command("compare", short_help="Compare SGD with the posterior on a model and write a report.")
@click.argument("model")
@click.option("--depth", type=int, help="Depth of a linear network; 0 is regression.  [default: the model's]")
@click.option("--width", type=int, help="Width of a linear network.  [default: the model's]")
@click.option(
    "--learning-rate",
    type=float,
    help="Learning rate of SGD on the negative log joint divided by N.  [default: see below]",
)
@click.option(
    "--temperature", metavar="T", help="Temperature in place of the rate: a number, or a multiple of Tc: 0.5Tc."
)
@click.option("--batch-size", type=int, help="Rows per minibatch.  [default: at most 16]")
@click.option(
    "--batching",
    type=click.Choice(["replacement", "without-replacement", "epochs", "full"]),
    default="replacement",
    show_default=True,
    help="How rows are drawn. Shuffled epochs have no temperature, so they need --learning-rate.",
)
@click.option("--weight-decay", type=float, metavar="GAMMA", help="Sets the prior: sd² = σ²/(N GAMMA); 0 is flat.")
@click.option("--chains", type=int, help="Chains of SGD.  [default: 8]")
@click.option(
    "--steps",
    type=int,
    help="Steps per chain after warmup.  [default: 200000; 20000 without an exact law, more where plain SGD is slow]",
)
@click.option("--warmup", type=int, help="Steps per chain that are thrown away first.  [default: chosen for the model]")
@click.option(
    "--algorithms",
    metavar="NAMES",
    help="Flavours of SGD, separated by commas: plain, scaled, whitened, mandt, completed, sgld.  [default: plain, "
    "and completed for models without an exact law]",
)
@click.option(
    "--references",
    metavar="NAMES",
    help="What SGD is compared with, separated by commas: NUTS, mean-field, full-rank, low-rank, Laplace, IAF, BNAF, "
    "Pathfinder.  [default: the first three]",
)
@click.option(
    "--against",
    metavar="FILE",
    multiple=True,
    type=click.Path(),
    help="Draws of another tool for the same model (NetCDF or Zarr, as ArviZ writes them); may be given several times.",
)
@click.option(
    "--reference", metavar="NAME", help="The run that stands for the posterior.  [default: --against, else NUTS]"
)
@click.option("--remedies", is_flag=True, help="Measure what to do instead, and recommend it.")
@click.option(
    "--nuts-draws", type=int, help="Draws of NUTS per chain, after half as many warmup steps.  [default: 2000]"
)
@click.option("--seed", type=int, default=0, show_default=True, help="Random seed.")
@click.option("--out", type=click.Path(), metavar="DIR", help="Folder of the report.  [default: sgdvi-MODEL-depthD]")
@click.option("--overwrite", is_flag=True, help="Replace a report that is in the folder already.")
@click.option("--break-lock", is_flag=True, help="Write to DIR even if a run on another host holds its lock.")
@click.option(
    "--fail-on", type=click.Choice(["warn", "fail"]), help="Exit with status 3 at this verdict or a worse one."
)
@click.option("--cache/--no-cache", default=True, help="Keep compiled programs for the next run (SGDVI_CACHE=folder).")
@click.option("--json", "record", metavar="FILE", help="Write the record to FILE too; - prints it and nothing else.")
@click.option("--verbose", is_flag=True, help="Print every reason, number and check.")
@click.option("--quiet", is_flag=True, help="Print only the path of the report.")
def command(model: str, out: str | None, overwrite: bool, break_lock: bool, fail_on: str | None, **options: Any) -> int:
    """Run SGD, NUTS, variational inference and the exact laws on MODEL and say whether SGD gives the posterior.

    MODEL is a name (`sgdvi models` lists them) or the path of your own file (`sgdvi models --template` prints one).

    Without --learning-rate or --temperature, the rate is the one at which SGD is as wide as the posterior: its best
    chance to be one. The last line printed is the path of the report.
    """
    from sgdvi.cli._answer import print_comparison
    from sgdvi.cli._cache import compilation_cache
    from sgdvi.cli._interrupt import no_lost_interrupt
    from sgdvi.cli._warnings import warnings_in_one_line

    quiet, verbose, record = (options.pop(name) for name in ("quiet", "verbose", "record"))
    say = (lambda text: None) if quiet else (lambda text: click.echo(text, err=True))
    with (
        compilation_cache(options.pop("cache"), say),
        no_lost_interrupt() as stop_if_interrupted,
        ExitStack() as held,
    ):
        from sgdvi._internal.check import InputError
        from sgdvi.experiment.conduct import Failed, Interrupted, check_folder, run, save_draws
        from sgdvi.experiment.folder import locked
        from sgdvi.zoo import load

        held.enter_context(warnings_in_one_line())
        problem = load(model)
        changes = {name: options.pop(name) for name in ("depth", "width")}
        problem = problem.with_options(**{name: value for name, value in changes.items() if value is not None})
        folder = out or _default_folder(problem)
        held.enter_context(locked(check_folder(folder, overwrite), break_lock))
        stages = _Stages(f"sgdvi compare {problem.name}: {problem.num_data} rows", say, stop_if_interrupted)
        try:
            result = run(
                problem,
                **_settings(options),
                progress=not quiet and sys.stderr.isatty(),
                on_stage=stages.announce,
                command=_command(),
            )
        except Interrupted as error:
            raise click.Abort(_keep(error.runs, folder, overwrite, save_draws)) from error
        except Failed as error:
            return _failed(error, save_draws(error.runs, folder, overwrite, failure=error))
        stages.end()
        stop_if_interrupted()
        try:
            page = result.save(folder, overwrite=overwrite)
        except InputError:
            raise
        except Exception as error:
            failed = Failed(dict(result.runs), "the report", error)
            return _failed(failed, save_draws(failed.runs, folder, overwrite, failure=error))
        shown = result.comparison if verbose else result
        return print_comparison(result.comparison, lambda: f"\n{shown}", page, record, quiet, fail_on)


class _Stages:
    """Says each stage as it begins, and how long it took."""

    def __init__(self, heading: str, say: Callable[[str], Any], stop_if_interrupted: Callable[[], None]) -> None:
        # Said with the first stage, so that bad input gets its one line alone.
        self._heading, self._say, self._stop_if_interrupted = [heading], say, stop_if_interrupted
        self._started: dict[str, float] = {}

    def announce(self, name: str, text: str) -> None:
        """Say that a stage begins, or a word more on the one that runs."""
        self._stop_if_interrupted()
        if name not in self._started:
            self.end()
        if self._heading:
            self._say(self._heading.pop())
        self._say(f"  {name}: {text}")
        self._started.setdefault(name, time.perf_counter())

    def end(self) -> None:
        """Say how long the stage took that runs."""
        for start in self._started.values():
            seconds = time.perf_counter() - start
            if seconds >= _SHORTEST:  # what took none was not run
                self._say(f"    {seconds:.1f} s")
        self._started.clear()


def _settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `sgdvi.run` is told by the options of the command line."""
    from sgdvi.experiment.conduct import REFERENCES

    same = "learning_rate temperature batch_size batching weight_decay seed reference against remedies nuts_draws"
    renamed = {"num_chains": "chains", "num_steps": "steps", "num_warmup": "warmup"}
    references, algorithms = options["references"], options["algorithms"]
    return {
        **{name: options[name] for name in same.split()},
        **{name: options[option] for name, option in renamed.items()},
        "algorithms": None if algorithms is None else algorithms.split(","),
        "references": REFERENCES if references is None else references.split(","),
    }


def _default_folder(problem: Any) -> str:
    depth = problem.options.get("depth")
    return f"sgdvi-{problem.name}" if depth is None else f"sgdvi-{problem.name}-depth{depth}"


def _command() -> str:
    return shlex.join(["sgdvi", *sys.argv[1:]])


def _failed(error: Any, place: Any) -> int:
    drawn = _listed(error.runs)
    click.echo(f"sgdvi: {error}; the draws of {drawn} and failure.json are in {place}", err=True)
    return FAILED


def _keep(runs: dict[str, Any], folder: str, overwrite: bool, save_draws: Any) -> str:
    drawn = _listed(runs)
    if not drawn:
        return "interrupted before the first run had ended; nothing was written"
    return f"interrupted; the draws of {drawn} are in {save_draws(runs, folder, overwrite)}; no report"


def _listed(runs: dict[str, Any]) -> str:
    return ", ".join(name for name, run in runs.items() if not hasattr(run, "log_prob"))

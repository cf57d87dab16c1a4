"""``sgdvi sweep``: a map over learning rate and batch size."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


@click.command("sweep", short_help="Map where SGD is nearest to the posterior over learning rate and batch size.")
@click.argument("model")
@click.option("--depth", type=int, help="Depth of a linear network; 0 is regression.  [default: the model's]")
@click.option("--width", type=int, help="Width of a linear network.  [default: the model's]")
@click.option("--learning-rates", metavar="LIST", help="Separated by commas: 0.01,0.02.  [default: around the best]")
@click.option("--batch-sizes", metavar="LIST", help="Separated by commas: 1,4,16.  [default: powers of 2]")
@click.option(
    "--batching",
    type=click.Choice(["replacement", "without-replacement", "epochs", "full"]),
    default="replacement",
    show_default=True,
    help="How rows are drawn. Epochs and full batches have no temperature: they need --runs and --learning-rates.",
)
@click.option("--weight-decay", type=float, metavar="GAMMA", help="Sets the prior: sd² = σ²/(N GAMMA).")
@click.option("--runs", is_flag=True, help="Run SGD in every cell even where the laws are known.")
@click.option("--chains", type=int, help="Chains of SGD, for runs.  [default: 8]")
@click.option("--steps", type=int, help="Steps per chain after warmup, for runs.  [default: 20000]")
@click.option("--seed", type=int, default=0, show_default=True, help="Random seed.")
@click.option(
    "--out", type=click.Path(), metavar="FILE", multiple=True,
    help="Write the map: .png, .svg, .pdf, .html or .json by the ending; may be given several times.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def command(model: str, out: tuple[str, ...], as_json: bool, runs: bool, **options: Any) -> None:
    """Say at which learning rate and batch size SGD is nearest to the posterior of MODEL, and how near.

    For linear networks with a known posterior the map comes from the exact laws, in seconds. For other models SGD runs
    in every cell and is compared with one run of NUTS. If the model has a mode, each cell also shows a prediction, and
    cells that would need far longer runs show the prediction alone.
    """
    from sgdvi.cli._cache import compilation_cache

    say: Callable[[str], None] = lambda text: click.echo(text, err=True)  # noqa: E731
    with compilation_cache(True, say):
        from sgdvi.cli._answer import print_json
        from sgdvi.experiment.map.call import sweep as make

        for path in out:
            _check(path)
        result = make(
            model,
            depth=options["depth"],
            width=options["width"],
            learning_rates=_numbers("--learning-rates", options["learning_rates"], float),
            batch_sizes=_numbers("--batch-sizes", options["batch_sizes"], int),
            batching=options["batching"],
            weight_decay=options["weight_decay"],
            runs=True if runs else None,
            num_chains=options["chains"],
            num_steps=options["steps"],
            seed=options["seed"],
            on_cell=lambda text: say(f"  {text}"),
        )
    if as_json:
        print_json(result.to_dict())
    else:
        click.echo(result)
    for path in out:
        click.echo(_write(result, path), err=as_json)


def _numbers(name: str, text: str | None, kind: Callable[[str], Any]) -> list[Any] | None:
    from sgdvi._internal.check import InputError, message

    if text is None:
        return None
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError:
        what = "whole numbers" if kind is int else "numbers"
        raise InputError(message(f"{name} must be {what} with commas between them", repr(text))) from None


def _check(path: str) -> None:
    """Refuse a file that cannot be written, before anything is computed."""
    from sgdvi._internal.check import require
    from sgdvi.cli._source import check_out

    target = Path(path).expanduser()
    if target.suffix.lower() not in (".html", ".json"):
        check_out(path)
    require(target.parent.is_dir(), "the folder of --out must exist", repr(str(target.parent)), "Make it first.")
    require(not target.is_dir(), "--out must be a file", repr(path), "Give its name with an ending.")


def _write(result: Any, path: str) -> Path:
    target = Path(path).expanduser()
    if target.suffix.lower() == ".html":
        return result.to_html(target)
    if target.suffix.lower() == ".json":
        return result.to_json(target)
    from sgdvi._internal.style.canvas import panels
    from sgdvi.plots import plot_sweep, save_figure

    with panels(1, (2.8 + 0.62 * len(result.batch_sizes), 1.6 + 0.36 * len(result.learning_rates))) as (figure, axes):
        plot_sweep(result, ax=axes[0])
    return save_figure(figure, target)

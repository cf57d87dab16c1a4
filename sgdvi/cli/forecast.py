"""``sgdvi forecast``: what SGD will be on a model, before any run."""

import json

import click


@click.command("forecast", short_help="Predict what each flavour of SGD will give on a model, before any run.")
@click.argument("model")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the starts of the search for the mode.")
@click.option("--out", type=click.Path(), metavar="FILE", help="Draw the predicted laws: .png, .svg or .pdf.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def command(model: str, seed: int, out: str | None, as_json: bool) -> None:
    """Predict what each flavour of SGD will give on MODEL, before any run.

    MODEL is a name (`sgdvi models` lists them) or the path of your own file (`sgdvi models --template` prints one).

    From the mode, the curvature and the gradient noise there: how badly scaled the model is and which of its arguments
    to standardise, how many steps each flavour needs, how far its law is from the posterior on every functional, and
    whether to rely on all this.
    """
    import jax

    from sgdvi._internal.check import whole
    from sgdvi._internal.style.canvas import check_figure_path
    from sgdvi.cli._cache import compilation_cache
    from sgdvi.experiment.foresee import forecast
    from sgdvi.zoo import load

    if out is not None:
        check_figure_path(out)
    with compilation_cache(True, lambda text: click.echo(text, err=True)):
        problem = load(model)
        foreseen = forecast(problem, key=jax.random.key(whole("seed", seed)))
    click.echo(json.dumps(foreseen.to_dict(), indent=2, ensure_ascii=False) if as_json else str(foreseen))
    if out is not None:
        from sgdvi.plots import save_figure

        click.echo(save_figure(foreseen.plot().figure.get_figure(root=True), out), err=as_json)

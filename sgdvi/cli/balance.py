"""``sgdvi balance``: the scaling symmetries of a model, and how SGD moves along them."""

import json
from typing import Any

import click

# A rate that makes SGD as wide as the posterior can be far too fast for the transient that is measured here.
FASTEST = 0.05


@click.command("balance", short_help="Find the scaling symmetries of a model and measure how SGD moves along them.")
@click.argument("model")
@click.option("--learning-rate", type=float, help="Learning rate of SGD on the model's loss.  [default: see below]")
@click.option("--batch-size", type=int, help="Rows per minibatch, with replacement.  [default: at most 16]")
@click.option("--chains", type=int, default=4, show_default=True, help="Chains of SGD.")
@click.option("--steps", type=int, default=4000, show_default=True, help="Steps per chain.")
@click.option("--points", type=int, default=100, show_default=True, help="Points per chain that are looked at.")
@click.option("--seed", type=int, default=0, show_default=True, help="Random seed.")
@click.option("--out", type=click.Path(), metavar="FILE", help="Draw the figure: .png, .svg or .pdf.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@click.option("--quiet", is_flag=True, help="Say nothing while it runs.")
def command(model: str, **options: Any) -> None:
    """Find the scaling symmetries of MODEL and measure how SGD moves along them.

    MODEL is a name (`sgdvi models` lists them) or the path of your own file (`sgdvi models --template` prints one).

    Every symmetry has a charge, |u|² - |w|² for a neuron, that the noise of SGD does not act on. The tables hold its
    measured and predicted drift, the noise on both sides, which SGD brings into balance, and the ratio of the norms
    with the bounds on it. Without --learning-rate, the rate is that of `sgdvi compare`, and at most 0.05 for
    models without an exact law; a model that is a loss alone needs one.
    """
    from sgdvi.cli._cache import compilation_cache

    quiet = options.pop("quiet")
    say = (lambda text: None) if quiet else (lambda text: click.echo(text, err=True))
    with compilation_cache(True, say):
        _run(model, say, **options)


def _run(
    model: str,
    say: Any,
    learning_rate: float | None,
    batch_size: int | None,
    chains: int,
    steps: int,
    points: int,
    seed: int,
    out: str | None,
    as_json: bool,
) -> None:
    import jax

    from sgdvi._internal.check import whole
    from sgdvi._internal.style.canvas import check_figure_path
    from sgdvi.experiment.plan import make_plan, rate_of
    from sgdvi.noise_balance import balance as measure
    from sgdvi.zoo import load

    if out is not None:
        check_figure_path(out)
    problem, number, steps = load(model), whole("seed", seed), whole("steps", steps, least=8)
    with jax.enable_x64(True):
        plan = make_plan(problem, learning_rate=learning_rate, batch_size=batch_size, num_chains=chains, seed=number)
    rate = rate_of(plan)
    if learning_rate is None and problem.exact is None:
        rate = min(rate, FASTEST)
    say(f"sgdvi balance {problem.name}: symmetries, then {chains} chains of {steps:,} steps of SGD")
    result = measure(
        problem,
        key=jax.random.key(number),
        learning_rate=rate,
        batch_size=plan.batch_size,
        num_chains=chains,
        num_steps=steps,
        points=points,
    )
    click.echo(json.dumps(result.to_dict(), indent=2, ensure_ascii=False) if as_json else str(result))
    if out is not None:
        from sgdvi.plots import save_figure

        axes = next(iter(result.plot().values()))
        click.echo(save_figure(axes.figure.get_figure(root=True), out), err=as_json)
